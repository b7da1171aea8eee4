"""Where the head is: the box that the field fills, and the part of it that the masks leave possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay, cKDTree
from torch import Tensor

from emogene.geometry.landmarks import JAW, MOUTH
from emogene.io.clip import MASK_HEAD
from emogene.render.rays import HeadBox
from emogene.render.torso import MARGIN, TorsoConfig
from emogene.training.render_frames import Frames, project
from emogene.types import FloatArray

FRONT = 0.8
"""Canonical z of the box's front face: well before the nose tip."""
SHELL = (1.0, 0.4)
"""How far behind and before the head's smooth front density may lie: hair of a turned head, nose, chin."""
SIDE = -0.8
"""The front's deepest place: hair behind the temples."""
SKIN = (0.15, 0.06)
"""How far behind and before the face itself density may lie. Fields settle at the front of what they may
fill: with .4 of air before the face the eyes lay .3 before the lids, right from the front, but whatever was
laid on them slid by 2.4 px as the head nodded (1.4 px with .06, jaw and brows .4 for 1.5)."""
CAVITY = (0.35, 0.12)
"""The same about the mouth: teeth and tongue, and lips that are pushed forward."""
LEEWAY = 5.0
"""Growth of these with the distance beyond the landmarks, and towards the jaw line within ``RIM`` of it:
there the skin is steep, hair hangs before it, and what lies behind it shows on turned heads."""
RIM = 0.12
BULGE = 0.28
"""How far cheeks stand before the straight line from jaw to nose, of its depth (two tracked meshes: .28)."""
PLANE = -0.45
"""Depth at which the silhouette is taken to lie: about the ears and temples."""


def fit_box(frames: Frames, n_probe: int = 40) -> HeadBox:
    """Cube around the head's silhouette in ``n_probe`` training frames."""
    corners = []
    for frame in _spread(frames.n_train, n_probe):
        rows, columns = np.nonzero(frames.labels[frame] == MASK_HEAD)
        if len(rows) == 0:
            continue
        x = np.quantile(columns, (0.002, 0.998))
        y = np.quantile(rows, (0.002, 0.998))
        pixels = np.array([(a, b) for a in x for b in y], np.float32)
        corners.append(_on_plane(frames, int(frame), pixels))
    if not corners:
        return HeadBox()
    points = np.concatenate(corners)
    low, high = np.quantile(points, 0.01, axis=0), np.quantile(points, 0.99, axis=0)
    half = float(np.clip(0.56 * max(high - low), 1.0, 4.0))
    center = (low + high) / 2
    return HeadBox((float(center[0]), float(center[1]), FRONT - half), half)


def torso_top(frames: Frames, margin: float = 0.03) -> float:
    """Share of the picture's height above which no training mask shows torso."""
    rows = np.flatnonzero((frames.low_cover[: frames.n_train, :, :, 1] > 64).any((0, 2)))
    if len(rows) == 0:
        return 1.0
    return float(np.clip(rows[0] / frames.low_cover.shape[1] - margin, 0.0, 1.0))


