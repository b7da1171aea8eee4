"""Rooms, microphones and noise: what happens to speech between the mouth and the file.

Nothing here moves the sound in time: the direct path stays at delay 0, so phone times stay true.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter

from emogene.persona.phones import Reals
from emogene.types import SAMPLE_RATE_HZ, FloatArray


def recorded(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Pass speech through a random room, microphone, noise and gain; a third stays nearly clean."""
    sound: Reals = np.asarray(samples, np.float64)
    if rng.random() < 0.45:
        sound = _in_room(sound, rng)
    if rng.random() < 0.6:
        sound = _through_microphone(sound, rng)
    level = float(np.sqrt(np.mean(sound**2)) + 1e-5)
    noise_db = rng.uniform(10, 40) if rng.random() < 0.5 else rng.uniform(45, 65)
    sound = sound + level * 10 ** (-noise_db / 20) * coloured_noise(rng, len(sound))
    peak = max(float(np.abs(sound).max()), 1e-4)
    return np.asarray(sound * (10 ** (rng.uniform(-18, -1) / 20) / peak), np.float32)


def coloured_noise(rng: np.random.Generator, count: int) -> Reals:
    """Noise [S] of unit deviation: white to brown, or a hum with harmonics now and then."""
    noise: Reals = lfilter([1.0], [1.0, -rng.uniform(0, 0.97)], rng.standard_normal(count))
    if rng.random() < 0.2:
        time_s = np.arange(count) / SAMPLE_RATE_HZ
        for harmonic in (1, 2, 3):
            noise += (
                0.5 * np.std(noise) / harmonic * np.sin(2 * np.pi * rng.choice((50, 60)) * harmonic * time_s)
            )
    return np.asarray(noise / (np.std(noise) + 1e-9))


def silence(rng: np.random.Generator, count: int) -> FloatArray:
    """A recording [S] of nobody speaking: digital silence, room noise, or noise with thumps and breaths."""
    kind = rng.random()
    if kind < 0.25:
        return np.zeros(count, np.float32)
    sound = 10 ** (rng.uniform(-70, -25) / 20) * coloured_noise(rng, count)
    if kind > 0.6:
        for _ in range(int(rng.integers(1, 5))):
            length = int(rng.uniform(0.1, 0.9) * SAMPLE_RATE_HZ)
            start = int(rng.integers(0, max(count - length, 1)))
            burst = coloured_noise(rng, length) * np.hanning(length) * 10 ** (rng.uniform(-45, -15) / 20)
            sound[start : start + length] += burst[: count - start]
    return np.asarray(np.clip(sound, -1, 1), np.float32)


def _in_room(sound: Reals, rng: np.random.Generator) -> Reals:
    """Add exponentially decaying reflections after the direct sound."""
    decay_s = rng.uniform(0.08, 0.5)
    count = int(min(1.2 * decay_s, 0.5) * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(count) * np.exp(-6.9 * np.arange(count) / (decay_s * SAMPLE_RATE_HZ))
    tail[: int(rng.uniform(0.002, 0.012) * SAMPLE_RATE_HZ)] = 0
    tail *= rng.uniform(0.1, 0.7) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] = 1
    return np.asarray(fftconvolve(sound, tail)[: len(sound)])


def _through_microphone(sound: Reals, rng: np.random.Generator) -> Reals:
    """Tilt the spectrum and cut its ends."""
    sound = lfilter([1.0, -rng.uniform(-0.4, 0.6)], [1.0], sound)
    low, high = rng.uniform(40, 250), rng.uniform(3400, 7800)
    numerator, denominator = butter(1, (low, high), "bandpass", fs=SAMPLE_RATE_HZ)
    return np.asarray(lfilter(numerator, denominator, sound))
