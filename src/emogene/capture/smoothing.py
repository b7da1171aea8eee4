"""Shots and smoothing in time: nothing is ever averaged across a cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emogene.types import ByteArray, FloatArray

THUMB_PX = 64
CUT_LEVEL, CUT_RATIO = 3.0, 2.5
"""A cut changes the small picture by more than this many grey levels on average, and by more than this
many times the largest of the three changes before and after it: fast movement lasts, a cut does not."""
HARD_LEVEL, HARD_RATIO = 30.0, 1.5
"""Another picture altogether need not stand out as much: a cut of 50 away from a camera that shook by 22 was
missed."""


def thumbnail(frame: ByteArray) -> FloatArray:
    """Small grey picture [64, 64] for comparing frames."""
    import cv2

    small = cv2.resize(frame, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small.mean(-1), np.float32)


class ChangeMeter:
    """How much every frame differs from the one before it: mean grey levels on thumbnails."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._last: FloatArray | None = None

    def add(self, small: FloatArray) -> None:
        """Take the next frame's thumbnail."""
        self.values.append(0.0 if self._last is None else float(np.abs(small - self._last).mean()))
        self._last = small


def find_cuts(change: Sequence[float], reach: int = 3) -> list[int]:
    """First frame of every shot after the first, from ChangeMeter's values of all frames."""
    cuts = []
    for index in range(1, len(change)):
        around = [*change[max(1, index - reach) : index], *change[index + 1 : index + 1 + reach]]
        ratio = HARD_RATIO if change[index] > HARD_LEVEL else CUT_RATIO
        if around and change[index] > CUT_LEVEL and change[index] > ratio * max(around):
            cuts.append(index)
    return cuts


def shots(n_frames: int, cuts: Sequence[int]) -> Iterator[slice]:
    """The stretches between cuts."""
    edges = [0, *cuts, n_frames]
    for start, end in pairwise(edges):
        if end > start:
            yield slice(start, end)


def smooth(values: FloatArray, cuts: Sequence[int], sigma_frames: float) -> FloatArray:
    """Gaussian along time within each shot. [T, ...] -> [T, ...]."""
    from scipy.ndimage import gaussian_filter1d

    result = np.array(values, np.float32)
    if sigma_frames > 0:
        for shot in shots(len(values), cuts):
            result[shot] = gaussian_filter1d(values[shot], sigma_frames, axis=0, mode="nearest")
    return result


def smooth_poses(
    poses: NDArray[np.floating], cuts: Sequence[int], sigma_frames: float, valid: NDArray[np.bool_]
) -> FloatArray:
    """Smooth [T, 4, 4] within shots; poses of invalid frames are drawn from their valid neighbours."""
    from scipy.spatial.transform import Rotation, Slerp

    result = np.array(poses, np.float64)
    for shot in shots(len(poses), cuts):
        known = np.flatnonzero(valid[shot]) + shot.start
        if not len(known):
            continue
        index = np.clip(np.arange(shot.start, shot.stop), known[0], known[-1])
        turns = Rotation.from_matrix(poses[known, :3, :3])
        if len(known) > 1:
            result[shot, :3, :3] = Slerp(known, turns)(index).as_matrix()
        else:
            result[shot, :3, :3] = turns.as_matrix()
        for axis in range(3):
            result[shot, axis, 3] = np.interp(index, known, poses[known, axis, 3])
    rows = smooth(result[:, :3].reshape(len(poses), 12).astype(np.float32), cuts, sigma_frames)
    smoothed = np.tile(np.eye(4, dtype=np.float32), (len(poses), 1, 1))
    smoothed[:, :3] = rows.reshape(-1, 3, 4)
    # The mean of close rotation matrices, made a rotation again.
    u, _, vt = np.linalg.svd(smoothed[:, :3, :3].astype(np.float64))
    smoothed[:, :3, :3] = u @ vt
    return smoothed
