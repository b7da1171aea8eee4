"""The 68 landmarks: which mesh point each is, their regions, and measures taken on them.

The order is iBUG's: 17 jaw, 10 brow, 9 nose, 12 eye, 12 outer lip, 8 inner lip points, each group from
the image's left (the person's right) to the image's right.
"""

from __future__ import annotations

import numpy as np

from emogene.types import FloatArray

# fmt: off
MESH_FROM_LANDMARK = np.array([
    127, 234, 93, 132, 58, 172, 136, 150, 152, 379, 365, 397, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,                                       # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,                                                 # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,                           # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,                                 # outer lip
    78, 82, 13, 312, 308, 317, 14, 87,                                                   # inner lip
])
"""Index of each landmark in MediaPipe's 478-point face mesh."""

MIRROR = np.array([
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
    26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
    27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
])
"""Landmark that each landmark becomes when the face is mirrored left to right."""
# fmt: on

JAW = slice(0, 17)
BROWS = slice(17, 27)
NOSE = slice(27, 36)
RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)
EYES = slice(36, 48)
MOUTH = slice(48, 68)
OUTER_LIP = slice(48, 60)
INNER_LIP = slice(60, 68)
OUTER_EYE_CORNERS = (36, 45)
MOUTH_CORNERS = (48, 54)


def lip_opening(landmarks_cano: FloatArray) -> FloatArray:
    """Signed vertical gap of the inner lips, [..., 68, 3] -> [...], canonical units; about 0 when shut."""
    upper = landmarks_cano[..., 61:64, 1].mean(-1)
    lower = landmarks_cano[..., 65:68, 1].mean(-1)
    return np.asarray(upper - lower, dtype=np.float32)


def shut_level(opening: FloatArray) -> float:
    """The opening below which a speaker's lips count as shut: 20 % of the 5-95 % range of ``opening`` [T]."""
    low, high = np.quantile(opening, (0.05, 0.95))
    return float(low + 0.2 * (high - low))


def lip_width(landmarks_cano: FloatArray) -> FloatArray:
    """Distance of the mouth corners, [..., 68, 3] -> [...], canonical units."""
    span = landmarks_cano[..., MOUTH_CORNERS[1], :] - landmarks_cano[..., MOUTH_CORNERS[0], :]
    return np.asarray(np.linalg.norm(span, axis=-1), dtype=np.float32)


def eye_opening(landmarks_cano: FloatArray) -> FloatArray:
    """Mean vertical lid gap of the person's left and right eye, [..., 68, 3] -> [..., 2]."""

    def gap(upper: tuple[int, int], lower: tuple[int, int]) -> FloatArray:
        points = landmarks_cano[..., 1]
        return np.asarray(points[..., upper].mean(-1) - points[..., lower].mean(-1), dtype=np.float32)

    return np.stack([gap((43, 44), (46, 47)), gap((37, 38), (40, 41))], axis=-1)
