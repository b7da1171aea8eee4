"""Losses of the renderer on high-resolution patches [B, 3, H, W]: colour, edges, texture, perception.

A mean of absolute errors rewards blur where the video is unpredictable (skin, hair, teeth); the other
terms ask for the right amount of detail instead of the right phase of it.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EDGE_FLOOR = 0.02
"""Contrast below which texture counts as flat, of 1."""


def charbonnier(predicted: Tensor, target: Tensor, weight: Tensor, epsilon: float = 0.01) -> Tensor:
    """Mean of the smooth absolute error under ``weight`` (broadcast over channels)."""
    error = torch.sqrt((predicted - target) ** 2 + epsilon**2) - epsilon
    return (error * weight).mean()


def gradients(predicted: Tensor, target: Tensor, weight: Tensor, levels: int = 3) -> Tensor:
    """Absolute error of differences between neighbours, over halved sizes."""
    total = predicted.new_zeros(())
    for level in range(levels):
        error = predicted - target
        across = (error[..., 1:] - error[..., :-1]).abs() * weight[..., 1:]
        down = (error[..., 1:, :] - error[..., :-1, :]).abs() * weight[..., 1:, :]
        total = total + across.mean() + down.mean()
        if level + 1 < levels:
            predicted, target, weight = (F.avg_pool2d(x, 2) for x in (predicted, target, weight))
    return total / levels


def unlikeness(shown: Tensor, target: Tensor, weight: Tensor, window: int = 7) -> Tensor:
    """One minus structural similarity (Wang et al. 2004), mean over windows.

    Windows are squares of equal weights: a Gaussian of one channel takes four times as long to go back.

    Args:
        shown, target: [B, C, H, W] in 0..1.
        weight: [B, 1, H, W] of the places.
        window: edge, pixels.
    """
    products = torch.cat([shown, target, shown**2, target**2, shown * target], 1)
    means = F.avg_pool2d(products, window, 1).chunk(5, 1)
    ours, theirs, own, other, both = means
    spread, theirs_spread, common = own - ours**2, other - theirs**2, both - ours * theirs
    light = (2 * ours * theirs + 1e-4) / (ours**2 + theirs**2 + 1e-4)
    form = (2 * common + 9e-4) / (spread + theirs_spread + 9e-4)
    near = F.avg_pool2d(weight, window, 1)
    return ((1 - light * form) * near).mean() / near.mean().clamp(min=1e-6)


def texture(predicted: Tensor, target: Tensor, weight: Tensor, window: int = 8) -> Tensor:
    """Difference of log local detail: how much fine structure there is, whatever its phase."""

    def energy(image: Tensor) -> Tensor:
        grey = image.mean(1, keepdim=True)
        detail = grey - F.avg_pool2d(grey, 3, 1, 1, count_include_pad=False)
        return torch.log(torch.sqrt(F.avg_pool2d(detail**2, window, window // 2) + 1e-8) + EDGE_FLOOR)

    share = F.avg_pool2d(weight, window, window // 2)
    return ((energy(predicted) - energy(target)).abs() * share).mean()


def alpha_error(predicted: Tensor, target: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Binary cross entropy of coverage in 0..1, safe at the ends."""
    predicted = predicted.float().clamp(1e-4, 1 - 1e-4)
    entropy = -(target * torch.log(predicted) + (1 - target) * torch.log(1 - predicted))
    return (entropy * weight).mean()


class PatchCritic(nn.Module):
    """Discriminator of 46-pixel neighbourhoods (Isola et al. 2017): patch [B, 3, H, W] -> scores."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 2 * width, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 4, 2, 1) for inputs, outputs in itertools.pairwise(widths)
        )

    def forward(self, patch: Tensor, *, frozen: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Scores of neighbourhoods, and the features on the way for feature matching.

        ``frozen``: gradients reach the patch but not the critic (the generator's side of the game).
        """
        hidden, features = patch * 2 - 1, []
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            weight, bias = layer.weight, layer.bias
            if frozen:
                weight, bias = weight.detach(), bias.detach()
            hidden = F.conv2d(hidden, weight, bias, 2, 1)
            if number + 1 < len(self.layers):
                hidden = F.leaky_relu(hidden, 0.2)
                features.append(hidden)
        return hidden, features


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the critic on its scores."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
