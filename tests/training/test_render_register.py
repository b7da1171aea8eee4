"""Registering heads: a pose that is a little off is found again from the picture and kept beside the clip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emogene.io.clip import open_clip
from emogene.io.tensors import load_arrays, save_arrays
from emogene.render.code import windows
from emogene.render.field import FieldConfig
from emogene.render.inference import Look, PixelGrid, looks
from emogene.render.model import PortraitConfig, PortraitModel
from emogene.render.warp import WarpConfig
from emogene.training.render import train_portrait
from emogene.training.render_frames import open_frames, project
from emogene.training.render_poses import are_registered, keep_poses, registered_poses
from emogene.training.render_recipe import tiny
from emogene.training.render_register import register_heads
from tests.render.toy_clip import toy_motion, toy_neutral, write_toy_clip

SIZE = 512
N_FRAMES = 11


def test_heads_are_laid_on_the_pictures_again(tmp_path: Path) -> None:
    clip = write_toy_clip(tmp_path, n_frames=N_FRAMES, size=SIZE)
    frames = open_frames(clip, tmp_path / "frames", low=SIZE // 4, max_frames=100)
    torch.manual_seed(0)
    config = PortraitConfig(
        camera=frames.camera,
        low=SIZE // 4,
        head=FieldConfig(log2_table=10, base=4, finest=24, occupancy=16),
        warp=WarpConfig(grid=8),
    )
    model = PortraitModel(config, toy_neutral())
    offsets, eyes, _ = toy_motion(N_FRAMES)
    model.fit(offsets, eyes, frames.pose, frames.shoulders)
    with torch.no_grad():
        model.head.table.mul_(3000)
        model.head.layer3.weight[1:4].mul_(600)
        model.head.layer3.bias[0] = 4.0
    model.eval()
    known = windows(torch.from_numpy(offsets))

    def look(frame: int, pose: np.ndarray) -> Look:
        part = slice(frame, frame + 1)
        with torch.inference_mode():
            return looks(model, known[part], torch.from_numpy(eyes[part]), pose[None])[0]

    grid = PixelGrid.of(model, "standard", SIZE)
    low_rgb, cover = np.array(frames.low_rgb), np.array(frames.low_cover)
    for frame, pose in enumerate(frames.pose):
        seen = look(frame, pose)
        with torch.inference_mode():
            head = grid.head(model, seen, grid.rays(model, seen))
        low_rgb[frame] = (255 * head.channels[..., :3] / head.opacity[..., None].clamp(min=1e-3)).clamp(
            0, 255
        )
        cover[frame, ..., 0] = np.where(head.opacity > 0.95, 255, 0)
    rng = np.random.default_rng(0)
    wrong = frames.pose.copy()
    turns = Rotation.from_rotvec(rng.normal(0, 0.004, (N_FRAMES, 3))).as_matrix()
    wrong[:, :3, :3] = turns @ wrong[:, :3, :3]
    wrong[:, :2, 3] += rng.normal(0, 0.004, (N_FRAMES, 2))
    seen_wrong = replace(frames, pose=wrong, low_rgb=low_rgb, low_cover=cover)
    found = register_heads(model, seen_wrong, lambda frame: look(frame, wrong[frame]))

    def off_px(poses: np.ndarray) -> float:
        pairs = zip(poses, frames.pose, strict=True)
        face = toy_neutral()[17:48]
        return float(
            np.mean(
                [np.abs(project(face, a, frames.camera) - project(face, b, frames.camera)) for a, b in pairs]
            )
        )

    assert off_px(found) < 0.8 * off_px(wrong)


def test_registered_poses_count_while_the_tracked_ones_stay(tmp_path: Path) -> None:
    clip = write_toy_clip(tmp_path, n_frames=22, size=64)
    tracked = np.asarray(clip.arrays["pose"], np.float32)
    index = np.arange(0, 22, 3)
    assert not are_registered(clip) and np.array_equal(registered_poses(clip, index), tracked[index])
    moved = tracked[index].copy()
    moved[:, 0, 3] += 0.01 * np.arange(len(index))
    keep_poses(clip, index, moved)
    everywhere = registered_poses(clip, np.arange(22))
    np.testing.assert_allclose(everywhere[index], moved, atol=1e-6)
    # Between registered frames the correction is interpolated.
    assert everywhere[4, 0, 3] - tracked[4, 0, 3] == pytest.approx(0.01 * 4 / 3, abs=1e-5)
    arrays = load_arrays(tmp_path / "arrays.safetensors")
    save_arrays(tmp_path / "arrays.safetensors", {**arrays, "pose": tracked + np.float32(1e-3)})
    assert not are_registered(open_clip(tmp_path))


def test_training_registers_once_and_goes_on(tmp_path: Path) -> None:
    clip = write_toy_clip(tmp_path / "clip", n_frames=12, size=128)
    recipe = replace(
        tiny(), critic_start=1.0, register_steps=24, warmup_steps=8, torso_steps=5, decoder_steps=5
    )
    train_portrait(clip, tmp_path / "run", recipe)
    kept = (tmp_path / "clip" / "heads.safetensors").stat().st_mtime_ns
    first = load_arrays(tmp_path / "run" / "portrait" / "model.safetensors")
    train_portrait(clip, tmp_path / "run", recipe)
    assert (tmp_path / "clip" / "heads.safetensors").stat().st_mtime_ns == kept
    again = load_arrays(tmp_path / "run" / "portrait" / "model.safetensors")
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert are_registered(clip)
