"""How lively the head and the eyes are: the person's choice (PoseStyle) and what an emotion does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from emogene.errors import UserError
from emogene.pose.noise import Reals
from emogene.types import NEUTRAL

#                    angry contempt disgust fear happy neutral sad surprise
HEAD_AMPLITUDE = np.array([1.40, 0.80, 1.00, 1.20, 1.35, 1.00, 0.70, 1.10])
NOD_STRENGTH = np.array([1.80, 0.60, 0.80, 0.60, 1.30, 1.00, 0.60, 1.00])
BLINKS_PER_S = np.array([0.12, 0.15, 0.25, 0.45, 0.28, 0.22, 0.30, 0.12])
HEAD_TILT_RAD = np.array([
    [0.07, 0, 0], [-0.08, 0.06, -0.05], [-0.05, 0.10, 0.03], [-0.04, -0.03, 0],
    [-0.02, 0, 0.05], [0, 0, 0], [0.10, 0.03, 0.06], [-0.06, 0, 0],
])  # fmt: skip
"""[8, 3] pitch (positive: down), yaw (to the person's left), roll (left side up) at dose 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoseStyle:
    """Knobs of head and eyes; 1 is usual, 0 switches a part off."""

    source: Literal["sampled", "take", "paper", "still"] = "sampled"
    """sampled: the living head of this package. take: the person's own recorded poses, forth and back.
    paper: the recorded poses with EmoGene's idle segments put in. still: the rest pose."""
    head: float = 1.0
    """Size of head movement."""
    nods: float = 1.0
    """Nods on stressed syllables."""
    tilt: float = 1.0
    """How much the emotion tilts the head."""
    blink_rate: float = 1.0
    """Factor on the blink rate."""
    gaze: float = 1.0
    """Size of eye movements."""
    idle: float = 1.0
    """Size of breath and sway in silence."""

    def __post_init__(self) -> None:
        for name in ("head", "nods", "tilt", "blink_rate", "gaze", "idle"):
            value = getattr(self, name)
            if not 0 <= value <= 3:
                raise UserError(f"pose style {name} = {value:g} is not possible; use 0 to 3 (1 is usual)")
        if self.source not in ("sampled", "take", "paper", "still"):
            raise UserError(f"pose source {self.source!r} is unknown; use sampled, take, paper or still")


def standard() -> PoseStyle:
    """The default."""
    return PoseStyle()


def paper() -> PoseStyle:
    """EmoGene's pose sampling: recorded poses with frozen segments of random length (section 3.5)."""
    return PoseStyle(source="paper")


def tiny() -> PoseStyle:
    """The smallest: no motion at all."""
    return PoseStyle(source="still")


def by_emotion(table: Reals, weights: Reals) -> Reals:
    """Mix a table [8, ...] by weights [T, 8]: neutral's row plus dose times the difference to it."""
    doses = np.asarray(weights, np.float64).copy()
    doses[:, NEUTRAL] = 0
    # Exaggerated doses exaggerate the face, not the manners.
    doses /= np.maximum(doses.sum(1, keepdims=True), 1.0)
    return np.asarray(table[NEUTRAL] + np.tensordot(doses, table - table[NEUTRAL], axes=1))
