"""What the decoder starts from: flow, and detail averaged over pictures."""

import numpy as np
import torch
import torch.nn.functional as F

from emogene.io.clip import MASK_HEAD
from emogene.render.detail import Detail, DetailConfig
from emogene.training.render_start import DetailAverage, flow, moved, solid_head, write_detail


def picture(size: int = 96) -> torch.Tensor:
    noise = torch.rand(1, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (size, size), mode="bicubic")[0].clamp(0, 1)


def test_flow_finds_a_shift_and_moving_undoes_it() -> None:
    ours = picture()
    shift = torch.zeros(2, 96, 96)
    shift[0], shift[1] = 1.2, -0.6
    real = moved(ours, -shift)
    found = flow(ours, real)
    middle = (slice(None), slice(20, -20), slice(20, -20))
    mean = found[middle].mean((1, 2))
    torch.testing.assert_close(mean, torch.tensor([1.2, -0.6]), atol=0.3, rtol=0)
    before = (real - ours)[middle].abs().mean()
    assert (moved(real, found) - ours)[middle].abs().mean() < 0.6 * before


def test_average_lays_out_what_is_missed() -> None:
    detail = Detail(DetailConfig(texels=48, layers=1))
    average = DetailAverage(detail)
    size = 96
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    place = torch.stack([(x + 0.5) * 2 / size - 1, (y + 0.5) * 2 / size - 1])
    missed = (x.float() / size - 0.5).expand(3, size, size)
    solid = y < size // 2
    average.add(missed, place, solid)
    write_detail(detail, average, [], [])
    texture = detail.texture.detach()[0]
    across = (torch.arange(48) + 0.5) / 48 - 0.5
    assert torch.allclose(texture[:, 5, 2:-2], across[2:-2].expand(3, -1), atol=0.02)
    assert float(texture[:, 30:].abs().max()) == 0.0


def test_outline_is_not_solid() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[16:48, 16:48] = MASK_HEAD
    solid = solid_head(labels, torch.ones(16, 16))
    assert solid[32, 32] and not solid[18, 32] and not solid[5, 5]
    assert not solid_head(labels, torch.zeros(16, 16)).any()
