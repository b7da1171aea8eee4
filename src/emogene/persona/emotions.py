"""Emotions as face-unit recipes and manners of moving, with a continuous dose.

Each recipe gives the ARKit units at full dose; levels 1, 2, 3 of acted corpora are doses .4, .7, 1.
Mixtures add up. Speech comes first: where lips must round or close, the emotion steps back.
"""

from __future__ import annotations

import numpy as np

from emogene.geometry.blendshapes import ARKIT_52, UNIT, units_row
from emogene.persona.phones import Reals
from emogene.types import EMOTIONS, NEUTRAL

LEVEL_DOSE = {1: 0.4, 2: 0.7, 3: 1.0}

_RECIPES = {
    "neutral": {},
    "happy": {
        # A smile that shows the upper teeth, also while nothing is said.
        "mouthSmile": 0.80, "cheekSquint": 0.70, "eyeSquint": 0.12, "mouthUpperUp": 0.60, "jawOpen": 0.05,
        "mouthLowerDown": 0.32, "mouthDimple": 0.15, "browInnerUp": 0.22, "browOuterUp": 0.20,
    },
    "angry": {
        "browDown": 1.0, "noseSneer": 0.60, "eyeSquint": 0.55, "eyeWide": 0.30, "mouthFrown": 0.50,
        "mouthPress": 0.20, "mouthLowerDown": 0.45, "mouthUpperUp": 0.35, "jawForward": 0.30,
        "mouthShrugLower": 0.20,
    },
    "contempt": {
        # One corner raised and drawn aside, the other down, lids and brows low: a smirk is taken for joy.
        "mouthSmileRight": 0.50, "mouthDimpleRight": 0.60, "mouthUpperUpRight": 0.40, "noseSneerRight": 0.40,
        "mouthRight": 0.25, "mouthFrownLeft": 0.60, "mouthShrugLower": 0.30, "browDown": 0.30,
        "eyeBlink": 0.15, "eyeSquint": 0.10,
    },
    "disgust": {
        # Little brow: lowered, it is taken for anger. The lower lip curls out, the lids droop.
        "noseSneer": 1.0, "mouthUpperUp": 1.0, "browDown": 0.15, "browInnerUp": 0.10, "cheekSquint": 0.45,
        "eyeSquint": 0.35, "eyeBlink": 0.15, "mouthFrown": 0.60, "mouthShrugLower": 1.0,
        "mouthLowerDown": 0.08,
    },
    "fear": {
        "browInnerUp": 1.0, "browOuterUp": 0.35, "browDown": 0.30, "eyeWide": 1.0, "mouthStretch": 0.90,
        "mouthFrown": 0.35, "jawOpen": 0.07, "mouthLowerDown": 0.35,
    },
    "sad": {
        "browInnerUp": 0.95, "browDown": 0.2, "mouthFrown": 0.80, "mouthShrugLower": 0.45, "eyeBlink": 0.20,
        "eyeLookDown": 0.25, "cheekSquint": 0.15, "mouthRollLower": 0.1,
    },
    "surprise": {
        # Who speaks cannot drop the jaw: 0.22 would make the lips race to every closure, and miss many.
        "browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 1.0, "jawOpen": 0.11, "mouthFunnel": 0.20,
        "mouthLowerDown": 0.15,
    },
}  # fmt: skip

RECIPES: Reals = np.stack([units_row(_RECIPES[name]) for name in EMOTIONS])
"""[8, 52] units of each emotion at full dose, in the order of EMOTIONS."""

#            angry contempt disgust fear happy neutral sad surprise
ARTICULATION_GAIN = np.array([1.12, 0.90, 1.00, 0.95, 1.05, 1.0, 0.80, 1.00])
HEAD_AMPLITUDE = np.array([1.40, 0.80, 1.00, 1.20, 1.35, 1.0, 0.70, 1.10])
BLINKS_PER_S = np.array([0.12, 0.15, 0.25, 0.45, 0.28, 0.22, 0.30, 0.12])
NOD_STRENGTH = np.array([1.8, 0.6, 0.8, 0.6, 1.3, 1.0, 0.6, 1.0])
HEAD_TILT_RAD = np.array([
    [0.07, 0, 0], [-0.08, 0.06, -0.05], [-0.05, 0.10, 0.03], [-0.04, -0.03, 0],
    [-0.02, 0, 0.05], [0, 0, 0], [0.10, 0.03, 0.06], [-0.06, 0, 0],
])  # fmt: skip
"""[8, 3] pitch (positive: down), yaw, roll at full dose."""
BROW_RAISE_ON_ACCENT = np.array([0, 0, 0, 0.5, 0.5, 0.5, 0, 0.5])
BROW_DROP_ON_ACCENT = np.array([0.4, 0, 0.4, 0, 0, 0, 0, 0])

_IS_MOUTH = np.array([name.startswith("mouth") for name in ARKIT_52])
_IS_SMILE = np.array([name.startswith("mouthSmile") for name in ARKIT_52])
_IS_SNEER = np.array([name.startswith("noseSneer") for name in ARKIT_52])
_IS_CORNER = np.array([name.startswith(("mouthFrown", "mouthDimple")) for name in ARKIT_52])


def with_neutral(weights: Reals) -> Reals:
    """Set the neutral column of [T, 8] to what the seven others leave of 1, and bound them to a sum of 1."""
    others = np.clip(np.asarray(weights, np.float32), 0, 1).copy()
    others[:, NEUTRAL] = 0
    others /= np.maximum(others.sum(1, keepdims=True), 1)
    others[:, NEUTRAL] = 1 - others.sum(1)
    return others


def blend(values: Reals, weights: Reals) -> Reals:
    """Mix a per-emotion table [8, ...] by complete weights [T, 8] -> [T, ...]."""
    return np.tensordot(weights, values, axes=1)


def yield_to_speech(emotional: Reals, *, rounding: Reals, closure: Reals, friction: Reals) -> Reals:
    """Scale emotion units [T, 52] down where lips round [T], close [T] or touch the teeth [T] (all 0..1)."""
    rounded = np.minimum(rounding, 1)[:, None]
    free = (1 - 0.85 * np.maximum(closure, 0.6 * friction))[:, None]
    scale = np.ones_like(emotional)
    scale = np.where(_IS_MOUTH, (1 - 0.6 * rounded) * free, scale)
    scale = np.where(_IS_CORNER, 1 - 0.4 * rounded, scale)
    scale = np.where(_IS_SMILE, 1 - 0.55 * rounded, scale)
    # A wrinkled nose lifts the upper lip.
    scale = np.where(_IS_SNEER, (1 - 0.4 * closure)[:, None], scale)
    scale[:, UNIT["jawOpen"]] = 1 - 0.9 * closure
    return emotional * scale
