"""Rigid and similarity alignment of point sets (Procrustes; Umeyama 1991)."""

from __future__ import annotations

import numpy as np

from emogene.types import FloatArray


def similarity(
    source: FloatArray, target: FloatArray, weights: FloatArray | None = None, *, with_scale: bool = True
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Find s, R, t that minimise the weighted sum of |s R source + t - target|^2.

    Args:
        source: [..., P, 3] points.
        target: [..., P, 3] points that correspond to them.
        weights: [P] non-negative weights; None: all one.
        with_scale: False keeps s = 1.

    Returns:
        scale [...], rotation [..., 3, 3], translation [..., 3].
    """
    source64, target64 = np.asarray(source, np.float64), np.asarray(target, np.float64)
    count = source64.shape[-2]
    weight = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    weight = (weight / weight.sum())[:, None]
    source_mean = (weight * source64).sum(-2, keepdims=True)
    target_mean = (weight * target64).sum(-2, keepdims=True)
    source_centred, target_centred = source64 - source_mean, target64 - target_mean
    covariance = np.swapaxes(weight * target_centred, -1, -2) @ source_centred
    u, singular, vt = np.linalg.svd(covariance)
    # A reflection would fit a flat face as well as a rotation: forbid it.
    sign = np.ones_like(singular)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    if with_scale:
        variance = (weight * source_centred**2).sum((-1, -2))
        scale = (singular * sign).sum(-1) / np.maximum(variance, 1e-20)
    else:
        scale = np.ones(source64.shape[:-2])
    rotated_mean = scale[..., None] * (rotation @ source_mean[..., 0, :, None])[..., 0]
    translation = target_mean[..., 0, :] - rotated_mean
    return scale.astype(np.float32), rotation.astype(np.float32), translation.astype(np.float32)


def apply_similarity(
    points: FloatArray, scale: FloatArray, rotation: FloatArray, translation: FloatArray
) -> FloatArray:
    """Map [..., P, 3] points by s R x + t."""
    rotated = points @ np.swapaxes(rotation, -1, -2)
    moved = np.asarray(scale)[..., None, None] * rotated + np.asarray(translation)[..., None, :]
    return np.asarray(moved, dtype=np.float32)
