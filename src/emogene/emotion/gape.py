"""A surprised mouth: it opens wider in speech, and hangs open where nothing is said.

What the network learned keeps the jaw nearly still, because a jaw that stays dropped makes lips race to every
p, b and m. So the mouth opens in proportion to what speech opens it (shut lips stay shut, and the opening's
correlation with the voice is kept), and drops only in rests: frames around which the lips do not part.
"""

from __future__ import annotations

import numpy as np

from emogene.emotion.lips import lip_gap, parted_near, smoothstep
from emogene.types import EMOTIONS, FloatArray

WIDER = {"surprise": 0.35}
"""Share by which an emotion at dose 1 opens the mouth further than speech does."""
HANGING = {"surprise": 0.07}
"""How far it hangs the mouth open in rests, canonical units (about 6 mm)."""
REACH_FRAMES = 6
"""Frames around a frame that decide about it: four in which the lips must part, two to ease in and out."""
_PARTING_REACH = 4
_EASE = np.array((1, 2, 3, 2, 1), np.float32) / 9
_STILL = (0.010, 0.030)
"""Openings nearby at which speech begins to be assumed, and is certain."""
_LOWER = {55: 0.5, 56: 0.9, 57: 1.0, 58: 0.9, 59: 0.5, 65: 1.0, 66: 1.0, 67: 1.0}
_UPPER = {50: 0.7, 51: 1.0, 52: 0.7, 61: 1.0, 62: 1.0, 63: 1.0}
_CORNERS = {48: 1.0, 54: 1.0, 60: 1.0, 64: 1.0}
_CHIN = {4: 0.2, 5: 0.4, 6: 0.7, 7: 0.9, 8: 1.0, 9: 0.9, 10: 0.7, 11: 0.4, 12: 0.2}
_SHARES = ((_LOWER, -0.85), (_UPPER, 0.15), (_CORNERS, -0.3), (_CHIN, -0.7))
"""Of the further opening, upwards: the jaw does most of it."""


def gape(neutral: FloatArray, emotional: FloatArray, weights: FloatArray) -> FloatArray:
    """Return emotional offsets [T, 68, 3] whose mouth opens as ``WIDER`` and ``HANGING`` say.

    Args:
        neutral: [T, 68, 3] the motion before the emotion, which tells what is said.
        emotional: [T, 68, 3] the same with the emotion.
        weights: [T, 8] doses.
    """
    wider, hanging = (weights @ _by_label(table) for table in (WIDER, HANGING))
    if not wider.any() and not hanging.any():
        return emotional
    gap = lip_gap(neutral).mean(1)
    further = wider * np.maximum(gap, 0.0) + hanging * _rest(gap)
    result = np.array(emotional, np.float32)
    for part, share in _SHARES:
        result[:, list(part), 1] += further[:, None] * share * np.array(list(part.values()), np.float32)
    return result


def _rest(gap: FloatArray) -> FloatArray:
    """Degree 0..1 to which the mouth rests in each frame, [T] -> [T]."""
    still = 1.0 - smoothstep(parted_near(gap, _PARTING_REACH), *_STILL)
    reach = len(_EASE) // 2
    around = np.lib.stride_tricks.sliding_window_view(np.pad(still, reach, mode="edge"), len(_EASE))
    return np.asarray(around @ _EASE, np.float32)


def _by_label(table: dict[str, float]) -> FloatArray:
    return np.array([table.get(label, 0.0) for label in EMOTIONS], np.float32)
