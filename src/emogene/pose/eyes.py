"""Blinks and saccades: functions of the seed and the absolute frame, so any chunking gives the same eyes."""

from __future__ import annotations

import numpy as np

from emogene.pose.noise import Reals, blocks_of, gaussian_kernel, generator
from emogene.types import FPS

BLINK_STREAM, GAZE_STREAM = 20, 21
BLINK_MEMORY = 24
"""Frames before a frame whose blink rate can matter to it: the longest blink and the dead time before it."""
GAZE_SD_RAD = (0.10, 0.06)
_CANDIDATES_PER_S = 1.5
_BLINK_BLOCK = 100
_GAZE_BLOCK = 500
_DEAD_TIME_S = 0.5


def lid_closing(seed: int, start: int, stop: int, rate_per_s: Reals) -> Reals:
    """Lid closing 0..1 of the frames start..stop-1.

    A thinned Poisson process: candidates come from the seed alone; one is played if the blink rate at its
    own frame lets it through and no other came through within the dead time before it. So every blink is
    decided by what is known when it begins, and only by that.

    Args:
        rate_per_s: blink rate of the frames start - BLINK_MEMORY .. stop-1.
    """
    first = start - BLINK_MEMORY
    frames = np.arange(start, stop)
    closing = np.zeros(len(frames))
    through_at: list[float] = []
    for at, chance, length_s in _candidates(seed, first, stop):
        if chance * _CANDIDATES_PER_S > rate_per_s[int(at) - first]:
            continue
        alone = not through_at or at - through_at[-1] > _DEAD_TIME_S * FPS
        through_at.append(at)
        if alone:
            closing = np.maximum(closing, blink_shape((frames - at) / FPS / length_s))
    return closing


def _candidates(seed: int, first: int, stop: int) -> list[tuple[float, float, float]]:
    """(frame, chance, length in s) of the possible blinks that begin within first..stop-1."""
    found = []
    for block in blocks_of(first, stop, _BLINK_BLOCK):
        rng = generator(seed, BLINK_STREAM, block)
        count = int(rng.poisson(_CANDIDATES_PER_S * _BLINK_BLOCK / FPS))
        at = np.sort(rng.uniform(0, _BLINK_BLOCK, count)) + block * _BLINK_BLOCK
        rows = zip(at, rng.uniform(0, 1, count), rng.uniform(0.16, 0.24, count), strict=True)
        found += [(float(a), float(c), float(d)) for a, c, d in rows if first <= a < stop]
    return found


def blink_shape(phase: Reals) -> Reals:
    """Closing over time / length: shut after .4 of the length, open again .8 later."""
    shut = np.sin(np.clip(phase / 0.4, 0, 1) * np.pi / 2) ** 1.5
    reopen = np.cos(np.clip((phase - 0.4) / 0.8, 0, 1) * np.pi / 2) ** 2
    return np.asarray(np.where(phase < 0.4, shut, reopen))


def gaze_target(seed: int, start: int, stop: int) -> Reals:
    """Where the eyes look, [T, 2] yaw (to the person's left) and pitch (up) in rad; the camera is at 0.

    Fixations of .7 to 2.2 s, more than half of them on the camera; saccades take about two frames.
    """
    kernel = gaussian_kernel(0.6)
    half = len(kernel) // 2
    first = start - half
    target = np.zeros((stop + half - first, 2))
    for block in blocks_of(first, stop + half, _GAZE_BLOCK):
        rng = generator(seed, GAZE_STREAM, block)
        at, end = block * _GAZE_BLOCK, (block + 1) * _GAZE_BLOCK
        while at < end:
            length = int(rng.uniform(0.7, 2.2) * FPS)
            wander, camera = rng.normal(0, GAZE_SD_RAD), rng.normal(0, 0.02, 2)
            look = camera if rng.random() < 0.55 else wander
            target[max(at - first, 0) : max(min(at + length, end) - first, 0)] = look
            at += length
    return np.stack([np.convolve(column, kernel, mode="valid") for column in target.T], 1)
