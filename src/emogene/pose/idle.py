"""EmoGene's pose sampling for silence (section 3.5), and the measures by which idle motion is judged.

The paper inserts frozen stretches into the recorded head poses: it finds how long the person's head stood
still, cuts the video into segments of such random lengths with a fixed gap, and repeats each segment's
first pose for the segment's length. The living idle of ``pose.sampler`` is our answer to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emogene.pose.noise import Reals
from emogene.types import FloatArray

FALLBACK_LENGTHS = (12, 50)
"""Idle lengths (frames) of recordings without two equal poses, where the paper's code stops with an error."""
FALLBACK_GAP = 25


@dataclass(frozen=True, slots=True)
class IdleLengths:
    """Shortest and longest idle run, and the frames between two of them."""

    shortest: int
    longest: int
    gap: int


def idle_lengths(poses: FloatArray, equal: float = 1.0 - 1e-12) -> IdleLengths:
    """Measure the runs of equal consecutive poses in a recording [N, 4, 4] (step a of the algorithm).

    Two poses are equal where the cosine of the flattened matrices is 1; ``equal`` allows for rounding.
    """
    flat = np.asarray(poses, np.float64).reshape(len(poses), -1)
    norms = np.linalg.norm(flat, axis=1)
    similarity = (flat[1:] * flat[:-1]).sum(1) / np.maximum(norms[1:] * norms[:-1], 1e-12)
    idle = np.concatenate([[False], similarity >= equal, [False]])
    edges = np.flatnonzero(np.diff(idle.astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if len(starts) == 0:
        return IdleLengths(*FALLBACK_LENGTHS, FALLBACK_GAP)
    lengths = ends - starts + 1
    gaps = starts[1:] - ends[:-1]
    gap = round(float(gaps.mean())) if len(gaps) else FALLBACK_GAP
    return IdleLengths(int(lengths.min()), int(lengths.max()), max(gap, 1))


def idle_segments(n_frames: int, lengths: IdleLengths, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw segments (first, last frame) of random length with a fixed gap (step b)."""
    segments = []
    position = 0
    while position < n_frames:
        longest = min(lengths.longest, n_frames - position)
        length = int(rng.integers(min(lengths.shortest, longest), longest + 1))
        end = position + length - 1
        if end + lengths.gap >= n_frames:
            break
        segments.append((position, end))
        position = end + 1 + lengths.gap
    return segments


def insert_idle(poses: FloatArray, segments: list[tuple[int, int]]) -> FloatArray:
    """Repeat the first pose of each segment for the segment's length, right behind it (step c)."""
    repeats = np.ones(len(poses), np.int64)
    for start, end in segments:
        repeats[start] += end - start + 1
    return np.asarray(np.repeat(poses, repeats, axis=0), np.float32)


def paper_idle(track: FloatArray, seed: int) -> FloatArray:
    """Run the whole algorithm over a recorded track [N, 4, 4]; the result is longer than the track."""
    segments = idle_segments(len(track), idle_lengths(track), np.random.default_rng([seed, 35]))
    return insert_idle(track, segments)


def ping_pong(track: FloatArray, start: int, stop: int) -> FloatArray:
    """Frames start..stop-1 of the track played forth and back without end."""
    if len(track) == 1:
        return np.repeat(track, stop - start, axis=0)
    period = 2 * (len(track) - 1)
    phase = np.arange(start, stop) % period
    return np.asarray(track[np.where(phase < len(track), phase, period - phase)])


def movement(poses: FloatArray) -> dict[str, float]:
    """Mean and deviation of pose velocity x(t+1) - x(t) and acceleration (EmoGene, Table II).

    The paper does not say what x is; here it is the flattened 4 x 4 pose and the norm of its differences.
    A frozen picture scores 0, so ``velocity_mean`` must also be well above it.
    """
    flat: Reals = np.asarray(poses, np.float64).reshape(len(poses), -1)
    velocity = np.diff(flat, axis=0)
    speed = np.linalg.norm(velocity, axis=1)
    change = np.linalg.norm(np.diff(velocity, axis=0), axis=1)
    return {
        "velocity_mean": float(speed.mean()),
        "velocity_std": float(speed.std()),
        "acceleration_mean": float(change.mean()),
        "acceleration_std": float(change.std()),
    }
