"""Lips opened as far as the renderer needs to show what is asked: a gain per person, measured after training.

A field trained on frames whose landmarks err a little answers with the mean of what it saw: its lips follow
(r .93) but open half as far (slope .56 on one news anchor). The missing part is asked for in advance.

landmarks [T, 68, 3] -> landmarks [T, 68, 3], canonical
"""

from __future__ import annotations

import numpy as np

from emogene.geometry.landmarks import lip_opening
from emogene.types import FloatArray

LOWER = {55: 0.5, 56: 0.9, 57: 1.0, 58: 0.9, 59: 0.5, 65: 1.0, 66: 1.0, 67: 1.0}
UPPER = {50: 0.7, 51: 1.0, 52: 0.7, 61: 1.0, 62: 1.0, 63: 1.0}
CHIN = {6: 0.5, 7: 0.8, 8: 1.0, 9: 0.8, 10: 0.5}
SHARES = ((LOWER, -0.75), (UPPER, 0.25), (CHIN, -0.5))
"""How much of the further opening each part takes, upwards."""


def opened(landmarks_cano: FloatArray, neutral_cano: FloatArray, gain: float) -> FloatArray:
    """Widen the opening of the lips beyond that of the neutral face ``gain`` times.

    Args:
        landmarks_cano: [T, 68, 3].
        neutral_cano: [68, 3].
        gain: 1 changes nothing; shut lips stay shut at any gain.
    """
    if gain == 1.0:
        return landmarks_cano
    opening = lip_opening(landmarks_cano) - lip_opening(neutral_cano)
    further = (gain - 1.0) * np.maximum(opening, 0.0)
    result = landmarks_cano.copy()
    for part, share in SHARES:
        result[:, list(part), 1] += further[:, None] * share * np.array(list(part.values()), np.float32)
    return result
