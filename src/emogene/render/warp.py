"""Landmark-driven warp: 68 landmark offsets -> a displacement grid that undoes the expression.

A point of the observed head is moved to where it would be on the neutral face before the field is
asked about it: ``x_neutral = x + warp(x)``. The field then learns one neutral head, and an expression
the video never showed still deforms it. Landmarks are joined by control points between them (lips,
cheeks, chin), every control point spreads its displacement by a Gaussian, and because weights are
taken on the neutral face the grid is a fixed linear function of the offsets: one small matrix product
per frame.

offsets [T, 68, 3] in canonical units -> warp [T, G, G, G, 3] (z, y, x node order) in unit-cube units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emogene.geometry.landmarks import BROWS, EYES, LEFT_EYE, RIGHT_EYE
from emogene.render.rays import HeadBox
from emogene.types import N_LANDMARKS, FloatArray

PULL = 0.005
"""Towards the offsets asked for, against a landmark's own reach of about 1."""
BROW_GAIN, BROW_REACH = 1.6, 0.075
"""Of what brows are asked to move beyond the known face, and how far the gain may take them, outer-eye
distances: a tracker sees .5 to .6 of their motion. Farther than a full frown they drag the hair along."""
RAISE_GAIN, RAISE_REACH = 2.2, 0.09
"""The same of brows that rise: the forehead above them gives way, hair stays. Half the gain is left at the
reach, so that a larger dose raises them farther (surprise asks for .05 at dose 1)."""
RAISE_EASE = 0.01
"""Height over which rising turns into falling, so that what is on its way through rest does not jump."""
CORNER_GAIN = 1.25
"""The same of the mouth's corners, of which .85 is seen. With both the expression judge gives the emotion
asked of a man who never smiles .40 instead of .33, and calls his joy joy."""
DROP_GAIN, DROP_REACH = 2.1, 0.06
"""The same of corners that fall: a raised lip and cheeks hold them up (of disgust, nothing was seen). Half of
what this adds is left at the reach: sadness asks for .04, and at dose 1.5 all of it is a clown's mouth."""
NEGLIGIBLE = 1e-3
"""Weight of all landmarks together below which a node never moves."""


@dataclass(frozen=True, kw_only=True)
class WarpConfig:
    """How far a landmark's motion reaches, in outer-eye distances (about 90 mm)."""

    grid: int = 32
    """Nodes per axis."""
    sigma_lips: float = 0.09
    """Gaussian radius across the face around lips."""
    sigma_face: float = 0.14
    """The same elsewhere."""
    sigma_depth: float = 0.35
    """Radius along z: a landmark moves what lies behind it as well."""
    rest: float = 0.25
    """Weight of the unmoved head in every average; what is far from all landmarks stays."""


def without_lids(offsets: Tensor) -> Tensor:
    """Let the eye landmarks follow their eye's corners: blinking is the eye stream's task alone."""
    result = offsets.clone()
    for eye in (RIGHT_EYE, LEFT_EYE):
        corners = offsets[..., [eye.start, eye.start + 3], :]
        result[..., eye, :] = corners.mean(-2, keepdim=True)
    return result


def control_points() -> tuple[FloatArray, FloatArray]:
    """Blends of the 68 landmarks that cover the face densely.

    Returns:
        blend [P, 68], rows sum to one; lip [P], 1 for control points of the lips, 0 elsewhere.
    """
    rows: list[tuple[dict[int, float], float]] = [({i: 1.0}, float(i >= 48)) for i in range(N_LANDMARKS)]

    def between(a: int, b: int, parts: int, lip: float) -> None:
        for k in range(1, parts):
            rows.append(({a: 1 - k / parts, b: k / parts}, lip))

    for start, stop in ((0, 16), (17, 21), (22, 26), (27, 30)):
        for i in range(start, stop):
            between(i, i + 1, 2, 0.0)
    for first, count in ((48, 12), (60, 8)):
        for i in range(count):
            between(first + i, first + (i + 1) % count, 2, 1.0)
    # Between the lip contours, then from the lips to the chin, the jaw and the nose.
    for outer, inner in ((49, 61), (50, 61), (51, 62), (52, 63), (53, 63), (55, 65), (57, 66), (59, 67)):
        between(outer, inner, 2, 1.0)
    for lip, jaw in ((59, 6), (58, 7), (57, 8), (56, 9), (55, 10)):
        between(lip, jaw, 4, 0.0)
    for corner, jaws in ((48, (1, 2, 3, 4, 5)), (54, (15, 14, 13, 12, 11))):
        for jaw in jaws:
            between(corner, jaw, 4, 0.0)
    for lip, nose in ((50, 31), (51, 33), (52, 35), (49, 31), (53, 35)):
        between(lip, nose, 3, 0.0)
    for wing, jaw in ((31, 1), (31, 2), (35, 15), (35, 14)):
        between(wing, jaw, 4, 0.0)
    blend = np.zeros((len(rows), N_LANDMARKS), np.float32)
    for row, (weights, _) in zip(blend, rows, strict=True):
        for index, weight in weights.items():
            row[index] = weight
    return blend, np.array([lip for _, lip in rows], np.float32)


