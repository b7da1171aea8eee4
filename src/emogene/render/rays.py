"""Rays of a pinhole camera in unit-cube coordinates: the frame in which the head field lives.

The head field fills an axis-aligned cube of canonical head space: ``center`` [3] and ``half_size`` map a
canonical point p to u = (p - center) / (2 half_size) + 0.5. Directions keep unit length, so distances
along a ray are in cube lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emogene.types import Camera, FloatArray


@dataclass(frozen=True, slots=True)
class HeadBox:
    """Axis-aligned cube of canonical head space (types.py: unit = outer-eye distance)."""

    center: tuple[float, float, float] = (0.0, -0.25, -0.55)
    half_size: float = 1.6

    def to_cube(self, points: FloatArray) -> FloatArray:
        """Canonical points [..., 3] -> unit-cube coordinates."""
        unit = (points - np.asarray(self.center)) / (2 * self.half_size) + 0.5
        return np.asarray(unit, dtype=np.float32)

    def to_cano(self, points: FloatArray) -> FloatArray:
        """Unit-cube coordinates [..., 3] -> canonical points."""
        cano = (points - 0.5) * (2 * self.half_size) + np.asarray(self.center)
        return np.asarray(cano, dtype=np.float32)


def camera_origin(camera_from_head: FloatArray, box: HeadBox) -> Tensor:
    """Camera centre [3] in unit-cube coordinates for one pose [4, 4]."""
    rotation, translation = camera_from_head[:3, :3], camera_from_head[:3, 3]
    return torch.from_numpy(box.to_cube(-rotation.T @ translation))


def pixel_directions(camera: Camera, camera_from_head: FloatArray, pixels_px: FloatArray) -> Tensor:
    """Unit directions [M, 3] in head space through image positions [M, 2] (x right, y down)."""
    offsets = (pixels_px - np.array([camera.cx_px, camera.cy_px])) / camera.focal_px
    in_camera = np.concatenate([offsets, np.ones_like(offsets[:, :1])], axis=1)
    directions = in_camera @ camera_from_head[:3, :3]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return torch.from_numpy(directions.astype(np.float32))


def image_rays(camera: Camera, camera_from_head: FloatArray, box: HeadBox) -> tuple[Tensor, Tensor]:
    """Origin [3] and directions [H, W, 3] through every pixel centre of ``camera``."""
    v, u = np.meshgrid(np.arange(camera.height_px), np.arange(camera.width_px), indexing="ij")
    pixels = np.stack([u, v], axis=-1).reshape(-1, 2) + 0.5
    directions = pixel_directions(camera, camera_from_head, pixels)
    return camera_origin(camera_from_head, box), directions.reshape(camera.height_px, camera.width_px, 3)
