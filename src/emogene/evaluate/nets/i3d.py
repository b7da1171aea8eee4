"""The Inception I3D of FVD (Carreira and Zisserman 2017), as pytorch-i3d ports it: with its real weights.

clips [B, 3, T, 224, 224] in 0..1 -> Kinetics logits [B, 400], the features that FVD (Unterthiner et al.
2018) compares. Padding is TensorFlow's SAME throughout.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.evaluate.nets.weights import Folded, pad_same, read_weights

EMBEDDING = 400
INPUT_PX = 224
CLIP_FRAMES = 16
Triple = tuple[int, int, int]


class I3d:
    """Logits of short clips."""

    def __init__(self, path: Path) -> None:
        self._weights = Folded(read_weights(path), path)

    def embed(self, clips: Tensor) -> Tensor:
        """[B, 400], the mean over time where a clip is longer than one window."""
        x = self._unit(clips * 2 - 1, "Conv3d_1a_7x7", (2, 2, 2))
        x = _pool(x, (1, 3, 3), (1, 2, 2))
        x = self._unit(self._unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
        x = _pool(x, (1, 3, 3), (1, 2, 2))
        x = self._mixed(self._mixed(x, "Mixed_3b"), "Mixed_3c")
        x = _pool(x, (3, 3, 3), (2, 2, 2))
        for letter in "bcdef":
            x = self._mixed(x, f"Mixed_4{letter}")
        x = _pool(x, (2, 2, 2), (2, 2, 2))
        x = self._mixed(self._mixed(x, "Mixed_5b"), "Mixed_5c")
        x = F.avg_pool3d(x, (2, 7, 7), 1)
        x = F.conv3d(x, self._weights["logits.conv3d.weight"], self._weights["logits.conv3d.bias"])
        return x.mean((2, 3, 4))

    def _unit(self, x: Tensor, name: str, stride: Triple = (1, 1, 1)) -> Tensor:
        kernel, bias = self._weights.pair(f"{name}.conv3d", f"{name}.bn")
        size = tuple(int(side) for side in kernel.shape[2:])
        return F.relu(F.conv3d(pad_same(x, size, stride), kernel, bias, stride))

    def _mixed(self, x: Tensor, name: str) -> Tensor:
        branches = [
            self._unit(x, f"{name}.b0"),
            self._unit(self._unit(x, f"{name}.b1a"), f"{name}.b1b"),
            self._unit(self._unit(x, f"{name}.b2a"), f"{name}.b2b"),
            self._unit(_pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.b3b"),
        ]
        return torch.cat(branches, 1)


def _pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    return F.max_pool3d(pad_same(x, kernel, stride), kernel, stride)
