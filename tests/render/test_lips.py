"""Lips asked to open farther."""

import torch

from emogene.geometry.landmarks import lip_opening
from emogene.render.lips import opened
from tests.render.toy_clip import toy_neutral


def speaking(gap: float) -> torch.Tensor:
    offsets = torch.zeros(1, 68, 3)
    offsets[:, 65:68, 1] = -gap
    return offsets


def test_gain_widens_the_opening_and_leaves_the_corners() -> None:
    neutral = torch.from_numpy(toy_neutral())
    offsets = speaking(0.2)
    wider = opened(offsets, neutral, 1.5)
    before, after = (float(lip_opening((neutral + o).numpy())[0]) for o in (offsets, wider))
    rest = float(lip_opening(neutral.numpy()))
    assert abs((after - rest) / (before - rest) - 1.5) < 0.05
    assert torch.equal(wider[:, [48, 54, 60, 64]], offsets[:, [48, 54, 60, 64]])
    assert torch.equal(wider[:, :6], offsets[:, :6])


def test_shut_lips_stay_shut_and_gain_one_changes_nothing() -> None:
    neutral = torch.from_numpy(toy_neutral())
    pressed = speaking(-0.05)
    assert torch.equal(opened(pressed, neutral, 1.5), pressed)
    assert opened(pressed, neutral, 1.0) is pressed
