"""EfficientNet-Lite0 (Tan and Le 2019, ImageNet): the eyes of our perceptual and Frechet distances.

image [B, 3, H, W] in 0..1 -> feature maps at stride 2, 4, 8, 16, 32, the last one [B, 320, H/32, W/32].
A substitute for the AlexNet of LPIPS and the Inception of FID, whose weights no package registry holds.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from emogene.assets import fetch
from emogene.evaluate.nets.weights import Folded, pad_same, read_weights

BLOCKS = (
    (3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1),
)  # fmt: skip
"""Kernel, stride of the first block and number of blocks of the seven stages."""
MEAN, DEVIATION = 0.498, 0.502
EMBEDDING = 320
INPUT_PX = 224


class EfficientNetLite0:
    """The trunk without its classifier."""

    def __init__(self) -> None:
        path = fetch("efficientnet-lite0")
        self._weights = Folded(read_weights(path), path)

    def maps(self, image: Tensor, last_stride: int = 32) -> list[Tensor]:
        """Feature maps where the stride doubles, up to ``last_stride``."""
        x = F.relu6(self._conv((image - MEAN) / DEVIATION, "_conv_stem", "_bn0", 2))
        found: list[Tensor] = []
        index, at = 0, 2
        for kernel, first, count in BLOCKS:
            for number in range(count):
                step = first if number == 0 else 1
                if step == 2:
                    found.append(x)
                    if at == last_stride:
                        return found
                    at *= 2
                x = self._block(x, f"_blocks.{index}", kernel, step)
                index += 1
        return [*found, x]

    def embed(self, image: Tensor) -> Tensor:
        """[B, 320] mean of the last block's map."""
        return self.maps(image)[-1].mean((2, 3))

    def _block(self, x: Tensor, name: str, kernel: int, stride: int) -> Tensor:
        h = x
        if f"{name}._expand_conv.weight" in self._weights:
            h = F.relu6(self._conv(h, f"{name}._expand_conv", f"{name}._bn0"))
        h = F.relu6(self._conv(h, f"{name}._depthwise_conv", f"{name}._bn1", stride, groups=h.shape[1]))
        h = self._conv(h, f"{name}._project_conv", f"{name}._bn2")
        return x + h if h.shape == x.shape else h

    def _conv(self, x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel, bias = self._weights.pair(conv, norm)
        size = (int(kernel.shape[2]), int(kernel.shape[3]))
        return F.conv2d(pad_same(x, size, (stride, stride)), kernel, bias, stride, groups=groups)
