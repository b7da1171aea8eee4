"""Frechet distance between two sets of feature vectors, from moments that add up over clips.

d = |m1 - m2|^2 + trace(S1 + S2 - 2 (S1 S2)^(1/2))   (Dowson and Landau 1982; FID, Heusel et al. 2017)

The features name the metric: with Inception's pool3 it is FID, with I3D's logits FVD; with our default,
EfficientNet-Lite0, it is neither, and is called FD-EffLite0. Few samples raise the distance, so compare
only rows of equal counts; sets belong together over all clips of a system, not clip by clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Sums over feature vectors [D]: how many, their total [D], their total outer product [D, D]."""

    count: int
    total: Matrix
    outer: Matrix

    @classmethod
    def of(cls, vectors: NDArray[np.floating]) -> Moments:
        """Moments of [N, D] vectors."""
        x = np.asarray(vectors, np.float64)
        return cls(len(x), x.sum(0), x.T @ x)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> Matrix:
        return self.total / self.count

    @property
    def covariance(self) -> Matrix:
        """Unbiased, as numpy.cov."""
        return (self.outer - np.outer(self.total, self.mean)) / (self.count - 1)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Distance of two Gaussians with these moments; nan where a set has fewer than two vectors."""
    if min(first.count, second.count) < 2:
        return float("nan")
    a, b = first.covariance, second.covariance
    difference = first.mean - second.mean
    # trace (A B)^(1/2) = trace (A^(1/2) B A^(1/2))^(1/2), and that one is symmetric: real eigenvalues.
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return max(0.0, float(difference @ difference + np.trace(a) + np.trace(b) - 2 * mixed))
