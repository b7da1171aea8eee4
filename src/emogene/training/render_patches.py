"""What the renderer is trained on: scattered rays for the field, square patches for the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from emogene.geometry.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE
from emogene.training.render_composites import Composites
from emogene.training.render_frames import Frames, block_mean
from emogene.types import FloatArray

Cells = NDArray[np.int64]

SCALE = 4
"""Picture pixels per standard low-resolution pixel."""


@dataclass(frozen=True)
class Rays:
    """P rays of each of B frames.

    frames: [B]. pixels: [B, P, 2] px. rgb, plate: [B P, 3] the frame and the background alone.
    cover: [B P] share of the pixel that is head. torso: [B P] whether it shows torso.
    """

    frames: Tensor
    pixels: FloatArray
    rgb: Tensor
    plate: Tensor
    cover: Tensor
    torso: Tensor


class RaySampler:
    """Low-resolution pixels in and around the head, mouth and eyes more often."""

    def __init__(self, frames: Frames, n_rays: int, n_frames: int) -> None:
        self._frames, self._n_frames = frames, n_frames
        self._per_frame = n_rays // n_frames
        self._plate = block_mean(frames.background, frames.low_rgb.shape[1])
        self._near: dict[int, NDArray[np.uint8]] = {}

    def draw(self, rng: np.random.Generator) -> Rays:
        """A batch of rays of random training frames."""
        chosen = self._frames.draw(rng, self._n_frames)
        cells = np.stack([self._cells(int(frame), rng) for frame in chosen])
        column, row = cells[..., 0], cells[..., 1]
        picked = np.broadcast_to(chosen[:, None], row.shape)
        rgb = self._frames.low_rgb[picked, row, column].reshape(-1, 3)
        cover = self._frames.low_cover[picked, row, column].reshape(-1, 2)
        plate = self._plate[row, column].reshape(-1, 3)
        return Rays(
            frames=torch.from_numpy(chosen),
            pixels=(cells * SCALE + SCALE / 2).astype(np.float32),
            rgb=torch.from_numpy(rgb).float() / 255,
            plate=torch.from_numpy(plate).float() / 255,
            cover=torch.from_numpy(cover[:, 0]).float() / 255,
            torso=torch.from_numpy(cover[:, 1] > 0),
        )

    def _cells(self, frame: int, rng: np.random.Generator) -> Cells:
        """Low-resolution cells [P, 2] (x, y) of one frame."""
        low = self._frames.low_cover.shape[1]
        near = self._near_head(frame)
        n_mouth, n_eyes = int(0.2 * self._per_frame), int(0.12 * self._per_frame)
        n_head = self._per_frame - n_mouth - n_eyes
        flat = near[rng.integers(0, len(near), n_head)] if len(near) else rng.integers(0, low * low, n_head)
        head = np.stack([flat % low, flat // low], -1)
        points = np.asarray(self._frames.project(frame) / SCALE, np.float32)
        mouth = _around(points[MOUTH], n_mouth, 1.5, rng)
        eye = points[LEFT_EYE if rng.random() < 0.5 else RIGHT_EYE]
        cells = np.concatenate([head, mouth, _around(eye, n_eyes, 1.8, rng)])
        return np.asarray(np.clip(cells, 0, low - 1), np.int64)

    def _near_head(self, frame: int) -> Cells:
        """Flat indices of the cells in and within three of the head; searched once, kept as bits."""
        if frame not in self._near:
            cover = torch.from_numpy(self._frames.low_cover[frame, :, :, 0] > 0)[None, None].float()
            wide = F.max_pool2d(F.max_pool2d(cover, (7, 1), 1, (3, 0)), (1, 7), 1, (0, 3))
            self._near[frame] = np.packbits(wide.numpy().ravel() > 0)
        return np.flatnonzero(np.unpackbits(self._near[frame]))


def _around(points: FloatArray, count: int, factor: float, rng: np.random.Generator) -> Cells:
    """Random places [count, 2] in a box around points, ``factor`` times as wide as they are."""
    width = float(points[:, 0].max() - points[:, 0].min()) * factor
    offset = (rng.random((count, 2)) - 0.5) * (width, 0.8 * width)
    return np.asarray(np.floor(points.mean(0) + offset), np.int64)


@dataclass(frozen=True)
class Patch:
    """B patches of e x e low-resolution pixels.

    frames: [B]. composite: [B, 18, e, e] of field and torso. place: [B, 4, e, e] on the textures of head and
    torso. rgb, plate: [B, 3, 4e, 4e] the frame and the background alone. cover: [B, 1, 4e, 4e] the person's
    soft mask. person: [B, 1, 4e, 4e] 1 in and near the person. draft: whether the low pixels are the draft's.
    """

    frames: Tensor
    composite: Tensor
    place: Tensor
    rgb: Tensor
    plate: Tensor
    cover: Tensor
    person: Tensor
    draft: bool


class PatchSampler:
    """Random patches, centred on mouth, eyes, head or torso by given shares."""

    def __init__(
        self,
        frames: Frames,
        composites: Composites,
        edge: int,
        count: int,
        focus: tuple[float, float, float, float],
    ) -> None:
        self._frames, self._composites = frames, composites
        self._edge, self._count = min(edge, composites.grid.width), count
        self._focus = np.array(focus) / sum(focus)
        chances = frames.chances[composites.frames]
        self._chances = chances / chances.sum()

    def draw(self, rng: np.random.Generator) -> Patch:
        """A batch."""
        size = self._frames.rgb.shape[1]
        block = size // self._composites.grid.width
        span, half = block * self._edge, block // SCALE
        rows = rng.choice(len(self._chances), self._count, p=self._chances)
        chosen = self._composites.frames[rows]
        cells = np.stack([self._corner(int(frame), span, size, rng) // block for frame in chosen])
        composite, place = self._composites.cut(rows, cells, self._edge)
        corners = cells * block
        places = list(zip(chosen.tolist(), corners, strict=True))
        rgb = _stack([_cut(self._frames.rgb[frame], corner, span) for frame, corner in places])
        labels = _stack([_cut(self._frames.labels[frame], corner, span) for frame, corner in places])
        plate = _stack([_cut(self._frames.background, corner, span) for corner in corners])
        person = (labels > 0)[:, None].float()
        rgb, plate = (image.permute(0, 3, 1, 2).float() / 255 for image in (rgb, plate))
        soft = F.avg_pool2d(F.pad(person, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return Patch(
            frames=torch.from_numpy(chosen),
            composite=composite,
            place=place,
            rgb=F.avg_pool2d(rgb, half),
            plate=F.avg_pool2d(plate, half),
            cover=F.avg_pool2d(soft, half),
            person=_near(person, half),
            draft=half > 1,
        )

    def _corner(self, frame: int, span: int, size: int, rng: np.random.Generator) -> Cells:
        """Upper left pixel (x, y) of a patch."""
        kind = int(rng.choice(4, p=self._focus))
        points = self._frames.project(frame)
        if kind == 0:
            center = points[MOUTH].mean(0) + rng.normal(0, 0.12 * span, 2)
        elif kind == 1:
            eye = points[LEFT_EYE if rng.random() < 0.5 else RIGHT_EYE].mean(0)
            center = eye + rng.normal(0, 0.12 * span, 2)
        else:
            cover = self._frames.low_cover[frame, :, :, kind - 2]
            cells = np.flatnonzero(cover.ravel() > 0)
            low = cover.shape[0]
            cell = int(cells[rng.integers(len(cells))]) if len(cells) else int(rng.integers(low * low))
            center = np.array([cell % low, cell // low]) * SCALE + rng.normal(0, 0.15 * span, 2)
        return np.asarray(np.clip(np.round(center - span / 2), 0, size - span), np.int64)


def _near(person: Tensor, half: int) -> Tensor:
    """1 in and within about ten pixels of the person, at 1/half of the size; found on blocks, for speed."""
    block = 4 * half
    wide = F.max_pool2d(F.max_pool2d(person, block), 5, 1, 2)
    return F.interpolate(wide, scale_factor=4, mode="nearest")


def _stack(images: list[Any]) -> Tensor:
    return torch.from_numpy(np.stack(images))


def _cut(image: Any, corner: Cells, span: int) -> Any:
    x, y = int(corner[0]), int(corner[1])
    return np.array(image[y : y + span, x : x + span])