def torso_config(config: TorsoConfig, frames: Frames, margin: float = 0.1) -> TorsoConfig:
    """The torso's sizes, its detail without the rows above the shoulders (and a margin for their motion)."""
    top = (2.0 * torso_top(frames) - 1.0 - margin) / MARGIN
    rows = int(np.clip((top + 1.0) / 2.0, 0.0, 0.9) * config.detail)
    return replace(config, detail_top=rows // 2 * 2)


def _on_plane(frames: Frames, frame: int, pixels: FloatArray) -> FloatArray:
    """Where rays through pixels [P, 2] meet the plane z = PLANE of head space, [P, 2]."""
    camera, pose = frames.camera, frames.pose[frame]
    offsets = (pixels - (camera.cx_px, camera.cy_px)) / camera.focal_px
    direction = np.concatenate([offsets, np.ones((len(pixels), 1))], 1) @ pose[:3, :3]
    origin = -pose[:3, :3].T @ pose[:3, 3]
    distance = (PLANE - origin[2]) / direction[:, 2]
    return np.asarray((origin + distance[:, None] * direction)[:, :2], np.float32)


def visual_hull(frames: Frames, box: HeadBox, resolution: int, n_probe: int = 48) -> Tensor:
    """Cells [G, G, G] (z, y, x) of the box that no training mask rules out.

    A cell stays when it projects into the widened head mask in nearly all probed frames: the face warps
    (mouth, brows), masks err, so a few frames may disagree.
    """
    axis = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = box.to_cano(np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32))
    size = frames.labels.shape[1]
    low = frames.low_cover.shape[1]
    seen = np.zeros(len(points), np.int32)
    probes = _spread(frames.n_train, n_probe)
    for frame in probes:
        cover = torch.from_numpy(frames.low_cover[frame, :, :, 0].astype(np.float32))
        reach = max(1, low // 20)
        wide = F.max_pool2d(cover[None, None], 2 * reach + 1, 1, reach)[0, 0].numpy() > 8
        pixel = project(points, frames.pose[frame], frames.camera) * (low / size)
        inside = np.all((pixel >= 0) & (pixel < low), axis=1)
        column, row = np.clip(pixel, 0, low - 1).astype(np.int64).T
        # What leaves the picture is unknown, not empty.
        seen += ~inside | wide[row, column]
    face = frames.landmarks[: frames.n_train].mean(0)
    kept = (seen >= 0.85 * len(probes)) & _shell(points, face) & _at_skin(points, face)
    return torch.from_numpy(kept.reshape(resolution, resolution, resolution))


def _shell(points: FloatArray, face: FloatArray) -> NDArray[np.bool_]:
    """Which points [P, 3] lie within SHELL of a smooth front surface through the landmarks [68, 3].

    Pictures only ever show the front: rays need not search the air before the face or the back of the head.
    """
    smooth = np.delete(face, range(27, 36), axis=0)
    x, y, z = smooth.T
    terms = np.stack([np.ones_like(x), y, x**2, y**2], 1)
    fitted = np.linalg.lstsq(terms, z, rcond=None)[0]
    px, py, pz = points.T
    front = np.stack([np.ones_like(px), py, px**2, py**2], 1) @ fitted
    # Beyond the jaw and the brow the parabola falls faster than heads do.
    front = np.clip(front, SIDE, None)
    return np.asarray((pz > front - SHELL[0]) & (pz < front + SHELL[1]), bool)


def _at_skin(points: FloatArray, face: FloatArray) -> NDArray[np.bool_]:
    """Which points [P, 3] lie near the skin that a thin plate through landmarks [68, 3] makes, or beside it.

    The plate is within -.15 and .1 of tracked meshes.
    """
    known = np.concatenate([face, _cheeks(face)])
    columns, back = np.unique(points[:, :2], axis=0, return_inverse=True)
    skin = RBFInterpolator(known[:, :2], known[:, 2], kernel="thin_plate_spline", smoothing=1e-2)(columns)
    flat = face[:, :2]
    inside = Delaunay(flat).find_simplex(columns) >= 0
    rim = cKDTree(_along(flat[JAW])).query(columns)[0]
    beyond = np.where(inside, np.clip(RIM - rim, 0.0, None), RIM + cKDTree(flat).query(columns)[0])
    lips = flat[MOUTH]
    away = (columns - lips.mean(0)) / np.maximum(np.ptp(lips, axis=0), 1e-3)
    near = np.where((np.abs(away).max(1) < 0.7)[:, None], CAVITY, SKIN) + LEEWAY * beyond[:, None]
    behind, before = near[back.ravel()].T
    height = points[:, 2] - skin[back.ravel()]
    return np.asarray((height > -behind) & (height < before), bool)


def _along(line: FloatArray, parts: int = 8) -> FloatArray:
    """Points on a polygon [P, 2], with those between."""
    share = np.linspace(0, 1, parts, endpoint=False)[:, None, None]
    return np.asarray((line[:-1] * (1 - share) + line[1:] * share).reshape(-1, 2), np.float32)


def _cheeks(face: FloatArray) -> FloatArray:
    """Points [8, 3] where no landmark is: half-way from the jaw to the wings of the nose."""
    wings = face[[31] * 4 + [35] * 4]
    jaw = face[[1, 2, 3, 4, 15, 14, 13, 12]]
    middle = (wings + jaw) / 2
    middle[:, 2] += BULGE * (wings - jaw)[:, 2]
    return np.asarray(middle, np.float32)


def _spread(count: int, n: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(n, count)).round().astype(int))


def largest_piece(cells: Tensor) -> Tensor:
    """The largest connected part of cells [O, O, O], bool: specks that float beside a head are not the head.

    A clip of 24 s left a cloud of 1372 cells above the hair, seen as dark specks when the head moved.
    """
    from scipy.ndimage import label

    pieces, count = label(cells.numpy())
    if count < 2:
        return cells
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return torch.from_numpy(pieces == sizes.argmax())
