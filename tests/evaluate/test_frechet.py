"""The Frechet distance against its closed form, scipy's matrix root, and its own bookkeeping."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from emogene.evaluate.frechet import Moments, frechet_distance


def gaussian(mean: list[float], deviation: list[float], seed: int = 0) -> np.ndarray:
    """Vectors with exactly this mean and these deviations."""
    x = np.random.default_rng(seed).normal(size=(500, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x * deviation + mean


def test_axis_aligned_gaussians_have_a_closed_form() -> None:
    a, b = gaussian([0, 0, 1], [1, 2, 3]), gaussian([1, 0, -1], [2, 2, 1], seed=1)
    want = (1 + 0 + 4) + (1 + 0 + 4)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(want, abs=1e-6)
    assert frechet_distance(Moments.of(a), Moments.of(a)) == pytest.approx(0, abs=1e-6)


def test_it_agrees_with_a_general_matrix_root() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)), rng.normal(size=(50, 8)) + 0.5
    difference = a.mean(0) - b.mean(0)
    ca, cb = np.cov(a.T), np.cov(b.T)
    want = difference @ difference + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(want, rel=1e-6)


def test_moments_add_up_over_clips() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    whole, parts = Moments.of(x), Moments.of(x[:7]) + Moments.of(x[7:])
    assert parts.count == 30
    np.testing.assert_allclose(parts.covariance, np.cov(x.T))
    np.testing.assert_allclose(whole.mean, parts.mean)


def test_too_few_vectors_have_no_distance() -> None:
    one = Moments.of(np.ones((1, 3)))
    assert np.isnan(frechet_distance(one, one))
