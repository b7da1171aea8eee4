"""Speech comes first: lips that speech shuts, or sets on the teeth, stay so under any emotion.

The network has learned to step back at closures; this makes sure of it where the emotion is strong or the
voice unusual. A contact is told from a rest by its neighbourhood: in a pause the lips are near each other
too, but they do not part within the frames around.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emogene.types import FloatArray

REACH_FRAMES = 6
"""Frames around a frame that decide about it: four in which the lips must part, two to ease in and out."""
_PARTING_REACH = 4
_EASE = (0.25, 0.6, 1.0, 0.6, 0.25)
"""Share of a contact in the frames before and after it: without it the lips would snap."""
_UPPER, _LOWER = (61, 62, 63), (67, 66, 65)
_UPPER_LIP, _LOWER_LIP = (_UPPER, (49, 50, 51, 52, 53)), (_LOWER, (59, 58, 57, 56, 55))
_SHUT = (0.10, 0.35)
"""Share of the widest opening nearby at which lips are surely shut, and surely not."""
_ON_TEETH = (0.30, 0.60)
"""The same for the lower lip's way down to f and v, which stay further open than p, b, m."""
_LEAST_OPENING = 0.6
"""Share of speech's own opening that an emotion leaves at least."""
_PARTED = (0.012, 0.030)
"""Openings nearby (canonical units) at which speech begins to be assumed, and is certain."""


def keep_contacts(neutral: FloatArray, emotional: FloatArray) -> FloatArray:
    """Return emotional offsets [T, 68, 3] whose lips meet where those of the neutral ones do.

    Lower lips are brought back to the height speech gave them (p, b, m and the teeth of f, v), then the upper
    ones to the lower (p, b, m). Frames without emotion are returned as they are.
    """
    if len(neutral) == 0:
        return emotional
    gap = lip_gap(neutral)
    drop = -neutral[:, _LOWER, 1]
    shut, touching = _contact(gap, _SHUT), _contact(drop, _ON_TEETH)
    result = np.array(emotional, np.float32)
    fallen = np.maximum(neutral[:, _LOWER, 1] - result[:, _LOWER, 1], 0.0)
    _move(result, _LOWER_LIP, fallen * np.maximum(shut, touching))
    apart = np.maximum(lip_gap(result) - np.maximum(gap, 0.0), 0.0) * (lip_gap(result) > gap)
    _move(result, _UPPER_LIP, -apart * shut)
    # A pout may lower the voice of the lips, not silence it.
    _move(result, _LOWER_LIP, -np.maximum(_LEAST_OPENING * gap - np.maximum(lip_gap(result), 0.0), 0.0))
    return part_lips(neutral, result)


def shut_degree(neutral: FloatArray) -> FloatArray:
    """Degree 0..1 to which speech shuts the lips in each frame (p, b, m), of offsets [T, 68, 3] -> [T]."""
    if len(neutral) == 0:
        return np.zeros(0, np.float32)
    return _contact(lip_gap(neutral), _SHUT)[:, 0]


def part_lips(neutral: FloatArray, emotional: FloatArray) -> FloatArray:
    """Let emotional lips meet instead of passing through each other; speech may still press them together."""
    through = np.maximum(np.minimum(lip_gap(neutral), 0.0) - lip_gap(emotional), 0.0)
    result = np.array(emotional, np.float32)
    _move(result, _UPPER_LIP, 0.5 * through)
    _move(result, _LOWER_LIP, -0.5 * through)
    return result


def _move(
    offsets: FloatArray, lip: tuple[tuple[int, ...], tuple[int, ...]], height: NDArray[np.floating[Any]]
) -> None:
    """Raise a lip by [T, 3] in place: inner points, the outer ones before them, half of it beside those."""
    inner, outer = lip
    offsets[:, inner, 1] += height
    offsets[:, outer[1:4], 1] += height
    offsets[:, (outer[0], outer[4]), 1] += 0.5 * height[:, (0, 2)]


def lip_gap(offsets: FloatArray) -> FloatArray:
    """Opening [T, 3] of the inner-lip pairs over that of the resting face."""
    return np.asarray(offsets[:, _UPPER, 1] - offsets[:, _LOWER, 1])


def _contact(opening: FloatArray, share: tuple[float, float]) -> FloatArray:
    """Degree 0..1 to which speech makes a contact in each frame, [T, 3] -> [T, 1]."""
    mean = opening.mean(1)
    around = parted_near(mean, _PARTING_REACH)
    near = 1.0 - smoothstep(mean / np.maximum(around, _PARTED[0]), *share)
    contact = near * smoothstep(around, *_PARTED)
    eased = (_windows(contact, len(_EASE) // 2, "constant") * _EASE).max(1)
    return np.asarray(eased, np.float32)[:, None]


def parted_near(opening: FloatArray, reach: int) -> FloatArray:
    """Widest opening within ``reach`` frames of each frame, [T] -> [T]."""
    return np.asarray(_windows(opening, reach, "edge").max(1), np.float32)


def _windows(values: FloatArray, reach: int, mode: Literal["edge", "constant"]) -> FloatArray:
    """[T] -> [T, 2 reach + 1]: each frame with its neighbours."""
    padded = np.pad(values, reach, mode=mode)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)


def smoothstep(value: FloatArray, low: float, high: float) -> FloatArray:
    """0 below ``low``, 1 above ``high``, C1 between."""
    phase = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(phase * phase * (3.0 - 2.0 * phase))
