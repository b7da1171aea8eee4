"""LPIPS (Zhang et al., CVPR 2018), AlexNet v0.1: real, where torchvision's AlexNet weights are configured.

Pairs of images [B, 3, H, W] in 0..1 -> [B] distances; 0 is equal. RAD-NeRF and ER-NeRF report this one.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.assets import fetch
from emogene.evaluate.nets.weights import Folded, read_weights

LAYERS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""torchvision's number, stride and padding of AlexNet's convolutions."""
SHIFT = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
SCALE = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)


class Lpips:
    """The metric with its five linear heads."""

    def __init__(self, alexnet: Path, heads: Path | None = None) -> None:
        self._net = Folded(read_weights(alexnet), alexnet)
        path = fetch("lpips-heads") if heads is None else heads
        self._heads = Folded(read_weights(path), path)

    def __call__(self, image: Tensor, reference: Tensor) -> Tensor:
        """[B] distances of image from reference."""
        total = image.new_zeros(len(image))
        for number, (a, b) in enumerate(zip(self._maps(image), self._maps(reference), strict=True)):
            head = self._heads[f"lin{number}.model.1.weight"]
            total = total + F.conv2d((_unit(a) - _unit(b)) ** 2, head).mean((1, 2, 3))
        return total

    def _maps(self, image: Tensor) -> list[Tensor]:
        x, maps = (image * 2 - 1 - SHIFT) / SCALE, []
        for layer, stride, padding in LAYERS:
            if layer in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            kernel, bias = self._net[f"features.{layer}.weight"], self._net[f"features.{layer}.bias"]
            x = F.relu(F.conv2d(x, kernel, bias, stride, padding))
            maps.append(x)
        return maps


def _unit(x: Tensor) -> Tensor:
    return x / (torch.sqrt((x**2).sum(1, keepdim=True)) + 1e-10)
