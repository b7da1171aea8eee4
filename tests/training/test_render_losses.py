"""Losses of patches on pictures, and on a network, whose values are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.render.losses import unlikeness
from emogene.training.render_losses import _Perceptual


class Halves:
    """Maps that are the picture itself at half and quarter size."""

    def maps(self, image: Tensor, last_stride: int = 32) -> list[Tensor]:
        assert last_stride == 8
        return [F.avg_pool2d(image, 2), F.avg_pool2d(image, 4)]


def test_distance_is_zero_for_equals_grows_with_noise_and_has_a_gradient() -> None:
    distance = _Perceptual(Halves())  # type: ignore[arg-type]
    target = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert distance(target, target).item() == 0.0
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    near, far = (distance(target + k * noise, target).item() for k in (0.05, 0.2))
    assert 0 < near < far
    predicted = (target + 0.1 * noise).requires_grad_(True)
    distance(predicted, target).backward()
    assert predicted.grad is not None and predicted.grad.abs().sum() > 0


def test_unlikeness_is_of_structure() -> None:
    torch.manual_seed(0)
    target, everywhere = torch.rand(2, 3, 24, 24), torch.ones(2, 1, 24, 24)
    assert float(unlikeness(target, target, everywhere)) == pytest.approx(0.0, abs=1e-5)
    blurred = F.avg_pool2d(F.pad(target, (1, 1, 1, 1), mode="replicate"), 3, 1)
    lighter = 0.9 * target + 0.05
    assert float(unlikeness(blurred, target, everywhere)) > 5 * float(unlikeness(lighter, target, everywhere))
    left = everywhere.clone()
    left[..., 12:] = 0
    halves = torch.cat([target[..., :12], blurred[..., 12:]], -1)
    assert float(unlikeness(halves, target, left)) < 0.5 * float(unlikeness(halves, target, everywhere))
