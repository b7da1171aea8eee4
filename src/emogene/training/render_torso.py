"""Where the shoulders are in every frame: small affine maps found by registration to one torso picture.

Shoulders are no function of the head: driven by head pose alone, a torso reaches 21 dB on unseen frames.
So they are tracked like the head is, by inverse-compositional Lucas-Kanade (Baker & Matthews 2004) on
the grey torso pixels, from coarse to fine, and the portrait learns how far they follow the head for use where
nobody tracks them.

low_rgb [N, s, s, 3], cover [N, s, s] -> shoulders [N, 6]: (dA row by row, t) with place = (I + dA) xy + t,
from picture coordinates in [-1, 1] to those of the torso's canonical picture.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from emogene.types import ByteArray, FloatArray

log = logging.getLogger(__name__)

SIZES = (1 / 4, 1 / 2, 1)
ROUNDS = (8, 6, 5)
"""Gauss-Newton steps at each share of the picture's size."""
PRIOR = (0.6, 0.6, 0.6, 0.6, 0.0, 0.0)
"""Weight per pixel against growing or shearing where few edges tell; translation is free."""
ROBUST = 0.08
"""Grey difference beyond which a pixel (a hand, the head's shadow) loses its say."""
BATCH = 32
STEADY_S = 0.04
"""Deviation of the smoothing over time, seconds."""
JUMP = 0.05
"""Picture halves between frames beyond which the video was cut."""


def track_shoulders(low_rgb: ByteArray, cover: ByteArray, first: int, fps: float = 25.0) -> FloatArray:
    """Register every frame's torso.

    Args:
        low_rgb: [N, s, s, 3] small pictures.
        cover: [N, s, s] share of each pixel that is torso, 0..255.
        first: number of the frame that the others are first compared with.
        fps: frames per second.

    Returns:
        [N, 6] affine maps; zeros where there is no torso.
    """
    grey = torch.from_numpy(low_rgb.mean(3, dtype=np.float32) / np.float32(255))[:, None]
    shown = torch.from_numpy(cover.astype(np.float32) / np.float32(255))[:, None]
    if float(shown[first].mean()) < 0.01:
        log.info("no torso to be seen: shoulders stay still")
        return np.zeros((len(low_rgb), 6), np.float32)
    template, weight = grey[first : first + 1], shown[first : first + 1]
    found = torch.zeros(len(low_rgb), 6)
    for _ in range(2):
        parts = torch.split(torch.arange(len(grey)), BATCH)
        found = torch.cat([_register(grey[part], shown[part], template, weight) for part in parts])
        # The mean of all aligned torsos: less noise, and no frame is special.
        template, weight = _mean(grey, shown, found)
    return _steady(found.numpy(), fps)


def _register(grey: Tensor, cover: Tensor, template: Tensor, weight: Tensor) -> Tensor:
    """Frames [B, 1, s, s] against one template: maps from frame to template [B, 6]."""
    to_frame = torch.eye(3).repeat(len(grey), 1, 1)
    for share_of_size, rounds in zip(SIZES, ROUNDS, strict=True):
        size = max(16, int(share_of_size * grey.shape[-1]))
        pictures, covers, wanted, share = (
            F.interpolate(image, (size, size), mode="area") for image in (grey, cover, template, weight)
        )
        steepest = _steepest(wanted)
        for _ in range(rounds):
            grid = F.affine_grid(to_frame[:, :2], list(pictures.shape), align_corners=False)
            seen = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
            there = F.grid_sample(covers, grid, align_corners=False)
            error = (seen - wanted)[:, 0].flatten(1)
            say = (share * there)[:, 0].flatten(1) / (1 + (error / ROBUST) ** 2)
            weighted = say[..., None] * steepest
            hessian = weighted.transpose(1, 2) @ steepest
            scale = say.sum(1)[:, None, None] + 1e-3
            prior = torch.diag(torch.tensor(PRIOR) + 1e-4) * scale * float((steepest**2).mean())
            step = torch.linalg.solve(hessian + prior, (weighted.transpose(1, 2) @ error[..., None]))[..., 0]
            to_frame = to_frame @ torch.linalg.inv(_matrix(step))
    inverse = torch.linalg.inv(to_frame)
    return torch.cat([(inverse[:, :2, :2] - torch.eye(2)).flatten(1), inverse[:, :2, 2]], 1)


def _steepest(template: Tensor) -> Tensor:
    """Change of the template with the six numbers of a map, [s s, 6]."""
    size = template.shape[-1]
    dy, dx = torch.gradient(template[0, 0])
    dx, dy = dx * size / 2, dy * size / 2
    place = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([dx * x, dx * y, dy * x, dy * y, dx, dy], -1).view(-1, 6)


def _matrix(maps: Tensor) -> Tensor:
    """[B, 6] -> [B, 3, 3]."""
    result = torch.eye(3).repeat(len(maps), 1, 1)
    result[:, :2, :2] += maps[:, :4].view(-1, 2, 2)
    result[:, :2, 2] += maps[:, 4:]
    return result


def _mean(grey: Tensor, cover: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the aligned torsos and the share of frames that show each place."""
    to_frame = torch.linalg.inv(_matrix(maps))
    total, shown = torch.zeros_like(grey[:1]), torch.zeros_like(cover[:1])
    for part in torch.split(torch.arange(len(grey)), BATCH):
        grid = F.affine_grid(to_frame[part, :2], list(grey[part].shape), align_corners=False)
        mask = F.grid_sample(cover[part], grid, align_corners=False)
        seen = F.grid_sample(grey[part], grid, padding_mode="border", align_corners=False)
        total += (seen * mask).sum(0, keepdim=True)
        shown += mask.sum(0, keepdim=True)
    return total / shown.clamp(min=1e-3), shown / len(grey)


def _steady(maps: FloatArray, fps: float) -> FloatArray:
    """Smooth over time, not across cuts."""
    moved = np.abs(np.diff(maps[:, 4:], axis=0)).max(1) > JUMP
    pieces = np.split(maps, np.flatnonzero(moved) + 1)
    smooth = [gaussian_filter1d(piece, STEADY_S * fps, axis=0, mode="nearest") for piece in pieces]
    return np.asarray(np.concatenate(smooth), np.float32)
