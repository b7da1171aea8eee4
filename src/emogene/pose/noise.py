"""Randomness with an address: value of (seed, stream, absolute frame), whatever the chunk it is asked in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emogene.types import FPS

BLOCK = 256
"""Frames that share one generator."""

Reals = NDArray[np.float64]


def generator(seed: int, stream: int, block: int) -> np.random.Generator:
    """Generator of one block of one stream; blocks before frame 0 exist too."""
    return np.random.default_rng([seed & 0xFFFFFFFF, stream, block + (1 << 20)])


def white(seed: int, stream: int, start: int, stop: int) -> Reals:
    """Standard normal values of the frames start..stop-1."""
    first, last = start // BLOCK, (stop - 1) // BLOCK
    blocks = [generator(seed, stream, block).standard_normal(BLOCK) for block in range(first, last + 1)]
    return np.concatenate(blocks)[start - first * BLOCK : stop - first * BLOCK]


def smooth(seed: int, stream: int, start: int, stop: int, rate_hz: float) -> Reals:
    """Gaussian noise of unit deviation that varies at about ``rate_hz`` (persona.md 9: sigma fps/(2.5 r))."""
    kernel = gaussian_kernel(FPS / (2.5 * rate_hz))
    half = len(kernel) // 2
    values = white(seed, stream, start - half, stop + half)
    return np.convolve(values, kernel / np.sqrt((kernel**2).sum()), mode="valid")


def gaussian_kernel(sigma: float) -> Reals:
    """Odd Gaussian window of +-3.5 sigma that sums to 1."""
    half = max(1, int(np.ceil(3.5 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.asarray(kernel / kernel.sum())


def blocks_of(start: int, stop: int, length: int) -> Iterator[int]:
    """Indices of the blocks of ``length`` frames that touch start..stop-1."""
    yield from range(start // length, (stop - 1) // length + 1)
