"""What is left of the detail when training is over: one layer, and of that what the video bears out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from emogene.render.decoder import SCALE
from emogene.render.detail import EYE_BOXES, enlarged, first_layer, shown_detail
from emogene.render.inference import Look, PixelGrid
from emogene.render.model import PortraitModel
from emogene.training.render_frames import Frames
from emogene.training.render_recipe import RenderRecipe
from emogene.training.render_start import DetailAverage, pictures_of
from emogene.types import FloatArray

FINE_PX = 1.2
"""Deviation of the blur beyond which structure is the detail's."""
NEAR = 6.0
"""Deviation of the neighbourhood on the texture that is weighed together, texels."""
WEIGHTS = (0.02, 1.0)
"""Least and most of a weight: what nothing bears out does not vanish quite."""
SOLID = 0.7
"""Opacity of the head from which a pixel is asked."""


def finish_detail(model: PortraitModel, recipe: RenderRecipe) -> None:
    """Leave the first layer of the head's detail, where there are more, with its last contrast."""
    if model.config.decoder.layers < 2:
        return
    model.detail = first_layer(model.detail, recipe.contrast)
    model.decoder.config = replace(model.decoder.config, layers=1)
    model.config = replace(model.config, decoder=model.decoder.config, detail=model.detail.config)


@torch.no_grad()
def weigh_detail(
    model: PortraitModel,
    frames: Frames,
    look: Callable[[int], Look],
    trust: float,
    mouth_trust: float = 0.5,
    *,
    most: int = 40,
) -> None:
    """Fade the head's detail where it does not lie on what the pictures show.

    Asked for the video's amount of fine structure, training fills hair and ears that it cannot predict with
    structure of its own. The share of the shown detail that the pictures contain is its regression on what
    they have beyond the coarse picture: .6 about eyes, .05 in hair.

    Args:
        model: one layer of detail, which is changed.
        frames: training frames.
        look: of a frame.
        trust: power of that share by which detail is multiplied; 0: nothing is changed.
        mouth_trust: share of it about the mouth: teeth are never where they were, but a mouth without any is
            a hole.
        most: frames that are asked.
    """
    if not trust or model.config.decoder.layers != 1:
        return
    detail, power = model.detail, torch.full(model.detail.texture.shape[2:], trust)
    for x, y, width, height in detail.config.boxes[EYE_BOXES:]:
        power[y : y + height, x : x + width] *= mouth_trust
    weights = torch.from_numpy(borne_out(model, frames, look, most)) ** power
    detail.texture.mul_(weights)
    for index, (x, y, width, height) in enumerate(detail.config.boxes):
        part = weights[y : y + height, x : x + width]
        own = [*detail.other[index : index + 1], *(detail.halfway[stage] for stage in detail.stages(index))]
        for picture in [*own, *detail.iris[index : index + 1]]:
            picture.mul_(part)


def borne_out(model: PortraitModel, frames: Frames, look: Callable[[int], Look], most: int) -> FloatArray:
    """Which share of the detail the pictures contain, over the texture [S, S]."""
    size, texels = frames.rgb.shape[1], model.detail.config.texels
    grid = PixelGrid.of(model, "standard", size)
    background = pictures_of(frames.background[None])[0]
    common, own = DetailAverage(texels), DetailAverage(texels)
    for frame in np.linspace(0, frames.n_train - 1, min(most, frames.n_train)).round().astype(int).tolist():
        seen = look(frame)
        composite, place = grid.small(model, seen)
        picture, gains = model.decoder(composite, seen.code)
        detail = model.fine(place, SCALE, seen.mix)
        large, shown = enlarged(picture, detail)[0], _fine(shown_detail(gains, detail)[0])
        coarse = large[:3] + (1 - large[3:]).clamp(0, 1) * background
        missed = _fine(pictures_of(frames.rgb[frame][None])[0] - coarse)
        where, solid = (
            F.interpolate(small, (size, size), mode="bilinear", align_corners=False)[0]
            for small in (place[:, :2], composite[:, -2:-1])
        )
        common.add(shown * missed, where, solid[0] > SOLID)
        own.add(shown * shown, where, solid[0] > SOLID)
    both, alone = (gaussian_filter(part.mean().mean(0).numpy(), NEAR) for part in (common, own))
    share = both / np.maximum(alone, 1e-3 * max(float(alone.max()), 1e-12))
    return np.asarray(np.clip(share, *WEIGHTS), np.float32)


def _fine(picture: Tensor) -> Tensor:
    """A picture [3, H, W] without what is coarse."""
    return picture - torch.from_numpy(gaussian_filter(picture.numpy(), (0, FINE_PX, FINE_PX)))
