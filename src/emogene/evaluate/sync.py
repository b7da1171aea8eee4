"""How good a sync expert is: true mouths against moved ones, and the offset of pieces of 3 s.

Only what can be told counts. In silence a mouth may do anything, so a window of the sound is judged where
speech fills it (its mean power is within 25 dB of the clip's loud frames); and where the tracker lost the
face, there is no mouth to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emogene.motion.sync import SyncExpert

if TYPE_CHECKING:
    from emogene.evaluate.motion import Truth

SHIFTS = (1, 2, 5, 10)
SPOKEN_DB = 25.0
"""A window is speech down to this level below the clip's 95th percentile."""
PIECE = 66
"""Windows of a piece of 3 s."""
LEAST_PIECE = 31
"""A shorter rest of a clip is not a piece: an offset of 15 frames either way leaves nothing to compare."""
LEAST_SPOKEN = 10
"""Spoken windows below which a piece cannot be placed by anybody."""


def evaluate_sync(expert: SyncExpert, clips: Sequence[Truth]) -> dict[str, float]:
    """Accuracy of the sync expert on the given motion.

    against_N: share of spoken windows whose own mouth is nearer than the same mouth N frames later, and
    earlier. within_1: share of pieces of 3 s (at the end of clips down to 1.6 s) placed within one frame.
    confidence: of these pieces, see ``SyncExpert.score``.
    """
    hits: dict[int, list[float]] = {shift: [] for shift in SHIFTS}
    offsets: list[int] = []
    confidences: list[float] = []
    for clip in clips:
        if len(clip.offsets) < PIECE * 2 // 3:
            continue
        similarity = expert.similarity(clip.features, clip.offsets)
        n = len(similarity)
        spoken, seen = (flags[:n] for flags in _windows(clip, expert.config.window))
        rows = np.flatnonzero(spoken & seen)
        for late in (*SHIFTS, *(-shift for shift in SHIFTS)):
            there = (rows + late >= 0) & (rows + late < n)
            there[there] = seen[rows[there] + late]
            own = rows[there]
            lead = (similarity[own, own] - similarity[own, own + late]).round(6)
            # A mouth at rest looks the same at both places: half a hit.
            hits[abs(late)] += list(0.5 * (np.sign(lead) + 1))
        for first in range(0, n - LEAST_PIECE + 1, PIECE):
            part = slice(first, first + PIECE)
            counted = (spoken & seen)[part]
            if counted.sum() >= LEAST_SPOKEN:
                curve = expert.offset_curve(similarity[part, part], counted.astype(np.float32))
                offsets.append(int(curve.argmax()) - (len(curve) - 1) // 2)
                confidences.append(float(curve.max() - np.median(curve)))
    return {
        **{f"against_{shift}": _mean(of_shift) for shift, of_shift in hits.items()},
        "within_1": _mean([abs(offset) <= 1 for offset in offsets]),
        "median_offset": float(np.median(offsets)) if offsets else float("nan"),
        "confidence": _mean(confidences),
    }


def speaking(expert: SyncExpert, clips: Sequence[Truth], least_confidence: float) -> list[str]:
    """Names of the clips whose mouth speaks, as far as this expert can tell: at any offset it is sure."""
    names = []
    for clip in clips:
        if min(len(clip.offsets), len(clip.features) // 2) >= 2 * expert.config.window:
            spoken = _windows(clip, expert.config.window)[0].astype(np.float32)
            if expert.score(clip.features, clip.offsets, spoken)[0] >= least_confidence:
                names.append(clip.name)
    return names


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _windows(clip: Truth, length: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Windows [N] filled with speech, and windows in which the face was tracked throughout."""
    level = np.asarray(clip.level_db, np.float64)
    power = np.lib.stride_tricks.sliding_window_view(10 ** (level / 10), length).mean(-1)
    spoken = 10 * np.log10(power) > np.quantile(level, 0.95) - SPOKEN_DB
    seen = np.lib.stride_tricks.sliding_window_view(clip.mask, length).all(-1)
    return np.asarray(spoken), np.asarray(seen)
