"""People before scenes that move, painted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emogene.capture.background import Plate, background_plate
from emogene.capture.create import CaptureConfig, Job
from emogene.capture.matte import cut_out
from emogene.capture.steps import Steps
from emogene.io.clip import MASK_BACKGROUND, MASK_TORSO
from emogene.io.images import read_mask, read_rgb, write_mask, write_rgb
from emogene.io.tensors import save_arrays
from emogene.types import ByteArray, FloatArray

SIZE = 128


def soft_disk(radius: float = 40, edge: float = 6) -> FloatArray:
    """A person [H, W]: 1 inside, falling to 0 within ``edge`` pixels."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    away = np.hypot(rows - SIZE / 2, columns - SIZE / 2)
    return np.asarray(np.clip((radius - away) / edge + 0.5, 0, 1), np.float32)


def scene_at(time: int) -> ByteArray:
    """Coloured bars that wander."""
    columns = np.arange(SIZE)
    bars = [128 + 100 * np.sin(columns / 20 + time * step) for step in (0.5, -0.9, 1.3)]
    return np.repeat(np.stack(bars, -1)[None], SIZE, axis=0).astype(np.uint8)


def over(person: FloatArray, colour: tuple[int, int, int], scene: ByteArray) -> ByteArray:
    share = person[..., None]
    return np.asarray(share * np.array(colour) + (1 - share) * scene + 0.5, np.uint8)


def plate_of(scenes: list[ByteArray]) -> Plate:
    person = soft_disk()
    labels = np.where(person > 0.5, MASK_TORSO, MASK_BACKGROUND).astype(np.uint8)
    return background_plate((over(person, (30, 25, 20), scene), labels) for scene in scenes)


@pytest.mark.parametrize("time", [0, 3, 7])
def test_the_outline_loses_the_colours_of_the_scene(time: int) -> None:
    """The net's outline lies two pixels off and is twice as soft; the picture knows better."""
    person, other = soft_disk(), np.full((SIZE, SIZE, 3), 90, np.uint8)
    frame = over(person, (230, 40, 30), scene_at(time))
    net = soft_disk(42, 14)
    cut = cut_out(frame, net)
    wanted = over(person, (230, 40, 30), other).astype(int)
    naive = net[..., None] * frame + (1 - net[..., None]) * other
    fringe = np.abs(cut.before(other) - wanted).mean()
    assert fringe < 0.5 * np.abs(naive - wanted).mean() and fringe < 1.6
    assert np.abs(cut.share - person).mean() < 0.5 * np.abs(net - person).mean()


def test_where_colours_are_alike_the_net_decides() -> None:
    frame = np.full((SIZE, SIZE, 3), 77, np.uint8)
    net = soft_disk(40, 12)
    share = cut_out(frame, net).share
    assert ((share > 0.5) == (net > 0.5)).mean() > 0.99
    assert (cut_out(frame, net).before(frame) == frame).all()


def test_a_still_scene_is_left_alone() -> None:
    """Noise and a change of exposure are no movement."""
    noise = np.random.default_rng(0)
    scenes = [
        np.clip(0.7 * scene_at(0) + exposure + noise.normal(0, 8, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
        for exposure in np.linspace(0, 40, 20)
    ]
    assert not plate_of(scenes).moves.any()


def test_a_moving_scene_becomes_one_soft_backdrop() -> None:
    plate = plate_of([scene_at(time) for time in range(20)])
    assert plate.moves.min() > 0.9
    colours = plate.rgb.astype(int)
    assert np.abs(np.diff(colours, axis=1)).max() <= 4 and np.abs(np.diff(colours, axis=0)).max() <= 4


def test_only_the_part_that_moves_is_replaced() -> None:
    """A screen on the left, a shelf on the right."""
    shelf = scene_at(0)
    scenes = [np.concatenate([scene_at(time)[:, :40], shelf[:, 40:]], axis=1) for time in range(20)]
    plate = plate_of(scenes)
    assert plate.moves[:, :30].min() > 0.8 and plate.moves[:, -30:].max() < 0.1
    np.testing.assert_allclose(plate.rgb[:, -12:], shelf[:, -12:], atol=3)


def test_frames_before_a_moving_scene_are_kept_as_they_were_filmed(tmp_path: Path) -> None:
    """Done twice, as after a stop: the second time reads the film, not the first time's result."""
    job = Job(Steps(tmp_path), tmp_path, 3, [], [], CaptureConfig(size_px=SIZE))
    person = soft_disk(42, 14)
    mesh = np.full((3, 478, 3), SIZE / 2, np.float32)
    save_arrays(
        tmp_path / "track.safetensors",
        {"mesh_px": mesh, "blendshapes": np.zeros((3, 52), np.float32), "valid": np.ones(3, np.uint8)},
    )
    write_rgb(tmp_path / "background.png", np.full((SIZE, SIZE, 3), 90, np.uint8))
    write_mask(tmp_path / "background_seen.png", np.ones((SIZE, SIZE), np.uint8))
    write_mask(tmp_path / "background_moves.png", np.full((SIZE, SIZE), 255, np.uint8))
    for index in range(3):
        write_rgb(job.frame_path(index), over(soft_disk(), (230, 40, 30), scene_at(index)))
        write_mask(tmp_path / "person" / f"{index:06d}.png", (255 * person).astype(np.uint8))
    filmed = [job.frame(index) for index in range(3)]
    job.masks()
    stilled = [read_rgb(job.frame_path(index)) for index in range(3)]
    job.original_path(1).replace(job.frame_path(1))  # stopped between two frames
    job.masks()
    for index in range(3):
        np.testing.assert_array_equal(job.frame(index), filmed[index])
        np.testing.assert_array_equal(read_rgb(job.frame_path(index)), stilled[index])
    assert np.abs(stilled[0].astype(int) - stilled[2]).mean() < 2
    assert np.abs(stilled[0][:10].astype(int) - 90).max() <= 2
    assert read_mask(tmp_path / "masks" / "000000.png")[SIZE // 2, SIZE // 2] > 0
    # Where nothing moves any more, the film comes back.
    write_mask(tmp_path / "background_moves.png", np.zeros((SIZE, SIZE), np.uint8))
    job.masks()
    np.testing.assert_array_equal(read_rgb(job.frame_path(2)), filmed[2])
