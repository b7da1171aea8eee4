"""Landmark metrics of a video against its reference, from tracked faces of both.

All inputs are tracked at 25 fps and frame-aligned. Frames in which either face was not found are left
out, and counted by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emogene.geometry.blendshapes import ARKIT_52
from emogene.geometry.landmarks import MOUTH, lip_opening, lip_width
from emogene.types import FPS, FloatArray

LMD_CROP_PX = 256.0
"""LMD is given in pixels of a crop whose side is 256 px and holds 1.6 x the reference face's height."""
FACE_SHARE = 1.6
BLOCK = 1024
"""Frames that are compared at once: temporary copies of an hour's landmarks would count."""
LOWER_FACE = tuple(
    index for index, name in enumerate(ARKIT_52) if name.startswith(("mouth", "jaw", "tongue", "cheekPuff"))
)
UPPER_FACE = tuple(
    index for index, name in enumerate(ARKIT_52) if name.startswith(("brow", "eye", "noseSneer", "cheekSq"))
)


def landmark_distance(landmarks_px: FloatArray, reference_px: FloatArray) -> tuple[float, float]:
    """M-LMD and F-LMD of EAT's protocol (ICCV 2023), which EmoGene's Table I follows.

    Args:
        landmarks_px: [T, 68, 2] of the video.
        reference_px: [T, 68, 2] of the reference.

    Returns:
        Mean point distance over 20 mouth points and over all 68, each set centred on its own mean, in
        pixels of the standard crop (LMD_CROP_PX).
    """
    height = float(np.median(np.ptp(reference_px[:, :, 1], axis=1)))
    scale = LMD_CROP_PX / (FACE_SHARE * height)

    def distance(points: slice) -> float:
        total = 0.0
        for start in range(0, len(reference_px), BLOCK):
            block = slice(start, start + BLOCK)
            ours, theirs = landmarks_px[block, points], reference_px[block, points]
            centred = (ours - ours.mean(1, keepdims=True)) - (theirs - theirs.mean(1, keepdims=True))
            total += float(np.linalg.norm(centred, axis=-1).mean(1).sum())
        return total / len(reference_px) * scale

    return distance(MOUTH), distance(slice(0, 68))


@dataclass(frozen=True)
class CurveMatch:
    """How one curve follows another: correlation at lag 0, slope, best lag in frames, and r there."""

    r: float
    slope: float
    lag_frames: int
    r_at_lag: float


def match_curves(curve: FloatArray, reference: FloatArray, max_lag: int = 12) -> CurveMatch:
    """Compare [T] curves; a positive lag means that ``curve`` comes later than ``reference``."""
    best = max(range(-max_lag, max_lag + 1), key=lambda lag: _correlation(*_shifted(curve, reference, lag)))
    spread = float(np.var(reference))
    covariance = float(np.mean((curve - curve.mean()) * (reference - reference.mean())))
    return CurveMatch(
        r=_correlation(curve, reference),
        slope=covariance / spread if spread > 1e-12 else 0.0,
        lag_frames=best,
        r_at_lag=_correlation(*_shifted(curve, reference, best)),
    )


def unit_error(units: FloatArray, reference: FloatArray) -> dict[str, float]:
    """AUE on the 52 ARKit units: mean squared difference of the lower and the upper face, [T, 52]."""
    squared = (units - reference) ** 2
    return {
        "lower": float(squared[:, list(LOWER_FACE)].mean()),
        "upper": float(squared[:, list(UPPER_FACE)].mean()),
    }


def blinks(openness: FloatArray, shut: float = 0.45, open_again: float = 0.7) -> dict[str, float]:
    """Rate per minute and mean duration of blinks in a [T] eye openness curve (1: the person's neutral)."""
    starts, lengths, begun = 0, [], -1
    for index, value in enumerate(openness):
        if begun < 0 and value < shut:
            begun, starts = index, starts + 1
        elif begun >= 0 and value > open_again:
            lengths.append(index - begun)
            begun = -1
    minutes = len(openness) / FPS / 60
    return {
        "per_minute": starts / minutes if minutes else 0.0,
        "duration_s": float(np.mean(lengths)) / FPS if lengths else 0.0,
    }


def pose_smoothness(camera_from_head: FloatArray) -> dict[str, float]:
    """The paper's idle metrics (Table II): velocity and acceleration of flattened [T, 4, 4] poses.

    v(t) = x(t+1) - x(t), a(t) = v(t+1) - v(t); mean and deviation of their norms. Lower is calmer, and a
    frozen head scores 0: read it beside a real listener's values.
    """
    flat = camera_from_head.reshape(len(camera_from_head), -1)
    velocity = np.diff(flat, axis=0)
    speed = np.linalg.norm(velocity, axis=1)
    acceleration = np.linalg.norm(np.diff(velocity, axis=0), axis=1)
    return {
        "velocity_mean": _mean(speed),
        "velocity_std": float(speed.std()) if len(speed) else 0.0,
        "acceleration_mean": _mean(acceleration),
        "acceleration_std": float(acceleration.std()) if len(acceleration) else 0.0,
    }


def lip_leak(landmarks_cano: FloatArray, threshold: float = 0.25) -> float:
    """Share of frames whose mouth aspect ratio exceeds the threshold (KeySync's measure for silence)."""
    ratio = lip_opening(landmarks_cano) / np.maximum(lip_width(landmarks_cano), 1e-6)
    return float((ratio > threshold).mean()) if len(ratio) else 0.0


def _shifted(curve: FloatArray, reference: FloatArray, lag: int) -> tuple[FloatArray, FloatArray]:
    if lag > 0:
        return curve[lag:], reference[:-lag]
    return (curve[:lag], reference[-lag:]) if lag < 0 else (curve, reference)


def _correlation(a: FloatArray, b: FloatArray) -> float:
    if len(a) < 3:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-9 else 0.0


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else 0.0
