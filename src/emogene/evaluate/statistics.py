"""Confidence intervals: bootstrap over clips, paired where two systems saw the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its confidence interval."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(
    values: Sequence[float], *, confidence: float = 0.95, rounds: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the mean over clips (Efron 1979)."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if len(array) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(0, len(array), (rounds, len(array)))].mean(1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(array.mean()), float(low), float(high), len(array))


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Interval of the mean of first - second over the same clips; it excludes 0 where they differ."""
    if len(first) != len(second):
        raise ValueError(f"paired values must be equally many, not {len(first)} and {len(second)}")
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return bootstrap_mean(difference.tolist(), confidence=confidence, seed=seed)


def krippendorff_alpha(ratings: Sequence[Sequence[float | None]]) -> float:
    """Agreement of raters on an interval scale (Krippendorff 2011): rows are raters, None is missing.

    1 is perfect agreement, 0 is chance; nan where no item has two ratings.
    """
    columns = [[value for value in column if value is not None] for column in zip(*ratings, strict=True)]
    columns = [column for column in columns if len(column) > 1]
    values = np.array([value for column in columns for value in column], dtype=np.float64)
    if len(values) < 2:
        return float("nan")

    def squared_pairs(group: np.ndarray) -> float:
        """Sum over ordered pairs of squared differences."""
        return float(2 * (len(group) * (group**2).sum() - group.sum() ** 2))

    observed = sum(squared_pairs(np.array(column)) / (len(column) - 1) for column in columns) / len(values)
    expected = squared_pairs(values) / (len(values) * (len(values) - 1))
    return 1.0 - observed / expected if expected > 0 else 1.0
