"""No two performances alike: what a seed changes in how an expression is shared over the face and time.

Everything here multiplies a displacement, so neutral stays neutral and a larger dose stays larger. Time
enters as absolute frames: windows of a stream agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emogene.geometry.landmarks import BROWS, EYES, MIRROR, MOUTH
from emogene.types import FPS, N_LANDMARKS, FloatArray

STYLE_DEVIATION = 0.5
"""Spread of the network's style; 1 is the spread of the speakers it was trained on."""
REGION_DEVIATION = 0.10
"""Share by which brows, eyes and mouth take part more or less."""
SIDE_DEVIATION = 0.06
"""Share by which one side of the face is stronger; real faces are never even."""
SWELL, BROW_SWELL = 0.08, 0.16
"""An expression comes and goes by this share over seconds, the brows more and faster."""
_SWELL_HZ = (0.11, 0.19, 0.31)
_BROW_HZ = (0.27, 0.43, 0.71)
_RIGHT = (*range(0, 8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67)


def side_of_landmark() -> FloatArray:
    """[68] -1 on the person's right, 1 on the left, 0 on the midline."""
    side = np.zeros(N_LANDMARKS, np.float32)
    side[list(_RIGHT)] = -1.0
    side[MIRROR[list(_RIGHT)]] = 1.0
    return side


@dataclass(frozen=True)
class Performance:
    """One seed's way of showing emotions. style: [Z] of the network; gains: [68] of displacements."""

    style: FloatArray
    gains: FloatArray
    swell_phases: FloatArray
    brow_phases: FloatArray
    size: float

    @classmethod
    def of(cls, seed: int, style_dim: int, size: float) -> Performance:
        """Draw it; ``size`` 0 is the average performance."""
        rng = np.random.default_rng([seed & 0xFFFFFFFF, 8])
        style = (size * STYLE_DEVIATION * rng.standard_normal(style_dim)).astype(np.float32)
        brows, eyes, mouth, side = np.clip(rng.standard_normal(4), -2, 2)
        gains = np.ones(N_LANDMARKS, np.float32)
        for region, strength in ((BROWS, brows), (EYES, eyes), (MOUTH, mouth)):
            gains[region] += size * REGION_DEVIATION * strength
        gains *= 1.0 + size * SIDE_DEVIATION * side * side_of_landmark()
        phases = rng.uniform(0, 2 * np.pi, (2, 3)).astype(np.float32)
        return cls(style, gains, phases[0], phases[1], size)

    def gains_at(self, start: int, n_frames: int) -> FloatArray:
        """[T, 68] gains of the frames from ``start`` on."""
        times_s = np.asarray(np.arange(start, start + n_frames) / FPS, np.float32)
        gains = self.gains * (1.0 + self.size * SWELL * _waves(times_s, _SWELL_HZ, self.swell_phases))
        gains[:, BROWS] *= 1.0 + self.size * BROW_SWELL * _waves(times_s, _BROW_HZ, self.brow_phases)
        return np.asarray(gains, np.float32)


def _waves(times_s: FloatArray, rates_hz: tuple[float, ...], phases: FloatArray) -> FloatArray:
    """Slow irregular movement [T, 1] within -1..1."""
    angles = 2 * np.pi * np.outer(times_s, rates_hz) + phases
    return np.asarray(np.sin(angles).mean(1, keepdims=True), np.float32)
