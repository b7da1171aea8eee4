"""Lips asked to open farther."""

import numpy as np

from emogene.geometry.landmarks import lip_opening
from emogene.render.lips import opened
from tests.render.toy_clip import toy_neutral


def speaking(gap: float) -> np.ndarray:
    face = toy_neutral()[None].copy()
    face[:, 65:68, 1] -= gap
    return face


def test_gain_widens_the_opening_and_leaves_the_corners() -> None:
    neutral, face = toy_neutral(), speaking(0.2)
    wider = opened(face, neutral, 1.5)
    rest = lip_opening(neutral)
    assert np.isclose((lip_opening(wider) - rest) / (lip_opening(face) - rest), 1.5, atol=0.05)
    assert np.array_equal(wider[:, [48, 54, 60, 64]], face[:, [48, 54, 60, 64]])
    assert np.array_equal(wider[:, :6], face[:, :6])


def test_shut_lips_stay_shut_and_gain_one_changes_nothing() -> None:
    pressed = speaking(-0.05)
    assert np.array_equal(opened(pressed, toy_neutral(), 1.5), pressed)
    assert opened(pressed, toy_neutral(), 1.0) is pressed
