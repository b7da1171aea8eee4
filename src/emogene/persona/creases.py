"""Folds and wrinkles that come with an expression: painted heights of the skin, and how much each shows.

Eight painted sheets, in the skin's own texture: the fold from nose to mouth, wrinkles of the nose, lines
of the forehead, the frown between the brows; crow's feet, the lower lid's crease, the crease outside
the mouth's corner, the pit of the chin. A sheet is a height (-1 valley .. 1 ridge), the same on both sides;
the units of each side decide how deep it is there. Nothing is taken from a photograph: curves run between
the 68 landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from emogene.geometry.blendshapes import UNIT
from emogene.types import FloatArray

Array = NDArray[Any]
SHEETS = ("laugh", "nose", "forehead", "frown", "crow", "lid", "corner", "chin")
_DRIVEN: dict[str, dict[str, float]] = {
    "laugh": {"mouthSmile": 0.75, "noseSneer": 0.75, "mouthUpperUp": 0.45, "mouthDimple": 0.25},
    "nose": {"noseSneer": 1.0},
    "forehead": {"browOuterUp": 0.60, "browInnerUp": 0.45},
    "frown": {"browDown": 0.85, "noseSneer": 0.15},
    "crow": {"cheekSquint": 0.75, "mouthSmile": 0.15},
    "lid": {"cheekSquint": 0.70, "eyeSquint": 0.50},
    "corner": {"mouthFrown": 0.70, "mouthDimple": 0.55, "mouthSmile": 0.25, "mouthPress": 0.20},
    "chin": {"mouthShrugLower": 0.80, "mouthFrown": 0.30},
}
_ALWAYS = {"laugh": 0.10, "lid": 0.12}
"""A face at rest is not without folds."""
SMILED = ("laugh", "corner")
"""Sheets that are painted on a smile (``SMILE``), where skin lies otherwise than at rest."""
SMILE = {"mouthSmile": 0.8, "cheekSquint": 0.4}
Painted = tuple[Array, Array]
"""Places [S, S, 3] of texels and landmarks [68, 3], mm."""
_DEEPEST = 1.15
_REACH_MM = 14.0


def crease_weights(units: FloatArray) -> FloatArray:
    """How much of each sheet shows, [2, 8] (the person's right, left), of units [52]."""
    rows = []
    for side in ("Right", "Left"):
        row = []
        for name in SHEETS:
            total = _ALWAYS.get(name, 0.0)
            for unit, share in _DRIVEN[name].items():
                sided = unit if unit in UNIT else unit + side
                total += share * float(units[UNIT[sided]])
            row.append(min(total, _DEEPEST))
        rows.append(row)
    return np.array(rows, np.float32)


def crease_sheets(rest: Painted, smile: Painted) -> NDArray[np.uint8]:
    """Paint the sheets on a face at rest, the folds of a smile on a smile -> [S, S, 8], 128 is level."""
    height = {name: np.zeros(rest[0].shape[:2]) for name in SHEETS}
    for (position, landmarks), smiles in ((rest, False), (smile, True)):
        place = np.stack([np.abs(position[..., 0]), position[..., 1]], -1).astype(np.float64)
        front = position[..., 2] > landmarks[0, 2] + 6.0
        for crease in _creases(landmarks[:, :2]):
            if (crease.sheet in SMILED) == smiles:
                height[crease.sheet] += _groove(place, front, crease)
    stacked = np.stack([height[name] for name in SHEETS], -1)
    return np.clip(np.round(128 + 100 * stacked), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Crease:
    """A valley through ``points`` on the person's left; ``fold``: height of the ridge on its outer side."""

    sheet: str
    points: Array
    width_mm: float
    depth: float
    fold: float = 0.0


def _creases(mark: Array) -> list[_Crease]:
    """All creases of a face with the landmarks ``mark`` [68, 2] mm, seen from the front."""
    wing, corner, eye, chin, root = mark[35], mark[54], mark[45], mark[8], mark[27]

    def near(base: Array, *steps: tuple[float, float]) -> Array:
        return np.array([base + np.array(step) for step in steps])

    laugh = np.concatenate(
        [
            near(wing, (2.5, 6.0), (6.0, 0.5)),
            near(corner, (5.0, 7.5), (9.5, -1.0), (9.5, -10.0), (6.0, -18.0)),
        ]
    )
    pouch = np.concatenate([near(mark[42], (2, -5)), near(mark[47], (0, -6)), near(mark[46], (0, -6.5))])
    creases = [
        _Crease("laugh", laugh, 1.9, 1.0, 0.55),
        _Crease("corner", near(corner, (2.5, 3.0), (4.0, -1.0), (4.0, -6.0), (2.0, -11.0)), 1.2, 0.7, 0.3),
        _Crease("lid", np.concatenate([pouch, near(eye, (3, -4))]), 1.1, 0.8, 0.3),
        _Crease("frown", near(mark[22], (-3.0, -3.0), (-4.0, 5.0), (-2.5, 14.0)), 1.1, 0.9, 0.35),
        _Crease("chin", near(chin, (13.0, 16.0), (7.0, 20.5), (0.0, 22.0)), 1.7, 0.7, 0.4),
    ]
    for angle, length in ((0.55, 9.0), (0.1, 12.0), (-0.35, 11.0)):
        way = np.array([np.cos(angle), np.sin(angle)])
        ray = np.array([4.0, 0.0]) + np.array([[2.0], [2.0 + 0.5 * length], [2.0 + length]]) * way
        creases.append(_Crease("crow", eye + ray, 0.8, 0.8))
    for rise, depth in ((1.0, 0.6), (-3.5, 0.8), (-8.0, 0.7)):
        across = near(root, (0.0, rise), (3.5, rise + 0.4), (7.5, rise + 2.6))
        creases.append(_Crease("nose", across, 0.9, depth))
    for drop in (6.0, 11.0, 16.0):
        creases.append(_Crease("nose", near(root, (5, -drop), (8, 2.8 - drop), (10.5, 6.5 - drop)), 0.9, 0.7))
    for rise, reach, depth in ((13.0, 34.0, 0.8), (20.5, 38.0, 0.9), (28.0, 34.0, 0.7)):
        x = np.linspace(0.0, reach, 8)
        level = mark[24, 1] + rise - 2.2 * np.cos(x / 9.5 + rise) - 0.004 * x**2
        creases.append(_Crease("forehead", np.stack([x, level], 1), 1.3, depth))
    return creases


def _groove(place: Array, front: Array, crease: _Crease) -> Array:
    """Height [S, S] of one valley, tapering to its ends, with a soft fold on its outer side."""
    samples = _smooth(crease.points)
    along = np.linspace(0, 1, len(samples))
    tangent = np.gradient(samples, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    near = front & (np.abs(place - samples.mean(0)).max(-1) < np.ptp(samples, axis=0).max() + _REACH_MM)
    height = np.zeros(place.shape[:2])
    if not near.any():
        return height
    _, index = cKDTree(samples).query(place[near])
    apart = place[near] - samples[index]
    across = tangent[index, 0] * apart[:, 1] - tangent[index, 1] * apart[:, 0]
    beyond = np.einsum("nd,nd->n", apart, tangent[index])
    # A curve that starts on the midline goes on on the other side.
    open_start = samples[0, 0] > 0.5
    taper = np.clip((1 - along) / 0.35, 0, 1) * (np.clip(along / 0.30, 0, 1) if open_start else 1.0)
    taper = taper * taper * (3 - 2 * taper)
    away = np.hypot(across, beyond)
    width = crease.width_mm
    valley = -crease.depth * np.exp(-0.5 * (away / width) ** 2)
    ridge = crease.fold * np.exp(-0.5 * ((across - 2.6 * width) / (1.9 * width)) ** 2)
    ridge *= np.exp(-0.5 * (beyond / 3.0) ** 2)
    height[near] = taper[index] * (valley + ridge)
    return height


def _smooth(points: Array, count: int = 64) -> Array:
    """A curve [count, 2] through the points."""
    from scipy.interpolate import PchipInterpolator

    steps = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return np.asarray(PchipInterpolator(steps, points, axis=0)(np.linspace(0, steps[-1], count)))
