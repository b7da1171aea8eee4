"""I3D and SyncNet against the same nets written again from plain layers, random weights and statistics.

Both were also compared once, by hand, with the packages cd-fvd 0.1.1 (its I3D, batch norm's epsilon set back
to the original's 1e-3) and syncnet-python 0.2.3: 4e-7 and 1.3e-6 of the largest value off.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from emogene.evaluate.nets.i3d import I3d
from emogene.evaluate.nets.syncnet import SyncNet
from emogene.io.tensors import save_arrays


def randomised(net: nn.Module, path: Path) -> Path:
    """Give every tensor of the net its own random values, and save them under its names."""
    generator = torch.Generator().manual_seed(1)
    state = {name: value for name, value in net.state_dict().items() if value.is_floating_point()}
    for name, value in state.items():
        if name.endswith("running_var") or (value.dim() == 1 and name.endswith("weight")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        else:
            spread = 0.1 if value.dim() == 1 else (2 / value[0].numel()) ** 0.5
            value.copy_(spread * torch.randn(value.shape, generator=generator))
    save_arrays(path, {name: value.numpy() for name, value in state.items()})
    return path


class Unit(nn.Module):
    """Convolution with TensorFlow's SAME padding for stride 1, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv3d(x)))


class InceptionBlock(nn.Module):
    def __init__(self, inputs: int, a: int, b: int, c: int, d: int, e: int, f: int) -> None:
        super().__init__()
        self.b0, self.b1a, self.b1b = Unit(inputs, a, 1), Unit(inputs, b, 1), Unit(b, c, 3)
        self.b2a, self.b2b, self.b3b = Unit(inputs, d, 1), Unit(d, e, 3), Unit(inputs, f, 1)
        self.b3a = nn.MaxPool3d(3, stride=1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        parts = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(parts, 1)


def test_i3ds_block_and_strided_stem(tmp_path: Path) -> None:
    net = nn.ModuleDict(
        {"Mixed_3b": InceptionBlock(12, 4, 6, 8, 3, 5, 7), "Conv3d_1a_7x7": Unit(3, 6, 7)}
    ).eval()
    ours = I3d(randomised(net, tmp_path / "rgb_imagenet.safetensors"))
    # After a ReLU there are no negative values, so zeros and minus infinity pad a pool alike.
    x = torch.rand(2, 12, 4, 9, 7, generator=torch.Generator().manual_seed(0))
    clip = torch.rand(1, 3, 6, 20, 20, generator=torch.Generator().manual_seed(2))
    stem = net["Conv3d_1a_7x7"]
    with torch.inference_mode():
        torch.testing.assert_close(ours._mixed(x, "Mixed_3b"), net["Mixed_3b"](x), rtol=1e-4, atol=1e-5)
        # SAME at stride 2 and an even size pads 2 before and 3 behind.
        padded = nn.functional.pad(clip, (2, 3) * 3)
        want = torch.relu(stem.bn(nn.functional.conv3d(padded, stem.conv3d.weight, stride=2)))
        got = ours._unit(clip, "Conv3d_1a_7x7", (2, 2, 2))
    assert got.shape[2:] == (3, 10, 10)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def lips() -> nn.Sequential:
    """netcnnlip as published (Chung and Zisserman 2016), layer by layer."""
    return nn.Sequential(
        nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2)), nn.BatchNorm3d(96), nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        nn.Conv3d(256, 256, (1, 3, 3), 1, (0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
        nn.Conv3d(256, 256, (1, 3, 3), 1, (0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
        nn.Conv3d(256, 256, (1, 3, 3), 1, (0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        nn.Conv3d(256, 512, (1, 6, 6)), nn.BatchNorm3d(512), nn.ReLU(),
    )  # fmt: skip


def sound() -> nn.Sequential:
    """netcnnaud."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(1, 1),
        nn.Conv2d(64, 192, 3, padding=1), nn.BatchNorm2d(192), nn.ReLU(), nn.MaxPool2d(3, (1, 2)),
        nn.Conv2d(192, 384, 3, padding=1), nn.BatchNorm2d(384), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 512, (5, 4)), nn.BatchNorm2d(512), nn.ReLU(),
    )  # fmt: skip


def head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


@pytest.fixture(scope="module")
def syncnet() -> nn.ModuleDict:
    parts = {"netcnnlip": lips(), "netcnnaud": sound(), "netfclip": head(), "netfcaud": head()}
    return nn.ModuleDict(parts).eval()


def test_syncnet_is_its_layers(syncnet: nn.ModuleDict, tmp_path: Path) -> None:
    ours = SyncNet(randomised(syncnet, tmp_path / "syncnet_v2.safetensors"))
    crops = 255 * torch.rand(1, 3, 5, 224, 224, generator=torch.Generator().manual_seed(0))
    coefficients = 8 * torch.randn(2, 1, 13, 20, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        for got, cnn, fc, x in (
            (ours.lips(crops), "netcnnlip", "netfclip", crops),
            (ours.sound(coefficients), "netcnnaud", "netfcaud", coefficients),
        ):
            want = syncnet[fc](syncnet[cnn](x).flatten(1))
            assert got.shape == want.shape and float((got - want).abs().max() / want.abs().max()) < 1e-5
