"""What a suite knows of one video: its name's meaning, its metrics, its observation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emogene.evaluate.frechet import Moments, frechet_distance
from emogene.evaluate.observe import Observation
from emogene.types import EMOTIONS, FloatArray


@dataclass(frozen=True)
class Meaning:
    """CLIP__CONDITION@DOSE: the clip, the condition (an emotion, a language), and how much of it."""

    clip: str
    condition: str | None = None
    dose: float = 1.0

    @property
    def emotion(self) -> str | None:
        """The condition where it is an emotion label."""
        return self.condition if self.condition in EMOTIONS else None


def meaning_of(file: str) -> Meaning:
    """Read a file's name; a name without ``__`` is a clip without condition."""
    stem = Path(file).name.removesuffix(".mp4")
    clip, separator, condition = stem.rpartition("__")
    if not separator:
        return Meaning(stem)
    label, _, dose = condition.partition("@")
    try:
        return Meaning(clip, label, float(dose) if dose else 1.0)
    except ValueError:
        return Meaning(clip, condition)


@dataclass(frozen=True)
class Measured:
    """One measured video; ``metrics`` holds finite numbers and inf, never None."""

    video: Path
    meaning: Meaning
    metrics: dict[str, float]
    aligned: dict[str, Any]
    missing: dict[str, str]
    observed: Path | None = None
    real: Path | None = None
    """Observations on disk of the video and of the real one it was compared with."""

    @classmethod
    def of(
        cls, video: Path, content: dict[str, Any], observed: Path | None, real: Path | None = None
    ) -> Measured:
        """From a VideoReport's plain content."""
        metrics = {
            name: math.inf if value == "inf" else float(value)
            for name, value in content["metrics"].items()
            if value is not None
        }
        return cls(
            video, meaning_of(video.name), metrics, content["aligned"], content["missing"], observed, real
        )

    def observation(self) -> Observation | None:
        """Read back from disk; None where the video could not be observed."""
        return None if self.observed is None else Observation.load(self.observed)

    def reference(self) -> Observation | None:
        """The same of the real video; None where there is none."""
        return None if self.real is None else Observation.load(self.real)


Results = dict[str, dict[str, list[Measured]]]
"""Protocol -> system -> videos."""


def set_distance(rows: list[Measured], kind: str) -> float:
    """Frechet distance of all pictures of a system from its references'; nan where either has none."""
    ours = _moments([row.observation() for row in rows], kind)
    real = _moments([row.reference() for row in rows], kind)
    return float("nan") if ours is None or real is None else frechet_distance(ours, real)


def _moments(observations: list[Observation | None], kind: str) -> Moments | None:
    total: Moments | None = None
    for seen in observations:
        if seen is not None and kind in seen.moments:
            total = seen.moments[kind] if total is None else total + seen.moments[kind]
    return total


def confusion_of(rows: list[Measured]) -> FloatArray:
    """[8, 8] judged frames at full dose: rows are the meant emotions, columns the judged ones."""
    table = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.float32)
    for row in rows:
        seen = row.observation()
        if row.meaning.emotion is None or row.meaning.dose != 1 or seen is None:
            continue
        for judged in seen.expression.argmax(1) if len(seen.expression) else ():
            table[EMOTIONS.index(row.meaning.emotion), int(judged)] += 1
    return table
