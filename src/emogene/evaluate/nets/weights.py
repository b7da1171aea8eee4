"""Weights of published metric networks: where they are found, how they are read, batch norms folded in.

The real nets of LPIPS, FID, FVD and LSE are in no package registry, so they are used where the user has
put them: a folder with the files under the names their authors gave them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.errors import FormatError, UserError
from emogene.io.tensors import load_arrays
from emogene.io.torch_legacy import read_torch_tensors

SUFFIXES = (".safetensors", ".pth", ".pt", ".model")
PUBLISHED = {
    "lpips": ("alexnet", "torchvision's alexnet-owt-7be5be79.pth"),
    "fid": ("pt_inception", "pytorch-fid's pt_inception-2015-12-05-6726825d.pth"),
    "fvd": ("rgb_imagenet", "pytorch-i3d's rgb_imagenet.pt"),
    "lse": ("syncnet", "syncnet_python's syncnet_v2.model"),
}
"""Metric -> (how the file's name begins, what it is)."""


@dataclass(frozen=True)
class MetricWeights:
    """A folder of published weights; None where none are configured."""

    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.folder is not None and not self.folder.is_dir():
            raise UserError(f"--weights {self.folder} is not a folder; give the one that holds the weights")

    def find(self, metric: str) -> Path | None:
        """The file of that metric, None where it is not there."""
        if self.folder is None:
            return None
        begin = PUBLISHED[metric][0]
        files = [path for path in sorted(self.folder.iterdir()) if path.name.startswith(begin)]
        return next((path for path in files if path.suffix in SUFFIXES), None)

    @staticmethod
    def missing(metric: str) -> str:
        """What to do to get that metric."""
        return f"needs its real weights: put {PUBLISHED[metric][1]} into a folder and give it as --weights"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors or torch file."""
    arrays = load_arrays(path) if path.suffix == ".safetensors" else read_torch_tensors(path)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Folded:
    """Convolutions by name with their batch norms multiplied in; each is folded once."""

    def __init__(self, weights: Mapping[str, Tensor], path: Path | str, eps: float = 1e-3) -> None:
        self._weights, self._path, self._eps = weights, path, eps
        self._folded: dict[str, tuple[Tensor, Tensor]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._weights:
            raise FormatError(f"{self._path} holds no {name}: these are the weights of another network")
        return self._weights[name].float()

    def pair(self, conv: str, norm: str) -> tuple[Tensor, Tensor]:
        """Kernel and bias of the convolution ``conv`` followed by the batch norm ``norm``."""
        if conv not in self._folded:
            scale = self[f"{norm}.weight"] / torch.sqrt(self[f"{norm}.running_var"] + self._eps)
            kernel = self[f"{conv}.weight"]
            bias = self._weights.get(f"{conv}.bias", torch.zeros(len(kernel)))
            bias = self[f"{norm}.bias"] + (bias - self[f"{norm}.running_mean"]) * scale
            self._folded[conv] = (kernel * scale.view(-1, *[1] * (kernel.dim() - 1)), bias)
        return self._folded[conv]


def pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zero-pad [B, C, ...] so that the output is ceil(size / stride); the odd pixel goes behind."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - s if size % s == 0 else k - size % s, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)
