"""Picture metrics against values known by construction and against degradations of known order."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emogene.evaluate.images import flicker, picture_maps, psnr, sharpness, squared_error, ssim


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 12, 12)))
    smooth = F.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 255)
    return smooth[0].permute(1, 2, 0).numpy().astype(np.uint8)


def blurred(image: np.ndarray, radius: int) -> np.ndarray:
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    size = 2 * radius + 1
    mean = F.avg_pool2d(F.pad(planes, [radius] * 4, mode="reflect"), size, 1)
    return mean[0].permute(1, 2, 0).round().byte().numpy()


def test_equal_pictures(picture: np.ndarray) -> None:
    assert psnr(picture, picture) == math.inf
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-5)


def test_psnr_of_a_known_error() -> None:
    dark = np.full((20, 20, 3), 100, np.uint8)
    assert psnr(dark, dark + 10) == pytest.approx(20 * math.log10(25.5), abs=1e-4)
    half = dark.copy()
    half[:, 10:] += 10
    assert psnr(half, dark, box=(0, 0, 10, 20)) == math.inf


def test_metrics_fall_as_the_picture_degrades(picture: np.ndarray) -> None:
    steps = [blurred(picture, radius) for radius in (1, 3, 6)]
    for metric in (psnr, ssim):
        values = [metric(step, picture) for step in steps]
        assert values[0] > values[1] > values[2]
    assert sharpness(picture) > sharpness(steps[0]) > sharpness(steps[2])


def test_ssim_matches_its_definition_on_one_window() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 256, (11, 11, 1), dtype=np.uint8) for _ in range(2))
    g = np.exp(-((np.arange(11) - 5.0) ** 2) / 4.5)
    window = np.outer(g, g) / g.sum() ** 2
    x, y = a[..., 0].astype(float), b[..., 0].astype(float)
    mx, my = (window * x).sum(), (window * y).sum()
    vx, vy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2
    cov = (window * x * y).sum() - mx * my
    c1, c2 = 2.55**2, 7.65**2
    want = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(a, b) == pytest.approx(want, abs=1e-4)
    with pytest.raises(ValueError, match="at least 11"):
        ssim(a[:5], b[:5])


def test_strips_leave_no_seams() -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.integers(0, 256, (150, 40, 3), dtype=np.uint8) for _ in range(2))
    error, similarity = picture_maps(a, b)
    assert np.array_equal(error, squared_error(a, b)) and error.max() > 100_000
    assert similarity is not None and similarity.shape == (140, 30, 3)
    for top in (0, 40, 53, 54, 107, 129):
        own = picture_maps(a[top : top + 21], b[top : top + 21])[1]
        np.testing.assert_allclose(own, similarity[top : top + 11], atol=1e-5)


def test_flicker_is_change_beyond_the_reference() -> None:
    still = [np.full((4, 4, 3), 90, np.uint8)] * 3
    blinking = [still[0], still[0] + 4, still[0]]
    assert flicker(still) == 0 and flicker(blinking) == 4
    assert flicker(blinking, blinking) == 0
