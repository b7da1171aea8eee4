"""What the torso starts from: learned alone on small pictures, its detail taken from the large ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from emogene.io.clip import MASK_TORSO
from emogene.render.inference import Look, PixelGrid
from emogene.render.losses import alpha_error
from emogene.render.model import PortraitModel
from emogene.render.torso import picture_grid
from emogene.training.render_frames import Frames, block_mean
from emogene.training.render_start import LaidOut, laid_out, mean_missed, pictures_of

TORSO_FRAMES = 4
"""Whole small pictures per step."""


def learn_torso(model: PortraitModel, frames: Frames, codes: Tensor, steps: int) -> float:
    """Train the torso alone on whole small pictures; the head covers what it covers.

    Args:
        model: the torso is changed.
        frames: training frames.
        codes: [N, 32] frame codes, no gradient.
        steps: optimizer steps.

    Returns:
        Mean squared colour error of the last steps.
    """
    low = frames.low_rgb.shape[1]
    xy = picture_grid(low, low)
    plate = pictures_of(block_mean(frames.background, low)[None])
    networks = [p for n, p in model.torso.named_parameters() if n not in ("plane", "detail")]
    optimizer = torch.optim.Adam(
        [{"params": [model.torso.plane], "lr": 2e-2}, {"params": networks, "lr": 4e-3}], betas=(0.9, 0.99)
    )
    rng = np.random.default_rng(0)
    poses, shoulders = torch.from_numpy(frames.pose), torch.from_numpy(frames.shoulders)
    recent: list[float] = []
    for _ in range(steps):
        for group in optimizer.param_groups:
            group["lr"] *= 0.05 ** (1 / steps)
        chosen = rng.integers(0, frames.n_train, TORSO_FRAMES)
        rgb = pictures_of(frames.low_rgb[chosen])
        cover = torch.from_numpy(frames.low_cover[chosen]).permute(0, 3, 1, 2).float() / 255
        features = model.pose_features(poses[chosen])
        channels, alpha, _ = model.torso(features, codes[chosen], shoulders[chosen], xy)
        known = (cover[:, :1] < 0.02).float()
        shown = alpha * channels[:, :3] + (1 - alpha) * plate
        # Far from the torso the plate itself is wanted: the real background may differ from it.
        target = torch.where(cover[:, 1:] > 0, rgb, plate)
        colour = ((shown - target) ** 2 * known).mean()
        loss = colour + 0.01 * alpha_error(alpha, cover[:, 1:], known)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        recent = [*recent[-19:], colour.item()]
    return float(np.mean(recent))


@torch.no_grad()
def start_torso(model: PortraitModel, frames: Frames, look: Callable[[int], Look], most: int = 64) -> None:
    """Lay out what interpolation misses of the torso: a plain mean, then, sharper, of pictures moved onto it.

    Args:
        model: the torso is finished but for its detail, which is changed.
        frames: training frames.
        look: of a frame.
        most: frames that are used.
    """
    grid, config = PixelGrid.of(model, "standard", frames.rgb.shape[1]), model.torso.config
    chosen = np.linspace(0, frames.n_train - 1, min(most, frames.n_train)).round().astype(int).tolist()

    def lay_out(frame: int) -> LaidOut:
        composite, places = grid.small(model, look(frame))
        return laid_out(frames, frame, composite[:, :3], places[:, 2:], composite[0, -1], MASK_TORSO)

    def shown(_: int, place: Tensor) -> Tensor:
        return model.torso.fine(place, 1)[0]

    for so_far in (None, shown):
        average = mean_missed(config.detail, chosen, lay_out, so_far)
        model.torso.detail.copy_(average.mean()[:, config.detail_top :])
