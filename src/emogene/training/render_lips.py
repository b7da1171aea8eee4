"""How far a trained portrait's lips open, as the face tracker sees it, and the gain that mends it."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from emogene.errors import UserError
from emogene.evaluate.landmarks import match_curves
from emogene.evaluate.render import lip_aperture
from emogene.geometry.landmarks import lip_opening
from emogene.render.portrait import Portrait
from emogene.training.render_frames import Frames
from emogene.training.render_preview import shown

log = logging.getLogger(__name__)

N_FRAMES = 60
TRUSTED_R = 0.6
"""Correlation below which the tracker follows something else than the lips."""


def fit_lip_gain(portrait: Portrait, frames: Frames, most: float) -> float:
    """Set ``portrait.model.lip_gain`` so that lips are seen to open as far as in the video.

    Args:
        portrait: its gain is changed.
        frames: what it was trained on.
        most: cap of the gain.

    Returns:
        The gain; 1 where no tracker is installed or it does not see the lips move.
    """
    model = portrait.model
    chosen = _varied(lip_opening(frames.landmarks[: frames.n_train]))
    real = [np.array(frames.rgb[frame]) for frame in chosen]
    gain = 1.0
    try:
        truth = lip_aperture(real)
        # The second look is at lips that already open farther: what is left is less.
        for _ in range(2):
            ours = lip_aperture(shown(portrait, frames, chosen))
            known = np.isfinite(ours) & np.isfinite(truth)
            if known.sum() < N_FRAMES // 3:
                break
            match = match_curves(ours[known], truth[known])
            log.info("lip opening: slope %.2f, r %.2f at gain %.2f", match.slope, match.r, gain)
            if match.r < TRUSTED_R:
                break
            gain = float(np.clip(gain / max(match.slope, 0.1), 1.0, most))
            with torch.no_grad():
                model.lip_gain.fill_(gain)
    except (ImportError, UserError) as error:
        log.warning("lips as trained: %s", error)
    return gain


def _varied(opening: NDArray[np.float32]) -> NDArray[np.int64]:
    """Frames from the most shut to the widest mouth, evenly by rank."""
    order = np.argsort(opening, kind="stable")
    places = np.linspace(0, len(order) - 1, min(N_FRAMES, len(order))).round().astype(int)
    return np.asarray(order[places], np.int64)
