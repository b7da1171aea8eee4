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


class Perceptual(nn.Module):
    """Distance of feature maps of a classifier's first stages (EfficientNet-Lite0, stride 2 to 8)."""

    mean = (0.498, 0.498, 0.498)
    deviation = 0.502

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """Take the classifier's tensors, named as in its published checkpoint (``assets``)."""
        super().__init__()
        self.stages = _efficientnet_stages(weights)
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        self.eval()

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Mean absolute difference of features, each in units of its own spread."""
        with torch.no_grad():
            wanted = self.features(target)
        total = predicted.new_zeros(())
        for have, want in zip(self.features(predicted), wanted, strict=True):
            spread = want.float().std((0, 2, 3), keepdim=True) + 1e-3
            total = total + ((have - want).float().abs() / spread).mean()
        return total / len(wanted)

    def features(self, image: Tensor) -> list[Tensor]:
        """Feature maps at stride 2, 4 and 8."""
        hidden = (image - 0.498) / self.deviation
        maps = []
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        return maps


class _Bottleneck(nn.Module):
    """Inverted residual of EfficientNet-Lite: expand, depthwise, project; batch norms folded in."""

    def __init__(self, weights: dict[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        has_expand = f"{name}._expand_conv.weight" in weights
        self.expand = _folded(weights, f"{name}._expand_conv", f"{name}._bn0") if has_expand else None
        self.depthwise = _folded(
            weights, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, depthwise=True
        )
        self.project = _folded(weights, f"{name}._project_conv", f"{name}._bn2")
        self.skip = stride == 1 and self.project.out_channels == (
            self.expand.in_channels if self.expand is not None else self.depthwise.in_channels
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu6(self.expand(x)) if self.expand is not None else x
        hidden = self.project(F.relu6(self.depthwise(hidden)))
        result: Tensor = x + hidden if self.skip else hidden
        return result


def _folded(
    weights: dict[str, Tensor], conv: str, norm: str, *, stride: int = 1, depthwise: bool = False
) -> nn.Conv2d:
    """A convolution with its batch norm (eps 1e-3) multiplied in."""
    kernel = weights[f"{conv}.weight"].float()
    scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + 1e-3)
    outputs, size = kernel.shape[0], kernel.shape[-1]
    inputs = outputs if depthwise else kernel.shape[1]
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=outputs if depthwise else 1)
    with torch.no_grad():
        layer.weight.copy_(kernel * scale[:, None, None, None])
        assert layer.bias is not None
        layer.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)
    return layer


def _efficientnet_stages(weights: dict[str, Tensor]) -> nn.ModuleList:
    """Stem and the first five blocks, cut where the stride doubles."""
    stem = nn.Sequential(_folded(weights, "_conv_stem", "_bn0", stride=2), nn.ReLU6())
    blocks = [
        _Bottleneck(weights, f"_blocks.{index}", stride) for index, stride in enumerate((1, 2, 1, 2, 1))
    ]
    return nn.ModuleList(
        [nn.Sequential(stem, blocks[0]), nn.Sequential(*blocks[1:3]), nn.Sequential(*blocks[3:5])]
    )
