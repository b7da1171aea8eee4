"""Lips opened as far as the renderer needs to show what is asked: a gain per person, measured after training.

A field trained on frames whose landmarks err a little answers with the mean of what it saw: its lips follow
(r .93) but open half as far (slope .56 on one news anchor). The missing part is asked for in advance.

offsets [T, 68, 3] -> offsets [T, 68, 3]
"""

from __future__ import annotations

import torch
from torch import Tensor

LOWER = {55: 0.5, 56: 0.9, 57: 1.0, 58: 0.9, 59: 0.5, 65: 1.0, 66: 1.0, 67: 1.0}
UPPER = {50: 0.7, 51: 1.0, 52: 0.7, 61: 1.0, 62: 1.0, 63: 1.0}
CHIN = {6: 0.5, 7: 0.8, 8: 1.0, 9: 0.8, 10: 0.5}
SHARES = ((LOWER, -0.75), (UPPER, 0.25), (CHIN, -0.5))
"""How much of the further opening each part takes, upwards."""


def opened(offsets: Tensor, neutral: Tensor, gain: float) -> Tensor:
    """Widen the opening of the lips beyond that of the neutral face ``gain`` times.

    Args:
        offsets: [T, 68, 3] landmark offsets from neutral.
        neutral: [68, 3].
        gain: 1 changes nothing; shut lips stay shut at any gain.
    """
    if gain == 1.0:
        return offsets
    further = (gain - 1.0) * (_opening(offsets + neutral) - _opening(neutral)).clamp(min=0.0)
    result = offsets.clone()
    for part, share in SHARES:
        index = torch.tensor(list(part))
        weight = share * torch.tensor(list(part.values()))
        result[..., index, 1] += further[..., None] * weight
    return result


def _opening(face: Tensor) -> Tensor:
    """Mean gap between the inner lips, [...] of [..., 68, 3]."""
    return face[..., 61:64, 1].mean(-1) - face[..., 65:68, 1].mean(-1)
