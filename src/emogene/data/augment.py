"""Sound as it meets a product: noisy rooms, other microphones, other speeds, and no speech at all.

Every function takes mono samples [S] at 16 kHz and a generator, and returns float32 samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from emogene.types import SAMPLE_RATE_HZ, FloatArray

SILENCES = ("zeros", "white", "brown", "hum", "clicks", "chord", "melody", "breath")
SILENCE_SHARES = (0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1, 0.1)
"""How often each is met in training: a hum is the one most like a vowel."""
THROAT_WINDOW = 512
ENVELOPE_BINS = 40
"""Cepstral bins (samples of delay) that are the throat's; above 400 Hz of pitch its harmonics would be."""


def change_voice(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Room, microphone, noise and level at random; about one sound in five stays almost as it is."""
    result = samples
    if rng.random() < 0.8:
        if rng.random() < 0.4:
            result = reverberate(result, rng)
        if rng.random() < 0.5:
            result = colour(result, rng)
        if rng.random() < 0.6:
            result = add_noise(result, rng, snr_db=rng.uniform(5, 40))
    return change_level(result, rng)


def change_level(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gain of -15..+6 dB, clipped to [-1, 1]."""
    gain = 10 ** (rng.uniform(-15, 6) / 20)
    return np.asarray(np.clip(gain * samples, -1, 1), dtype=np.float32)


def reverberate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A small room: direct sound and a decaying tail of 50..350 ms."""
    n = int(rng.uniform(0.05, 0.35) * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(n) * np.exp(-np.arange(n) / n * rng.uniform(4, 8))
    tail[0] = rng.uniform(3, 10)
    tail /= np.linalg.norm(tail)
    return np.asarray(signal.fftconvolve(samples, tail)[: len(samples)], dtype=np.float32)


def colour(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A cheap microphone: part of the sound through a first-order band-pass."""
    band = [rng.uniform(60, 400), rng.uniform(3000, 7500)]
    b, a = signal.butter(1, band, "bandpass", fs=SAMPLE_RATE_HZ)
    share = rng.uniform(0.3, 1.0)
    return np.asarray((1 - share) * samples + share * signal.lfilter(b, a, samples), dtype=np.float32)


def add_noise(samples: FloatArray, rng: np.random.Generator, snr_db: float) -> FloatArray:
    """White to brown noise, or a hum, at a ratio to the loud parts of the sound."""
    kind = ("white", "brown", "hum", "chord")[rng.choice(4, p=[0.35, 0.4, 0.15, 0.1])]
    noise = no_speech(kind, len(samples), rng)
    power = np.quantile(samples.astype(np.float64) ** 2, 0.9) + 1e-10
    noise = noise / (noise.std() + 1e-9) * np.sqrt(power * 10 ** (-snr_db / 10))
    return np.asarray(samples + noise, dtype=np.float32)


def change_speed(samples: FloatArray, factor: float) -> FloatArray:
    """Play faster (factor > 1) or slower; pitch moves along, like another voice."""
    n = max(1, round(len(samples) / factor))
    place = np.linspace(0, len(samples) - 1, n)
    return np.interp(place, np.arange(len(samples)), samples).astype(np.float32)


def change_throat(samples: FloatArray, factor: float) -> FloatArray:
    """A vocal tract ``factor`` times shorter: resonances move up, pitch and time stay.

    Each short spectrum is divided by its smooth envelope (the low end of its cepstrum) and multiplied by
    that envelope stretched along frequency.
    """
    _, _, spectra = signal.stft(samples, nperseg=THROAT_WINDOW, noverlap=3 * THROAT_WINDOW // 4)
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + 1e-5), axis=0)
    cepstra[ENVELOPE_BINS : 1 - ENVELOPE_BINS] = 0
    envelope = np.fft.rfft(cepstra, axis=0).real
    place = np.minimum(np.arange(len(envelope)) / factor, len(envelope) - 1)
    low = np.minimum(place.astype(int), len(envelope) - 2)
    share = (place - low)[:, None]
    moved = (1 - share) * envelope[low] + share * envelope[low + 1]
    _, sound = signal.istft(
        spectra * np.exp(np.clip(moved - envelope, -4, 4)),
        nperseg=THROAT_WINDOW,
        noverlap=3 * THROAT_WINDOW // 4,
    )
    return np.asarray(np.pad(sound, (0, max(0, len(samples) - len(sound))))[: len(samples)], np.float32)


def no_speech(kind: str, n: int, rng: np.random.Generator, level_db: float | None = None) -> FloatArray:
    """Sound to which a mouth stays shut.

    Args:
        kind: one of SILENCES.
        n: samples.
        level_db: root mean square; None: -90..-25 at random.
    """
    t = np.asarray(np.arange(n) / SAMPLE_RATE_HZ, np.float64)
    sound: Any
    if kind == "zeros":
        return np.zeros(n, np.float32)
    if kind == "white":
        sound = rng.standard_normal(n)
    elif kind == "brown":
        sound = signal.lfilter([1], [1, -rng.uniform(0.7, 0.98)], rng.standard_normal(n))
    elif kind == "hum":
        sound = np.sin(2 * np.pi * rng.uniform(45, 400) * t) + 0.1 * rng.standard_normal(n)
    elif kind == "clicks":
        period = int(rng.uniform(0.2, 1.0) * SAMPLE_RATE_HZ)
        sound = (np.arange(n) % period < rng.integers(8, 60)) * 1.0 + 1e-3 * rng.standard_normal(n)
    elif kind == "chord":
        root = rng.uniform(150, 700)
        sound = sum(np.sin(2 * np.pi * root * ratio * t) for ratio in (1, 1.25, 1.5)) + 0.0 * t
    elif kind == "melody":
        sound = _melody(t, rng)
    elif kind == "breath":
        swell = np.clip(np.sin(2 * np.pi * rng.uniform(0.2, 0.4) * t + rng.uniform(0, 6)), 0, None) ** 2
        sound = swell * signal.lfilter([1, -0.6], [1], rng.standard_normal(n))
    else:
        raise ValueError(f"kind must be one of {SILENCES}, not {kind!r}")
    level = 10 ** ((rng.uniform(-90, -25) if level_db is None else level_db) / 20)
    return np.asarray(level * sound / (np.sqrt((sound**2).mean()) + 1e-9), dtype=np.float32)


def _melody(t: NDArray[np.float64], rng: np.random.Generator) -> FloatArray:
    """Plucked notes with harmonics and a beat: music without a voice."""
    step_s = rng.uniform(0.15, 0.5)
    note = (t / step_s).astype(int)
    pitches = 220 * 2 ** (rng.integers(0, 24, note.max() + 1 if len(note) else 1) / 12)
    frequency, age = pitches[note], t - note * step_s
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in (1, 2, 3, 4)) * np.exp(-age / 0.2)
    drum = rng.standard_normal(len(t)) * np.exp(-age / 0.02) * (note % 2 == 0)
    return np.asarray(tone + 0.5 * drum, dtype=np.float32)
