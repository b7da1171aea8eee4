"""Whole frames by the kernels against the same frames in torch, in every quality and layout."""

import numpy as np
import pytest
import torch

from emogene.render.canvas import Canvas
from emogene.render.code import windows
from emogene.render.decoder import DecoderConfig
from emogene.render.field import FieldConfig
from emogene.render.inference import Drawer, Look, PixelGrid, looks
from emogene.render.model import PortraitConfig, PortraitModel
from emogene.render.torso import TorsoConfig
from emogene.render.warp import WarpConfig
from emogene.types import Camera
from tests.render.toy_clip import toy_motion, toy_neutral

SIZE = 64


def make_model(head: FieldConfig | None = None) -> PortraitModel:
    """A portrait of the sizes that the kernels take."""
    torch.manual_seed(0)
    config = PortraitConfig(
        camera=Camera(1.7 * SIZE, SIZE / 2, SIZE / 2, SIZE, SIZE),
        low=SIZE // 4,
        head=head or FieldConfig(log2_table=8, finest=32, occupancy=16),
        warp=WarpConfig(grid=8),
        torso=TorsoConfig(plane=24, detail=60, detail_top=20),
        decoder=DecoderConfig(width=16, depth=1, torso=True),
    )
    model = PortraitModel(config, toy_neutral())
    offsets, eyes, poses = toy_motion(9)
    shoulders = 0.05 * np.random.default_rng(1).standard_normal((9, 6)).astype(np.float32)
    model.fit(offsets, eyes, poses, shoulders, torso_top=0.4)
    with torch.no_grad():
        model.detail.texture.copy_(0.1 * torch.randn_like(model.detail.texture).bfloat16().float())
        model.torso.detail.copy_(0.1 * torch.randn_like(model.torso.detail).bfloat16().float())
        model.head.table.copy_((100 * model.head.table).bfloat16().float())
        model.head.layer3.bias[0] = 3.0
        model.torso.leave.bias[16] = -1.0
    return model.eval()


def make_looks(model: PortraitModel, count: int) -> list[Look]:
    offsets, eyes, poses = toy_motion(count)
    with torch.inference_mode():
        return looks(model, windows(torch.from_numpy(offsets)), torch.from_numpy(eyes), poses)


@pytest.mark.parametrize("kind", ["rgb", "rgba", "planes"])
@pytest.mark.parametrize(
    "quality, size", [("standard", SIZE), ("draft", SIZE), ("high", 32), ("standard", 48)]
)
def test_frames_equal_torch(isa, monkeypatch, quality, size, kind):
    model = make_model()
    background = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    canvas = Canvas.of(size, None if kind == "rgba" else background, planes=kind == "planes")
    grid, look = PixelGrid.of(model, quality, size), make_looks(model, 3)[2]
    picture = Drawer(model, grid, canvas).draw(look)
    monkeypatch.setenv("EMOGENE_ISA", "torch")
    expected = Drawer(model, grid, canvas).draw(look)
    assert picture.shape == expected.shape and picture.dtype == np.uint8
    difference = np.abs(picture.astype(int) - expected)
    assert (expected != canvas.empty).mean() > 0.1
    # A sample on the border of an occupied cell may fall to either side.
    assert np.quantile(difference, 0.99) <= 2


def test_drawing_again_gives_the_same_bytes(isa):
    model = make_model()
    frames = make_looks(model, 4)
    canvas = Canvas.of(SIZE, np.full((SIZE, SIZE, 3), 90, np.uint8))
    grid = PixelGrid.of(model, "standard", SIZE)
    drawer, other = Drawer(model, grid, canvas), Drawer(model, grid, canvas)
    first = [drawer.draw(look) for look in frames]
    again = [other.draw(look) for look in frames[::-1]]
    assert all(np.array_equal(a, b) for a, b in zip(first[::-1], again, strict=True))


def test_a_head_that_only_torch_takes_goes_with_the_kernels(isa):
    model = make_model(FieldConfig(levels=2, log2_table=8, base=4, finest=8, hidden=16))
    canvas = Canvas.of(SIZE, np.full((SIZE, SIZE, 3), 90, np.uint8))
    picture = Drawer(model, PixelGrid.of(model, "standard", SIZE), canvas).draw(make_looks(model, 1)[0])
    assert (picture != 90).any()
