"""Lids and irises of a tracked face -> the eye stream [T, 4] (types.EYE_CHANNELS).

Openness is 0 with shut lids, 1 at the person's usual opening, above 1 wide open; gaze is the direction of
the iris relative to where the person usually looks: yaw positive to the person's left, pitch positive up.
"""

from __future__ import annotations

import numpy as np

from emogene.capture.tracker import interpolate
from emogene.geometry.landmarks import MESH_FROM_LANDMARK, eye_opening
from emogene.types import FloatArray

IRIS = (473, 468)
"""Iris centres of the person's left and right eye in the mesh."""
BLINK = (9, 10)
"""eyeBlinkLeft, eyeBlinkRight in MediaPipe's blendshapes."""
EYEBALL_RADIUS = 0.13
"""About 12 mm where the outer eye corners are 90 mm apart."""
SHUT_SHARE = 0.25
"""Lid gap that the tracker still shows on a shut eye, as a share of the open one."""
MAX_OPEN = 1.6
MAX_GAZE_RAD = 0.7


def eye_stream(mesh_cano: FloatArray, blendshapes: FloatArray) -> FloatArray:
    """Openness and gaze from the canonical mesh [T, 478, 3] and blendshapes [T, 52]; [T, 4]."""
    openness = eye_openness(mesh_cano[:, MESH_FROM_LANDMARK], blendshapes)
    yaw, pitch = _gaze(mesh_cano, openness)
    return np.column_stack([openness, yaw, pitch]).astype(np.float32)


def eye_openness(landmarks_cano: FloatArray, blendshapes: FloatArray) -> FloatArray:
    """[T, 2], the person's left eye first, from [T, 68, 3] and [T, 52]."""
    gap = eye_opening(landmarks_cano)
    usual = np.maximum(np.quantile(gap, 0.6, axis=0), 1e-3)
    lids = (gap / usual - SHUT_SHARE) / (1 - SHUT_SHARE)
    blink = blendshapes[:, BLINK]
    rest = np.quantile(blink, 0.4, axis=0)
    shapes = 1 - (blink - rest) / np.maximum(0.9 - rest, 0.2)
    # The blendshape tells a shut eye best, the lids tell a wide one: it cannot say more than "rest".
    both = np.where(shapes < 1, 0.5 * (np.minimum(lids, 1.2) + shapes), lids)
    return np.asarray(np.clip(both, 0.0, MAX_OPEN), np.float32)


def _gaze(mesh_cano: FloatArray, openness: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Yaw and pitch [T] in radians, mean of both eyes, relative to the clip's median; held during blinks.

    Where the irises are in the head, not between the tracked corners of the lids: those wander with brows and
    blinks (an iris drawn from it missed the video's by 10 % more squared error).
    """
    offset = mesh_cano[:, IRIS, :2].mean(1)
    seen = np.flatnonzero(openness.min(1) > 0.5)
    if len(seen):
        offset = interpolate(offset[seen].astype(np.float32), seen, np.arange(len(offset)))
        offset = offset - np.median(offset[seen], axis=0)
    angles = np.arcsin(np.clip(offset / EYEBALL_RADIUS, -0.95, 0.95))
    angles = np.clip(angles, -MAX_GAZE_RAD, MAX_GAZE_RAD).astype(np.float32)
    return angles[:, 0], angles[:, 1]
