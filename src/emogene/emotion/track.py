"""The emotion of a take over time: keys (time, doses, fade) -> weights [T, 8].

A dose is 0 (neutral) to 1 (as strong as people show it); up to 1.5 is exaggeration. Neutral is what the
other doses leave of 1. At the time of a key the face begins to change, and after the key's fade it has
arrived: nothing before a key's time depends on it, so a track can grow while it is being played.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from emogene.emotion.labels import index_of
from emogene.errors import UserError
from emogene.types import EMOTIONS, N_EMOTIONS, NEUTRAL, FloatArray

DEFAULT_FADE_S = 0.6
"""People need half a second or more for an expression; faster and the onset outruns speech's own speed."""
SHORTEST_FADE_S = 0.16
"""Faces do not jump: a shorter fade is played this long (4 frames)."""
LARGEST_DOSE = 1.5


@dataclass(frozen=True, slots=True)
class EmotionKey:
    """From ``t_s`` on, fade to ``doses`` (8 numbers in label order, neutral's is 0) within ``fade_s``."""

    t_s: float
    doses: tuple[float, ...]
    fade_s: float = DEFAULT_FADE_S

    def __post_init__(self) -> None:
        if not (math.isfinite(self.t_s) and self.t_s >= 0):
            raise UserError(f"emotion time {self.t_s:g} s is not possible; times count from 0")
        if not (math.isfinite(self.fade_s) and 0 <= self.fade_s <= 60):
            raise UserError(f"emotion fade {self.fade_s:g} s is not possible; use 0 to 60 s")
        if len(self.doses) != N_EMOTIONS:
            raise ValueError(f"doses must be {N_EMOTIONS} numbers, not {len(self.doses)}")
        object.__setattr__(self, "doses", tuple(_checked_doses(self.doses)))

    @property
    def named_doses(self) -> dict[str, float]:
        """The doses that are not zero, by label; {"neutral": 1.0} if there are none."""
        named = {label: dose for label, dose in zip(EMOTIONS, self.doses, strict=True) if dose > 0}
        return named or {EMOTIONS[NEUTRAL]: 1.0}


@dataclass(frozen=True, slots=True)
class EmotionTrack:
    """Keys in order of time; neutral before the first, the last one holds for ever."""

    keys: tuple[EmotionKey, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.keys, key=lambda key: key.t_s))
        for earlier, later in pairwise(ordered):
            if earlier.t_s == later.t_s:
                raise UserError(f"two emotions begin at {later.t_s:g} s; join them with +, or move one")
        object.__setattr__(self, "keys", ordered)

    @classmethod
    def constant(cls, label: str, dose: float = 1.0) -> EmotionTrack:
        """One emotion from start to end."""
        return cls((EmotionKey(0.0, doses_of({label: dose})),))

    def weights(self, times_s: ArrayLike) -> FloatArray:
        """Return the weights [T, 8] at the given times; neutral's column is the remainder to 1.

        Each key blends from whatever is shown to its own doses by a smoothstep (C1), so overlapping
        fades stay between their parts. A key at time 0 is there from the first frame.
        """
        times = np.asarray(times_s, np.float64)
        weights = np.zeros((len(times), N_EMOTIONS))
        for key in self.keys:
            if key.t_s <= 0:
                weights[:] = key.doses
                continue
            begun = int(np.searchsorted(times, key.t_s)) if _increasing(times) else 0
            phase = np.clip((times[begun:] - key.t_s) / max(key.fade_s, SHORTEST_FADE_S), 0.0, 1.0)
            blend = (phase * phase * (3.0 - 2.0 * phase))[:, None]
            weights[begun:] = (1.0 - blend) * weights[begun:] + blend * np.asarray(key.doses)
        weights[:, NEUTRAL] = 0.0
        weights[:, NEUTRAL] = np.clip(1.0 - weights.sum(1), 0.0, 1.0)
        return weights.astype(np.float32)

    def scaled(self, intensity: float) -> EmotionTrack:
        """Multiply all doses.

        Raises:
            UserError: intensity is negative, or a dose would pass the largest one allowed.
        """
        if not (math.isfinite(intensity) and intensity >= 0):
            raise UserError(f"intensity {intensity:g} is not possible; use 0 (neutral) to {LARGEST_DOSE:g}")
        return EmotionTrack(
            tuple(replace(key, doses=tuple(dose * intensity for dose in key.doses)) for key in self.keys)
        )

    def limited(self, limits: Mapping[str, float]) -> EmotionTrack:
        """Cap the dose of each named emotion, as ``AvatarCard.dose_limits`` asks."""
        highest = [LARGEST_DOSE] * N_EMOTIONS
        for name, limit in limits.items():
            highest[index_of(name)] = float(limit)
        return EmotionTrack(
            tuple(
                replace(key, doses=tuple(min(pair) for pair in zip(key.doses, highest, strict=True)))
                for key in self.keys
            )
        )

    @property
    def largest_dose(self) -> float:
        """The largest total dose; above 1 the face exaggerates."""
        return max((sum(key.doses) for key in self.keys), default=0.0)

    def with_key(self, key: EmotionKey) -> EmotionTrack:
        """Add a key; it replaces one at the same time."""
        return EmotionTrack((*(old for old in self.keys if old.t_s != key.t_s), key))

    def __str__(self) -> str:
        """Return the track in the grammar of ``parse_emotion`` (fades are not part of it)."""
        return ", ".join(f"{_number(key.t_s)}:{_mixture_text(key)}" for key in self.keys) or "neutral"


def doses_of(named: Mapping[str, float]) -> tuple[float, ...]:
    """Return 8 doses in label order from doses by name (aliases too; equal labels add up)."""
    doses = [0.0] * N_EMOTIONS
    for name, dose in named.items():
        doses[index_of(name)] += float(dose)
    return tuple(_checked_doses(doses))


def _checked_doses(doses: Iterable[float]) -> list[float]:
    """Refuse impossible doses; neutral has none of its own, it is what the others leave."""
    checked = []
    for label, dose in zip(EMOTIONS, doses, strict=True):
        if not math.isfinite(dose) or dose < 0 or dose > LARGEST_DOSE:
            raise UserError(
                f"dose {dose:g} of {label} is not possible; use 0 to 1 (up to {LARGEST_DOSE:g} exaggerates)"
            )
        checked.append(0.0 if label == EMOTIONS[NEUTRAL] else float(dose))
    if sum(checked) > LARGEST_DOSE + 1e-6:
        raise UserError(
            f"the doses of one moment add up to {sum(checked):g}; keep them at {LARGEST_DOSE:g} or less"
        )
    return checked


def _increasing(times: np.ndarray) -> bool:
    return len(times) < 2 or bool(np.all(np.diff(times) >= 0))


def _mixture_text(key: EmotionKey) -> str:
    return "+".join(f"{label}:{_number(dose)}" for label, dose in key.named_doses.items())


def _number(value: float) -> str:
    """Shortest text that reads back as the same number, without an exponent."""
    return np.format_float_positional(value, trim="-")
