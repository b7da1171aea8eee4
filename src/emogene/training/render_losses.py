"""What a decoded patch is judged by: colour and edges at half size, fine structure by its amount."""

from __future__ import annotations

import logging

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.errors import AssetError
from emogene.evaluate.nets.efficientnet import EfficientNetLite0
from emogene.render.losses import (
    PatchCritic,
    charbonnier,
    critic_loss,
    gradients,
    texture,
    unlikeness,
)
from emogene.training.render_patches import Patch
from emogene.training.render_recipe import RenderRecipe

log = logging.getLogger(__name__)


class PatchLosses:
    """The losses of the decoder, weighted by a recipe."""

    def __init__(self, recipe: RenderRecipe, critic: PatchCritic) -> None:
        self.recipe, self.critic = recipe, critic
        self.perceptual = _perceptual() if recipe.perceptual_weight > 0 else None

    def picture(
        self, decoded: Tensor, patch: Patch, index: int, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Losses on the decoded patch, away from its border where the decoder saw no neighbours."""
        recipe = self.recipe
        inner = slice(8, -8)
        decoded = decoded[..., inner, inner]
        target, plate = patch.rgb[..., inner, inner], patch.plate[..., inner, inner]
        cover, person = patch.cover[..., inner, inner], patch.person[..., inner, inner]
        alpha = decoded[:, 3:]
        shown = decoded[:, :3] + (1 - alpha) * plate
        # Far from the person the plate itself is wanted: the real background may differ from it.
        target = torch.where(person > 0, target, plate)
        losses = {
            # At half the size: finer structure than that lies a pixel off now and then (landmarks, pose and
            # depth are good to about .7 px), and an error that counts it makes all of it blur.
            "colour": charbonnier(_halved(shown), _halved(target), 0.3 + 0.7 * _halved(person)),
            "edges": recipe.edge_weight * gradients(_halved(shown), _halved(target), _halved(person)),
            "alpha": 0.2 * ((alpha - cover) ** 2).mean(),
            "structure": recipe.structure_weight
            * unlikeness(_halved(shown), _halved(target), _halved(person)),
        }
        # Strided networks see a fixed grid of pixels; at a random offset the decoder cannot play to it
        # with a screen-door pattern.
        shown, target = _shifted(shown, target, rng)
        if self.perceptual is not None and index % recipe.perceptual_every == 0:
            weight = recipe.perceptual_weight * recipe.perceptual_every
            losses["perceptual"] = weight * self.perceptual(shown, target)
        if index >= recipe.critic_start * recipe.decoder_steps:
            losses |= self._adversarial(shown, target)
        return losses

    def texture(self, decoded: Tensor, patch: Patch) -> Tensor:
        """How far the amount of fine structure inside the person is from the frame's, unweighted."""
        inner = slice(8, -8)
        decoded, cover = decoded[..., inner, inner], patch.cover[..., inner, inner]
        shown = decoded[:, :3] + (1 - decoded[:, 3:]) * patch.plate[..., inner, inner]
        return texture(shown, patch.rgb[..., inner, inner], (cover > 0.99).float())

    def _adversarial(self, shown: Tensor, target: Tensor) -> dict[str, Tensor]:
        critic = self.critic
        real, real_maps = critic(target)
        fake, _ = critic(shown.detach())
        fooled, maps = critic(shown, frozen=True)
        matched = sum(
            (F.l1_loss(a, b.detach()) for a, b in zip(maps, real_maps, strict=True)), torch.zeros(())
        )
        weight = self.recipe.critic_weight
        return {
            "critic": critic_loss(real, fake),
            "fool": weight * -fooled.mean(),
            "match": weight * matched,
        }


def _halved(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2)


def _shifted(shown: Tensor, target: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Both patches [B, 3, H, W] without their first 0..7 rows and columns and as many of the last."""
    y, x = (int(offset) for offset in rng.integers(0, 8, 2))
    height, width = shown.shape[2] - 8, shown.shape[3] - 8
    place = (..., slice(y, y + height), slice(x, x + width))
    return shown[place], target[place]


class _Perceptual:
    """Distance of feature maps of a classifier's first stages, each in units of its own spread."""

    def __init__(self, net: EfficientNetLite0) -> None:
        self._net = net

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._net.maps(target, last_stride=8)
        total = predicted.new_zeros(())
        for have, want in zip(self._net.maps(predicted, last_stride=8), wanted, strict=True):
            spread = want.std((0, 2, 3), keepdim=True) + 1e-3
            total = total + ((have - want).abs() / spread).mean()
        return total / len(wanted)


def _perceptual() -> _Perceptual | None:
    """The perceptual distance, or None where its weights cannot be had."""
    try:
        return _Perceptual(EfficientNetLite0())
    except AssetError as error:
        log.warning("training without the perceptual loss: %s", error)
        return None
