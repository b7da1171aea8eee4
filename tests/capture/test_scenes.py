"""Shots of another place, person or look are found by border, lower edge and middle of the picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from emogene.capture.scenes import main_scene, signature
from emogene.types import ByteArray


def room(wall: float, *, shirt: float = 60.0, blue: float = 0.0, face: float = 150.0) -> ByteArray:
    """A person before a wall that is lighter on the right, as a signature."""
    frame = np.repeat(np.tile(np.linspace(wall, wall + 10, 64), (64, 1))[..., None], 3, axis=2)
    frame[..., 2] += blue
    frame[20:44, 20:44] = face
    frame[44:] = shirt
    return signature(frame.clip(0, 255).astype(np.uint8))


def kept(*takes: tuple[ByteArray, int]) -> list[bool]:
    """Of every take whether it stays."""
    frames = np.concatenate([np.repeat(look[None], n, axis=0) for look, n in takes])
    starts = np.cumsum([0, *(n for _, n in takes)])
    stays = main_scene(frames, starts[1:-1].tolist())
    assert all(stays[a:b].all() or not stays[a:b].any() for a, b in pairwise(starts))
    return stays[starts[:-1]].tolist()


def test_another_place_is_left_out_and_a_little_light_is_not() -> None:
    assert kept((room(200), 300), (room(90), 200), (room(210, face=145.0), 150)) == [True, False, True]


def test_another_coat_and_another_light_on_the_face_are_left_out() -> None:
    takes = (room(200), 300), (room(200, shirt=190.0), 200), (room(200, face=110.0), 200)
    assert kept(*takes) == [True, False, False]


def test_a_wall_as_light_but_of_another_colour_is_another_place() -> None:
    assert kept((room(120), 300), (room(100, blue=110.0), 200)) == [True, False]


def test_many_short_takes_of_one_place_outweigh_a_long_one_elsewhere() -> None:
    takes = [(room(200 + 3 * (n % 2)), 75) for n in range(6)]
    assert kept(*takes, (room(60), 400)) == [True] * 6 + [False]


def test_where_no_look_is_long_enough_the_place_decides() -> None:
    assert kept((room(200), 120), (room(200, shirt=190.0), 120), (room(60), 120)) == [True, True, False]
    assert kept((room(200), 50), (room(60), 50)) == [True, True]


def test_one_shot_is_kept_whole() -> None:
    rng = np.random.default_rng(0)
    assert main_scene(rng.integers(0, 255, (12, 16, 16, 3)).astype(np.uint8), []).all()
