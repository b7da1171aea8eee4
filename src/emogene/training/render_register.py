"""Head poses registered to pictures: what the tracked pose is off by, as a roughly trained field sees it.

A tracker finds a head within a third of a pixel, but its errors last for many frames (correlation .9 from
one to the next, .5 after eight), so no smoothing removes them, and a field that learns from such poses blurs
by them. The field itself knows better: its picture of the upper face, which expressions hardly move, is laid
on the real one by Gauss-Newton in the six numbers of the pose, the field's own depth giving the parallax. The
landmarks keep their place in the head: the tracker's mesh wobbles as a whole (landmarks kept on their pixels
instead: eyes .3 dB worse than before, not .5 better).

frames, a rough field -> camera_from_head [N, 4, 4]
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from emogene.render.detail import FAINT, surface_distance
from emogene.render.inference import Look, PixelGrid
from emogene.render.model import PortraitModel
from emogene.training.render_frames import Frames
from emogene.training.render_poses import changed
from emogene.types import FloatArray

ROUNDS = 2
"""Renderings per frame."""
SPREAD_RAD, SPREAD_PX, SPREAD_DEPTH = 0.005, 0.6, 0.01
"""How far the tracked pose may be off: turn, shift at 512 px, share of the distance (standard deviations)."""
SHARE = 0.1
"""Weight of a pixel: its neighbours say nearly the same."""
LIGHT_PX, GRAIN_PX = 6.0, 0.7
"""Low pixels; coarser differences are light, finer ones noise."""

Array = NDArray[np.float64]


def register_heads(
    model: PortraitModel,
    frames: Frames,
    look: Callable[[int], Look],
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Poses of all frames, moved onto the real pictures, [N, 4, 4].

    Args:
        model: its field is roughly trained, and its empty space known.
        frames: held-out ones are registered too, by a field that never saw them: six numbers each, as a
            tracker would find them.
        look: of a frame.
        progress: called with (frames done, frames in all).
    """
    grid = PixelGrid.of(model, "standard", frames.rgb.shape[1])

    def work(frame: int) -> Array:
        return _Head.of(model, frames, grid, look(frame), frame).registered()

    with ThreadPoolExecutor(
        torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        found = []
        for done, pose in enumerate(pool.map(work, range(len(frames)))):
            found.append(pose)
            if progress is not None:
                progress(done + 1, len(frames))
    return np.stack(found).astype(np.float32)


@dataclass
class _Head:
    """One frame's upper face: the real one, and how it looks from the pose."""

    model: PortraitModel
    grid: PixelGrid
    look: Look
    real: Array
    region: NDArray[np.bool_]

    @classmethod
    def of(cls, model: PortraitModel, frames: Frames, grid: PixelGrid, look: Look, frame: int) -> _Head:
        scale = grid.height / frames.rgb.shape[1]
        points = frames.project(frame) * scale
        middle = points[[36, 39, 42, 45]].mean(0)
        reach = 0.8 * np.linalg.norm(points[45] - points[36])
        y, x = np.mgrid[: grid.height, : grid.width] + 0.5
        # From the hair line to the nose's base: what lies below speaks.
        upper = (np.abs(x - middle[0]) < reach) & (y > middle[1] - reach) & (y < points[33, 1])
        inside = upper & (frames.low_cover[frame, ..., 0] == 255)
        return cls(model, grid, look, _structure(frames.low_rgb[frame].mean(-1) / 255.0), inside)

    def registered(self) -> Array:
        """The pose under which the field's picture lies best on the real one."""
        pose = self.look.camera_from_head.astype(np.float64)
        total = np.zeros(6)
        for _ in range(ROUNDS):
            step = self._step(pose, total)
            total += step
            pose = changed(pose[None], step[None])[0].astype(np.float64)
        return pose

    def _step(self, pose: Array, total: Array) -> Array:
        """One Gauss-Newton step [6] (turn about the head's origin, shift), ``total`` already taken."""
        picture, points, solid = self._seen(pose)
        chosen = self.region & solid
        if chosen.sum() < 20:
            return np.zeros(6)
        picture = _structure(np.where(solid, picture, picture[chosen].mean()))
        gradients: list[Array] = list(np.gradient(picture))
        by_row, by_column = (gradient[chosen] for gradient in gradients)
        x, y, z = points[chosen].T
        focal = self.grid.camera.focal_px
        right, down = by_column * focal / z, by_row * focal / z
        by_point = np.stack([right, down, -(right * x + down * y) / z], -1)
        # The picture moves with its points: I(p - J d), so what is missing is -grad I J d.
        jacobian = -np.concatenate([np.cross(points[chosen] - pose[:3, 3], by_point), by_point], 1)
        missing = (self.real - picture)[chosen]
        scale = max(1.4826 * float(np.median(np.abs(missing))), 1 / 255)
        weight = SHARE / scale**2 / (1 + (missing / (2 * scale)) ** 2)
        shift = SPREAD_PX * self.grid.width / 512 * z.mean() / focal
        belief = np.array([SPREAD_RAD] * 3 + [shift, shift, SPREAD_DEPTH * z.mean()]) ** -2.0
        system = jacobian.T @ (jacobian * weight[:, None]) + np.diag(belief)
        return np.asarray(np.linalg.solve(system, jacobian.T @ (missing * weight) - belief * total))

    @torch.inference_mode()
    def _seen(self, pose: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Brightness [h, w], points in camera space [h, w, 3] and where the head is solid [h, w]."""
        look = replace(self.look, camera_from_head=pose.astype(np.float32))
        rays = self.grid.rays(self.model, look)
        seen = self.grid.head(self.model, look, rays)
        length = surface_distance(*rays, seen.opacity, seen.depth) * (2 * self.model.config.box.half_size)
        points = self.grid.directions * length[..., None]
        brightness = seen.channels[..., :3].mean(-1) / seen.opacity.clamp(min=FAINT)
        return (
            brightness.numpy().astype(np.float64),
            points.numpy().astype(np.float64),
            (seen.opacity > 0.95).numpy(),
        )


def _structure(picture: FloatArray | Array) -> Array:
    """Without light and grain."""
    values = np.asarray(picture, np.float64)
    return np.asarray(gaussian_filter(values - gaussian_filter(values, LIGHT_PX), GRAIN_PX))
