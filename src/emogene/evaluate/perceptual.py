"""PD-EffLite0: distance of two pictures as EfficientNet-Lite0 sees them. It is NOT LPIPS.

Built as LPIPS is (Zhang et al. 2018: unit-length feature vectors, squared difference, mean over places)
on another net and without its human-calibrated weights: the sum over stride 2, 4 and 8. 0 is equal.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emogene.evaluate.nets.efficientnet import EfficientNetLite0
from emogene.types import ByteArray

LAST_STRIDE = 8


def perceptual_distance(net: EfficientNetLite0, image: ByteArray, reference: ByteArray) -> float:
    """Distance of uint8 pictures [H, W, 3] of one size."""
    with torch.inference_mode():
        maps = net.maps(as_tensor([image, reference]), LAST_STRIDE)
        return float(sum(((unit[0] - unit[1]) ** 2).sum(0).mean() for unit in map(_unit, maps)))


def as_tensor(pictures: list[ByteArray]) -> Tensor:
    """uint8 pictures [H, W, 3] of one size as [B, 3, H, W] in 0..1."""
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stack.float().div(255).contiguous(memory_format=torch.channels_last)


def _unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / (length + 1e-10)
