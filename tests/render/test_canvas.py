"""Painted pictures against plain arithmetic, natively and in torch, in every layout."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emogene.render.canvas import CLEAR, Canvas, finish, paint, to_planes
from emogene.render.convolve import Decoded


def make_decoded(low: int, cells: list[int] | None = None) -> Decoded:
    generator = torch.Generator().manual_seed(2)
    pixels = 1.4 * torch.rand(low + 3, low + 2, 96, generator=generator) - 0.2
    pixels[1, 1] = float("nan")
    return Decoded(pixels, low, low, None if cells is None else torch.tensor(cells, dtype=torch.int32))


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)


def plain_rgb(decoded: Decoded, background: np.ndarray) -> np.ndarray:
    planes = decoded.planes()[:4].numpy()
    alpha = np.clip((planes[3] - CLEAR) / (1 - 2 * CLEAR), 0, 1)
    colour = np.clip(np.minimum(planes[:3], alpha), 0, None)
    mixed = colour * 255 + (1 - alpha) * background.transpose(2, 0, 1)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)


@pytest.mark.parametrize("kind", ["rgb", "rgba", "planes"])
@pytest.mark.parametrize("cells", [None, [1, 2], []])
def test_paint_equals_finish(isa, kind, cells):
    decoded = make_decoded(7, cells)
    canvas = Canvas.of(28, None if kind == "rgba" else noise(28), planes=kind == "planes")
    assert canvas.kind == kind
    before = canvas.empty.copy()
    painted = paint(decoded, canvas).astype(int)
    assert np.array_equal(canvas.empty, before)
    planes = decoded.planes()[:4].nan_to_num(0.0)
    expected = finish(planes, canvas).astype(int)
    different = np.abs(painted - expected)
    if kind == "planes":
        different[:4, :4] = 0  # what is not a number is clear, but for its chroma's neighbours
        assert different[:28].max() <= 1 and np.median(different) == 0
        assert (different > 1).mean() < 0.02
    else:
        assert different[4:].max() <= 1 and different[:4, 4:].max() <= 1
    if cells == []:
        assert np.array_equal(painted, canvas.empty)


def test_finish_equals_plain_arithmetic():
    decoded, background = make_decoded(6), noise(24)
    decoded.pixels.nan_to_num_(0.0)
    picture = finish(decoded.planes()[:4], Canvas.of(24, background))
    assert np.abs(picture.astype(int) - plain_rgb(decoded, background)).max() <= 1
    small = finish(decoded.planes()[:4], Canvas.of(12, background[::2, ::2]))
    assert small.shape == (12, 12, 3)


def test_place_moves_the_picture(isa):
    decoded = make_decoded(3)
    decoded.pixels.nan_to_num_(0.0)
    canvas = Canvas.of(28, noise(28))
    picture = paint(decoded, canvas, (2, 1))
    inside = (slice(8, 20), slice(4, 16))
    assert np.abs(picture[inside].astype(int) - plain_rgb(decoded, canvas.background[inside])).max() <= 1
    outside = np.ones((28, 28), bool)
    outside[inside] = False
    assert np.array_equal(picture[outside], canvas.background[outside])


def test_planes_of_known_colours():
    grey = to_planes(np.full((4, 4, 3), 255, np.uint8))
    assert (grey[:4] == 235).all() and (grey[4:] == 128).all()
    red = to_planes(np.tile(np.array([255, 0, 0], np.uint8), (4, 4, 1)))
    assert red[0, 0] == 63 and red[5, 0] == 240 and red[4, 0] == 102


def test_half_the_size_is_the_mean_of_two_by_two_pixels():
    torch.manual_seed(0)
    for cells in (None, torch.tensor([0, 2])):
        decoded = Decoded(torch.rand(7, 11, 64), 5, 9, cells)
        whole = F.avg_pool2d(decoded.planes()[None], 2)[0]
        assert torch.allclose(decoded.halved(), whole, atol=1e-6)
