"""Warp, code, torso, decoder and the portrait folder, at toy size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emogene.errors import UserError
from emogene.geometry.landmarks import EYES
from emogene.io.files import read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.render.code import CODE, FrameCode, windows
from emogene.render.decoder import INPUTS, Decoder, DecoderConfig
from emogene.render.detail import DetailConfig
from emogene.render.field import FieldConfig
from emogene.render.model import PortraitConfig, PortraitModel, layered
from emogene.render.portrait import Portrait
from emogene.render.rays import HeadBox
from emogene.render.torso import TorsoConfig
from emogene.render.warp import Warp, WarpConfig, control_points
from emogene.types import Camera, HeadPose, Motion
from tests.render.toy_clip import toy_motion, toy_neutral


def tiny_portrait(size: int = 64) -> Portrait:
    config = PortraitConfig(
        camera=Camera(1.7 * size, size / 2, size / 2, size, size),
        low=size // 4,
        head=FieldConfig(levels=4, log2_table=8, finest=32, hidden=16, occupancy=16),
        warp=WarpConfig(grid=8),
        torso=TorsoConfig(plane=24, knots=4, hidden=8),
        decoder=DecoderConfig(width=8, depth=1),
        detail=DetailConfig(texels=32),
    )
    torch.manual_seed(0)
    model = PortraitModel(config, toy_neutral())
    offsets, eyes, poses = toy_motion(9)
    shoulders = np.random.default_rng(0).normal(0, 0.02, (9, 6)).astype(np.float32)
    model.fit(offsets, eyes, poses, shoulders)
    with torch.no_grad():
        model.head.layer3.bias[0] = 3.0
        model.detail.texture.normal_(0, 0.05)
    return Portrait(model.eval(), np.full((size, size, 3), 90, np.uint8))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return tiny_portrait()


def drive(count: int) -> tuple[Motion, HeadPose]:
    offsets, eyes, poses = toy_motion(count)
    return Motion(toy_neutral() + offsets, eyes), HeadPose(poses)


def test_what_the_video_never_showed_bends_the_face_but_is_kept_from_the_networks(portrait: Portrait) -> None:
    motion, pose = drive(4)
    bent = Motion(motion.landmarks_cano + 0.05, motion.eyes, motion.landmarks_cano)
    taught = Motion(bent.landmarks_cano, motion.eyes)
    pictures = [np.stack(list(portrait.render(part, pose, 64))) for part in (motion, bent, taught)]
    assert all((pictures[i] != pictures[j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))
    known = Motion(motion.landmarks_cano, motion.eyes, motion.landmarks_cano)
    assert np.array_equal(np.stack(list(portrait.render(known, pose, 64))), pictures[0])
    both = motion[:2].then(bent[2:])
    assert both.known_cano is not None and np.array_equal(both.known, motion.landmarks_cano)
    assert motion[:1].then(motion[1:]).known_cano is None


def test_control_points_are_blends_of_landmarks() -> None:
    blend, lip = control_points()
    assert np.allclose(blend.sum(1), 1) and blend.min() >= 0
    assert len(lip) == len(blend) and 0.1 < lip.mean() < 0.6


def test_warp_takes_a_moved_landmark_back() -> None:
    box = HeadBox()
    warp = Warp(toy_neutral(), box)
    offsets = torch.zeros(2, 68, 3)
    offsets[1, 0:17, 1] = -0.1
    offsets[1, 48:68, 1] = -0.1
    grid = warp(offsets)
    assert grid.shape == (2, 32, 32, 32, 3)
    assert grid[0].abs().max() == 0
    chin = box.to_cube(toy_neutral()[8] + np.array([0, -0.1, 0], np.float32))
    node = np.round(chin * 31).astype(int)
    moved = grid[1, node[2], node[1], node[0]] * 2 * box.half_size
    assert moved[1] == pytest.approx(0.1, rel=0.35)
    # The top of the head stays.
    assert grid[1, :, -1].abs().max() < 1e-3


def test_lids_change_neither_warp_nor_components() -> None:
    offsets = torch.zeros(1, 68, 3)
    lids = [37, 38, 40, 41, 43, 44, 46, 47]
    offsets[0, lids, 1] = 0.05
    assert Warp(toy_neutral(), HeadBox(), WarpConfig(grid=8))(offsets).abs().max() == 0
    assert EYES.start <= min(lids) and max(lids) < EYES.stop


def test_a_face_that_networks_do_not_know_is_reached_by_the_warp_alone() -> None:
    neutral = toy_neutral()
    warp = Warp(neutral, HeadBox(), WarpConfig(grid=32))
    smile = torch.zeros(2, 68, 3)
    smile[1, 48], smile[1, 54] = torch.tensor([-0.06, 0.1, 0.0]), torch.tensor([0.06, 0.1, 0.0])
    known = torch.zeros(2, 68, 3)
    assert torch.equal(warp.reaching(smile, smile), smile)
    offsets = warp.reaching(known, smile)
    assert torch.equal(offsets[0], smile[0])

    def left_over(offsets: torch.Tensor) -> float:
        # The corner of the neutral mouth shall be seen where the smile wants it: what is there comes from it.
        box = HeadBox()
        seen = torch.from_numpy(neutral[[48, 54]]) + smile[1, [48, 54]]
        unit = (seen - torch.tensor(box.center)) / box.half_size
        grid = warp(offsets[1:]).permute(0, 4, 1, 2, 3)
        moved = (
            F.grid_sample(grid, unit[None, None, None], align_corners=True)[0, :, 0, 0].T * 2 * box.half_size
        )
        return float((moved + smile[1, [48, 54]]).norm(dim=1).max())

    assert left_over(offsets) < 0.6 * left_over(smile)


def test_brows_are_exaggerated_up_to_a_full_frown() -> None:
    warp = Warp(toy_neutral(), HeadBox(), WarpConfig(grid=8))

    def raised(height: float) -> float:
        brows = torch.zeros(1, 68, 3)
        brows[0, 17:27, 1] = height
        return float(warp.reaching(torch.zeros(1, 68, 3), brows)[0, 17:27, 1].mean())

    doses = [raised(height) for height in (0.01, 0.03, 0.05, 0.07, 0.1)]
    assert doses == sorted(doses)
    assert doses[0] / 0.01 > 1.3 * doses[4] / 0.1
    assert raised(0.05) > 2 * 0.05
    steps = np.diff([raised(height) for height in np.linspace(-0.03, 0.03, 61)])
    assert steps.min() > 0 and steps.max() < 4 * np.median(steps)


def test_corners_that_fall_are_asked_for_more_than_those_that_rise() -> None:
    warp = Warp(toy_neutral(), HeadBox(), WarpConfig(grid=8))

    def moved(height: float) -> float:
        corners = torch.zeros(1, 68, 3)
        corners[0, [48, 54], 1] = height
        return float(warp.reaching(torch.zeros(1, 68, 3), corners)[0, [48, 54], 1].mean())

    assert -moved(-0.04) > 1.3 * moved(0.04)
    steps = np.diff([moved(height) for height in np.linspace(-0.04, 0.04, 81)])
    assert steps.min() > 0 and steps.max() < 3 * np.median(steps)


def test_code_is_bounded_outside_the_training_range() -> None:
    offsets, eyes, _ = toy_motion(30)
    pose = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    code = FrameCode()
    code.fit(offsets, eyes, pose)
    window, eyes, pose = windows(torch.from_numpy(offsets)), torch.from_numpy(eyes), torch.from_numpy(pose)
    inside = code(window, eyes, pose)
    far = code(20 * window, eyes, 20 * pose)
    assert inside.shape == (30, CODE)
    assert far.abs().max() < 3 * inside.abs().max() + 1
    assert torch.equal(windows(torch.arange(4))[0], torch.tensor([0, 0, 0]))


def test_a_portrait_of_format_2_keeps_its_one_look(portrait: Portrait, tmp_path: Path) -> None:
    portrait.save(tmp_path)
    arrays = load_arrays(tmp_path / "model.safetensors")
    for name in ("code.pose_low", "code.pose_high"):
        del arrays[name]
    look = np.linspace(-0.5, 0.5, 6, dtype=np.float32)
    save_arrays(tmp_path / "model.safetensors", arrays | {"code.appearance": look[None]})
    header = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", header | {"format_version": 2})
    offsets, eyes, _ = toy_motion(3)
    code = Portrait.load(tmp_path).model.code
    turned = code(windows(torch.from_numpy(offsets)), torch.from_numpy(eyes), torch.randn(3, 6))
    assert torch.allclose(turned[:, -6:], torch.from_numpy(look).expand(3, 6))


def test_decoder_starts_near_interpolation() -> None:
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(width=8, depth=1))
    with torch.no_grad():
        decoder.leave.weight[:, :8] = 0
    flat = torch.zeros(1, INPUTS, 6, 6)
    flat[:, :3], flat[:, -1] = 0.4, 0.7
    picture, gains = decoder(flat, torch.zeros(1, CODE))
    assert picture.shape == (1, 4, 12, 12) and gains.shape == (1, 2, 6, 6)
    assert torch.allclose(picture[0, :3, 4:8, 4:8], torch.tensor(0.4), atol=1e-5)
    assert torch.allclose(picture[0, 3, 4:8, 4:8], torch.tensor(0.7), atol=1e-5)
    assert gains.abs().max() == 0  # torso alone shows no detail of the head


def test_layers_cover_what_is_behind() -> None:
    head, torso = torch.zeros(1, 16, 2, 2), torch.ones(1, 16, 2, 2)
    opacity = torch.tensor([[[[1.0, 0.25], [0, 0]]]])
    composite = layered(head, opacity, torso, torch.ones(1, 1, 2, 2))
    assert torch.allclose(composite[0, 0], 1 - opacity[0, 0])
    assert torch.allclose(composite[0, -2:].sum(0), torch.ones(2, 2))


def test_render_gives_alpha_or_lies_over_a_background(portrait: Portrait) -> None:
    motion, pose = drive(3)
    rgba = list(portrait.render(motion, pose, size=64))
    assert len(rgba) == 3 and rgba[0].shape == (64, 64, 4) and rgba[0].dtype == np.uint8
    grey = np.full((64, 64, 3), 77, np.uint8)
    rgb = next(portrait.render(motion, pose, size=64, background=grey))
    alpha = rgba[0][..., 3:].astype(np.float32) / 255
    over = rgba[0][..., :3] * alpha + 77 * (1 - alpha)
    assert np.abs(over - rgb)[alpha[..., 0] > 0.1].max() < 4
    assert (rgb[alpha[..., 0] == 0] == 77).all()


def test_render_is_deterministic_and_cuts_anywhere(portrait: Portrait) -> None:
    motion, pose = drive(11)
    whole = list(portrait.render(motion, pose, size=64))
    again = list(portrait.render(motion, pose, size=64))
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    last = next(portrait.render(motion, pose, size=64, history=len(motion) - 1))
    assert np.abs(last.astype(int) - whole[-1]).max() <= 1


@pytest.mark.parametrize(("quality", "size"), [("draft", 32), ("standard", 96), ("high", 64)])
def test_sizes_and_qualities(portrait: Portrait, quality: str, size: int) -> None:
    motion, pose = drive(1)
    assert next(portrait.render(motion, pose, size=size, quality=quality)).shape == (size, size, 4)


def test_unknown_quality_is_the_users_mistake(portrait: Portrait) -> None:
    motion, pose = drive(1)
    with pytest.raises(UserError, match="draft, standard, high"):
        next(portrait.render(motion, pose, quality="ultra"))


def test_save_and_load_render_the_same(portrait: Portrait, tmp_path: Path) -> None:
    portrait.save(tmp_path / "portrait")
    motion, pose = drive(2)
    loaded = Portrait.load(tmp_path / "portrait")
    before, after = (list(p.render(motion, pose, size=64)) for p in (portrait, loaded))
    assert np.abs(before[1].astype(int) - after[1]).max() <= 3