class Warp:
    """The linear map from offsets to displacement grids for one neutral face in one box."""

    def __init__(self, neutral_cano: FloatArray, box: HeadBox, config: WarpConfig | None = None) -> None:
        """Build the map.

        Args:
            neutral_cano: [68, 3] the person's neutral face, canonical.
            box: the cube that the grid fills.
            config: radii and resolution.
        """
        self.config = config or WarpConfig()
        self._neutral = np.asarray(neutral_cano, np.float32)
        self._controls = _Controls.of(neutral_cano, self.config)
        self._at_rest = torch.from_numpy(self._controls.weights(self._neutral))
        spread = torch.from_numpy(self._controls.weights(_nodes(box, self.config.grid)))
        # Three quarters of the nodes are too far from the face to move: they are left out of the product.
        self._nodes = (spread.abs().sum(1) > NEGLIGIBLE).nonzero()[:, 0]
        self._spread = spread[self._nodes].contiguous()
        self._scale = -1.0 / (2.0 * box.half_size)

    def __call__(self, offsets: Tensor) -> Tensor:
        """offsets [T, 68, 3] canonical -> warp [T, G, G, G, 3] in unit-cube units, float32."""
        frames, size = len(offsets), self.config.grid
        moved = without_lids(offsets.float()) * self._scale
        spread, nodes = self._spread.to(moved.device), self._nodes.to(moved.device)
        part = spread @ moved.permute(1, 0, 2).reshape(N_LANDMARKS, -1)
        grid = moved.new_zeros(frames, size**3, 3)
        grid.index_copy_(1, nodes, part.view(-1, frames, 3).transpose(0, 1))
        return grid.view(frames, size, size, size, 3)

    def reaching(self, known: Tensor, asked: Tensor) -> Tensor:
        """Offsets under which landmarks are seen as far from the known face as asked.

        Neighbours average a landmark's motion, and it leaves their reach: of a smile the warp alone shows
        45 %, of a frown 25 %. Where networks know the face they do the rest; where they do not, the warp is
        asked for more: solved on the landmarks, with a pull to what is asked, and beyond that for brows and
        corners of the mouth, because the skin around them hides a part of it.

        Args:
            known: [T, 68, 3] offsets that the networks are shown.
            asked: [T, 68, 3] offsets of the face that shall be seen.

        Returns:
            [T, 68, 3]; ``asked`` itself where both are the same.
        """
        known, asked = without_lids(known), without_lids(asked)
        further = _exaggerated(asked - known)
        asked = known + further
        frames = (further.abs().amax((1, 2)) > 1e-4).nonzero()[:, 0]
        if not len(frames):
            return asked
        neutral = torch.from_numpy(self._neutral)
        # Where the known face shows the landmarks' points of the neutral head, and where they shall be seen.
        shown = self._at_rest @ known[frames] + further[frames]
        places = (neutral + shown).reshape(-1, 3).numpy()
        weights = torch.from_numpy(self._controls.weights(places)).view(-1, N_LANDMARKS, N_LANDMARKS)
        missing = shown - weights @ asked[frames]
        square = weights.transpose(1, 2) @ weights + PULL * torch.eye(N_LANDMARKS)
        result = asked.clone()
        result[frames] += torch.linalg.solve(square, weights.transpose(1, 2) @ missing)
        return result


def _exaggerated(further: Tensor) -> Tensor:
    """What landmarks are asked to move beyond the known face, [T, 68, 3], so that as much is seen."""
    result = further.clone()
    brows = further[:, BROWS]
    distance = brows.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    frown = (BROW_REACH / distance).clamp(1.0, BROW_GAIN)
    rise = 1.0 + (RAISE_GAIN - 1.0) / (1.0 + (distance / RAISE_REACH) ** 3)
    result[:, BROWS] *= frown + (rise - frown) * (brows[..., 1:2] / RAISE_EASE).clamp(0.0, 1.0)
    for points, share in (([48, 54], 1.0), ([49, 53, 55, 59, 60, 64], 0.5)):
        down = (-further[:, points, 1]).clamp(min=0.0)
        fall = (down / RAISE_EASE).clamp(max=1.0) / (1.0 + (down / DROP_REACH) ** 4)
        result[:, points] *= 1 + share * (CORNER_GAIN - 1)
        result[:, points, 1] += share * (DROP_GAIN - CORNER_GAIN) * fall * further[:, points, 1]
    return result


@dataclass(frozen=True)
class _Controls:
    """The control points of a face.

    blend: [P, 68]. points: [P, 3] canonical. scale: [P, 3] one over squared radii. rest: of the config.
    """

    blend: FloatArray
    points: FloatArray
    scale: FloatArray
    rest: float

    @classmethod
    def of(cls, neutral_cano: FloatArray, config: WarpConfig) -> _Controls:
        blend, lip = control_points()
        across = np.where(lip > 0, config.sigma_lips, config.sigma_face)
        radius = np.stack([across, across, np.full_like(across, config.sigma_depth)], -1)
        points = blend @ np.asarray(neutral_cano, np.float32)
        return cls(blend, points, (1.0 / radius**2).astype(np.float32), config.rest)

    def weights(self, places: FloatArray) -> FloatArray:
        """Weight of every landmark at canonical places [N, 3], [N, 68]."""
        # |place - point|^2 in units of each point's radius, as products.
        distance = (places**2) @ self.scale.T - 2.0 * places @ (self.scale * self.points).T
        distance += (self.scale * self.points**2).sum(1)
        weights = np.exp(-0.5 * np.maximum(distance, 0.0))
        # All lid points of an eye move alike: half their weight leaves the brows their say.
        weights[:, EYES] *= 0.5
        weights /= weights.sum(1, keepdims=True) + self.rest
        return np.asarray(weights @ self.blend, np.float32)


def _nodes(box: HeadBox, grid: int) -> FloatArray:
    """Canonical places of the grid's nodes, [G^3, 3]."""
    axis = np.linspace(-box.half_size, box.half_size, grid, dtype=np.float32)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.stack([x, y, z], -1).reshape(-1, 3) + np.asarray(box.center, np.float32)
