"""The 52 ARKit face units: their names, order and sides.

The order is that of MediaPipe's blendshape output without its leading ``_neutral``, then ``tongueOut``,
which MediaPipe does not report. "Left" is the person's left.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emogene.types import FloatArray

ARKIT_52 = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
    "tongueOut",
)  # fmt: skip
N_UNITS = len(ARKIT_52)
UNIT = {name: index for index, name in enumerate(ARKIT_52)}
"""Column of each unit."""


def _mirrored(name: str) -> str:
    if name.endswith("Left"):
        return name[: -len("Left")] + "Right"
    if name.endswith("Right"):
        return name[: -len("Right")] + "Left"
    return name


UNIT_MIRROR = np.array([UNIT[_mirrored(name)] for name in ARKIT_52])
"""Unit that each unit becomes when the face is mirrored left to right."""


def units_row(values: Mapping[str, float]) -> FloatArray:
    """Turn {name: value} into a [52] row; a name without side, like ``mouthSmile``, means both sides."""
    row = np.zeros(N_UNITS, np.float32)
    for name, value in values.items():
        for column in unit_columns(name):
            row[column] += value
    return row


def unit_columns(name: str) -> tuple[int, ...]:
    """Columns of a unit, or of both sides of it when ``name`` leaves out Left or Right."""
    if name in UNIT:
        return (UNIT[name],)
    return UNIT[name + "Left"], UNIT[name + "Right"]


def from_mediapipe(scores: FloatArray) -> FloatArray:
    """Bring MediaPipe's 52 scores [..., 52] (``_neutral`` first) into the order of ARKIT_52."""
    rolled = np.roll(np.asarray(scores, np.float32), -1, axis=-1)
    rolled[..., UNIT["tongueOut"]] = 0.0
    return rolled
