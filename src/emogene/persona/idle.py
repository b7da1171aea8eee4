"""What a living face does besides speaking: blinks, fixations and saccades, slow head movement."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from emogene.persona.phones import Reals
from emogene.types import FPS


def smooth_noise(rng: np.random.Generator, n_frames: int, rate_hz: float) -> Reals:
    """Gaussian noise [T] of unit deviation that varies at about ``rate_hz``."""
    sigma = FPS / (2.5 * rate_hz)
    pad = int(4 * sigma) + 1
    white = rng.standard_normal(n_frames + 2 * pad)
    # A Gaussian filter leaves white noise with variance 1 / (2 sqrt(pi) sigma).
    scale = np.sqrt(2 * np.sqrt(np.pi) * sigma)
    return np.asarray(gaussian_filter1d(white, sigma)[pad : pad + n_frames] * scale)


def blinks(rng: np.random.Generator, rate_per_s: Reals) -> Reals:
    """Lid closing [T] in 0..1 for a blink rate [T] that may change over time.

    Blinks are a Poisson process with a dead time of .5 s; closing takes about 80 ms, opening 160 ms.
    """
    n_frames = len(rate_per_s)
    time_s = np.arange(n_frames) / FPS
    closing = np.zeros(n_frames)
    # Exponential gaps in the time that runs at the blink rate.
    clock = np.concatenate([[0], np.cumsum(rate_per_s) / FPS])
    at, last = rng.exponential() * 0.5, -1.0
    while at < clock[-1]:
        start = max(float(np.interp(at, clock, np.arange(n_frames + 1) / FPS)), last + 0.5)
        phase = (time_s - start) / rng.uniform(0.16, 0.24)
        shut = np.sin(np.clip(phase / 0.4, 0, 1) * np.pi / 2) ** 1.5
        reopen = np.cos(np.clip((phase - 0.4) / 0.8, 0, 1) * np.pi / 2) ** 2
        closing = np.maximum(closing, np.where(phase < 0.4, shut, reopen) * (phase > 0))
        last = start
        at += rng.exponential()
    return closing


def fixations(rng: np.random.Generator, n_frames: int) -> Reals:
    """Where the eyes look, [T, 2] yaw (to the person's left) and pitch (up) in rad, the camera at 0."""
    target = np.zeros((n_frames, 2))
    start = 0
    while start < n_frames:
        stop = start + int(rng.uniform(0.7, 2.2) * FPS)
        wander = rng.normal(0, (0.10, 0.06))
        camera = rng.normal(0, 0.02, 2)
        target[start:stop] = camera if rng.random() < 0.55 else wander
        start = stop
    return np.asarray(gaussian_filter1d(target, 0.6, axis=0))


def accent(energy: Reals, n_frames: int) -> Reals:
    """Prosodic stress [T]: loudness (100 Hz) smoothed over .12 s minus over .8 s."""
    if len(energy) == 0:
        return np.zeros(n_frames)
    loudness = np.interp(np.arange(n_frames) / FPS, np.arange(len(energy)) / 100, energy)
    return np.asarray(gaussian_filter1d(loudness, 0.12 * FPS) - gaussian_filter1d(loudness, 0.8 * FPS))
