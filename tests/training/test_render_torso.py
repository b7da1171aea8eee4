"""Shoulders tracked in pictures whose motion is known."""

import numpy as np
import torch
import torch.nn.functional as F

from emogene.training.render_torso import track_shoulders

SIZE = 64


def moved_torsos(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [N, S, S, 3] and torso masks of one textured torso seen through maps [N, 6]."""
    generator = torch.Generator().manual_seed(0)
    texture = F.interpolate(torch.rand(1, 1, 14, 14, generator=generator), (SIZE, SIZE), mode="bicubic")
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 30:, 8:56] = 1
    pictures, covers = [], []
    for map_ in torch.from_numpy(maps).float():
        affine = torch.cat([torch.eye(2) + map_[:4].view(2, 2), map_[4:, None]], 1)[None]
        grid = F.affine_grid(affine, [1, 1, SIZE, SIZE], align_corners=False)
        cover = F.grid_sample(mask, grid, align_corners=False)[0, 0]
        seen = F.grid_sample(texture, grid, padding_mode="border", align_corners=False)[0, 0]
        picture = torch.where(cover > 0.5, seen.clamp(0, 1), torch.full_like(seen, 0.9))
        pictures.append((picture * 255).byte().numpy()[..., None].repeat(3, 2))
        covers.append((cover * 255).byte().numpy())
    return np.stack(pictures), np.stack(covers)


def test_known_motion_is_found() -> None:
    steps = np.linspace(0, 2 * np.pi, 40)
    maps = np.zeros((40, 6), np.float32)
    maps[:, 4], maps[:, 5] = 0.12 * np.sin(steps), 0.05 * np.cos(2 * steps)
    maps[:, 1], maps[:, 2] = 0.05 * np.sin(steps), -0.05 * np.sin(steps)
    found = track_shoulders(*moved_torsos(maps), first=0)
    # Maps are relative to a template of their own: compare their changes.
    error = (found - found.mean(0)) - (maps - maps.mean(0))
    assert np.abs(error[:, 4:]).max() < 0.015  # half a pixel of 64
    assert np.corrcoef(found[:, 1], maps[:, 1])[0, 1] > 0.95


def test_a_picture_without_torso_stays_still() -> None:
    pictures = np.zeros((5, SIZE, SIZE, 3), np.uint8)
    assert not track_shoulders(pictures, np.zeros((5, SIZE, SIZE), np.uint8), first=2).any()
