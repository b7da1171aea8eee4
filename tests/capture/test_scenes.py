"""Shots of another place or person are found by the border of the picture."""

from __future__ import annotations

import numpy as np

from emogene.capture.scenes import main_scene, signature
from emogene.types import ByteArray


def room(wall: float, shirt: float = 60.0, blue: float = 0.0) -> ByteArray:
    """A person before a wall that is lighter on the right, as a signature."""
    frame = np.repeat(np.tile(np.linspace(wall, wall + 10, 64), (64, 1))[..., None], 3, axis=2)
    frame[..., 2] += blue
    frame[20:, 20:44] = 150
    frame[44:] = shirt
    return signature(frame.clip(0, 255).astype(np.uint8))


def test_the_place_that_fills_most_of_the_time_stays() -> None:
    frames = [room(200)] * 30 + [room(90)] * 20 + [room(210, shirt=200.0)] * 15
    kept = main_scene(np.stack(frames), [30, 50])
    # Another wall is another place; light that changes a little and another shirt are not.
    assert kept[:30].all() and not kept[30:50].any() and kept[50:].all()


def test_one_shot_is_kept_whole() -> None:
    rng = np.random.default_rng(0)
    assert main_scene(rng.integers(0, 255, (12, 16, 16, 3)).astype(np.uint8), []).all()


def test_many_short_takes_of_one_place_outweigh_a_long_one_elsewhere() -> None:
    frames = ([room(200)] * 10 + [room(203)] * 10) * 3 + [room(60)] * 40
    kept = main_scene(np.stack(frames), list(range(10, 70, 10)))
    assert kept[:60].all() and not kept[60:].any()


def test_a_wall_as_light_but_of_another_colour_is_another_place() -> None:
    frames = [room(120)] * 30 + [room(100, blue=110.0)] * 20
    assert main_scene(np.stack(frames), [30]).tolist() == [True] * 30 + [False] * 20
