"""The Inception-v3 of FID (Heusel et al. 2017), as pytorch-fid ports it: with its real weights.

image [B, 3, H, W] in 0..1 -> pool3 features [B, 2048]. It differs from the classifier of the same name:
average pools leave the padding out, and the last block pools by maximum.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.evaluate.nets.weights import Folded, read_weights

EMBEDDING = 2048
INPUT_PX = 299


class FidInception:
    """pool3 features."""

    def __init__(self, path: Path) -> None:
        self._weights = Folded(read_weights(path), path)

    def embed(self, image: Tensor) -> Tensor:
        """[B, 2048]; pictures are resized to 299 x 299 bilinearly, as pytorch-fid does."""
        x = F.interpolate(image, (INPUT_PX, INPUT_PX), mode="bilinear", align_corners=False) * 2 - 1
        x = self._conv(x, "Conv2d_1a_3x3", stride=2)
        x = self._conv(self._conv(x, "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=1)
        x = self._conv(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1")
        x = F.max_pool2d(self._conv(x, "Conv2d_4a_3x3"), 3, 2)
        for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self._block_a(x, name)
        x = self._block_b(x, "Mixed_6a")
        for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            x = self._block_c(x, name)
        x = self._block_d(x, "Mixed_7a")
        x = self._block_e(x, "Mixed_7b", _average(x))
        x = self._block_e(x, "Mixed_7c", F.max_pool2d(x, 3, 1, 1))
        return x.mean((2, 3))

    def _conv(self, x: Tensor, name: str, stride: int = 1, padding: int | tuple[int, int] = 0) -> Tensor:
        kernel, bias = self._weights.pair(f"{name}.conv", f"{name}.bn")
        return F.relu(F.conv2d(x, kernel, bias, stride, padding))

    def _block_a(self, x: Tensor, name: str) -> Tensor:
        five = self._conv(self._conv(x, f"{name}.branch5x5_1"), f"{name}.branch5x5_2", padding=2)
        three = self._conv(self._conv(x, f"{name}.branch3x3dbl_1"), f"{name}.branch3x3dbl_2", padding=1)
        three = self._conv(three, f"{name}.branch3x3dbl_3", padding=1)
        pool = self._conv(_average(x), f"{name}.branch_pool")
        return torch.cat([self._conv(x, f"{name}.branch1x1"), five, three, pool], 1)

    def _block_b(self, x: Tensor, name: str) -> Tensor:
        double = self._conv(self._conv(x, f"{name}.branch3x3dbl_1"), f"{name}.branch3x3dbl_2", padding=1)
        double = self._conv(double, f"{name}.branch3x3dbl_3", stride=2)
        return torch.cat([self._conv(x, f"{name}.branch3x3", stride=2), double, F.max_pool2d(x, 3, 2)], 1)

    def _block_c(self, x: Tensor, name: str) -> Tensor:
        across, down = (0, 3), (3, 0)
        seven = self._conv(x, f"{name}.branch7x7_1")
        seven = self._conv(seven, f"{name}.branch7x7_2", padding=across)
        seven = self._conv(seven, f"{name}.branch7x7_3", padding=down)
        double = self._conv(x, f"{name}.branch7x7dbl_1")
        for number, padding in ((2, down), (3, across), (4, down), (5, across)):
            double = self._conv(double, f"{name}.branch7x7dbl_{number}", padding=padding)
        pool = self._conv(_average(x), f"{name}.branch_pool")
        return torch.cat([self._conv(x, f"{name}.branch1x1"), seven, double, pool], 1)

    def _block_d(self, x: Tensor, name: str) -> Tensor:
        three = self._conv(self._conv(x, f"{name}.branch3x3_1"), f"{name}.branch3x3_2", stride=2)
        seven = self._conv(x, f"{name}.branch7x7x3_1")
        seven = self._conv(seven, f"{name}.branch7x7x3_2", padding=(0, 3))
        seven = self._conv(seven, f"{name}.branch7x7x3_3", padding=(3, 0))
        seven = self._conv(seven, f"{name}.branch7x7x3_4", stride=2)
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)

    def _block_e(self, x: Tensor, name: str, pooled: Tensor) -> Tensor:
        def split(h: Tensor, branch: str) -> list[Tensor]:
            return [
                self._conv(h, f"{name}.{branch}a", padding=(0, 1)),
                self._conv(h, f"{name}.{branch}b", padding=(1, 0)),
            ]

        three = split(self._conv(x, f"{name}.branch3x3_1"), "branch3x3_2")
        double = self._conv(self._conv(x, f"{name}.branch3x3dbl_1"), f"{name}.branch3x3dbl_2", padding=1)
        pool = self._conv(pooled, f"{name}.branch_pool")
        parts = [self._conv(x, f"{name}.branch1x1"), *three, *split(double, "branch3x3dbl_3"), pool]
        return torch.cat(parts, 1)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
