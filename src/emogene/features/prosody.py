"""Pitch, voicing and loudness: sound [S] at 16 kHz -> [T50, 3] at 50 Hz.

Columns: log2 f0 relative to the speaker's running centre (octaves, 0 where unvoiced); voicing 0..1;
loudness 0..1 (decibels from -60 to 0 of full scale, so silence is 0).

Pitch is the best peak of the normalised autocorrelation of a 64 ms window (Boersma 1993, the method of
the Praat tracker that EmoGene's data pipeline used; same range of 80 to 750 Hz) after a median over five
rows. All of it looks ahead less than 80 ms and gives the same rows for any cutting of the sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emogene.features.extractor import HOP, checked_samples, n_rows
from emogene.types import SAMPLE_RATE_HZ, Audio, FloatArray

WINDOW = 1024
N_FFT = 2048
LOWEST_HZ, HIGHEST_HZ = 80.0, 750.0
OCTAVE_COST = 0.03
"""Correlation by which a candidate an octave lower must be better."""
MEDIAN_ROWS = 2
"""Rows on each side in the median that removes octave jumps."""
VOICED_FROM, VOICED_FULL = 0.35, 0.65
"""Correlation at which voicing starts and is complete."""
QUIET_DB = -60.0
VOICED_DB = -52.0
"""Hum and hiss below this level are not speech."""
CENTRE_ROWS = 400
"""Voiced rows (8 s) over which the speaker's centre is averaged."""
BLOCK_ROWS = 512
COLUMNS = ("log2_f0", "voicing", "loudness")
N_COARSE = 256
"""Bins of the paper's quantised pitch; 0 is unvoiced."""


def prosody(audio: Audio) -> FloatArray:
    """Prosody [T50, 3] of 16 kHz sound."""
    stream = ProsodyStream()
    return np.concatenate([stream.push(checked_samples(audio)), stream.flush()])


class ProsodyStream:
    """Prosody of sound that arrives in pieces; same contract as a FeatureStream."""

    def __init__(self) -> None:
        self._buffer: FloatArray = np.zeros(WINDOW // 2, np.float32)
        self._n_samples = self._n_raw = self._n_given = 0
        self._raw: FloatArray = np.zeros((0, 3), np.float32)  # hz, strength, loudness
        self._raw_start = 0
        self._centre = _Centre()

    def push(self, samples: FloatArray) -> FloatArray:
        """Take samples [S]; return the rows [n, 3] that became final."""
        self._n_samples += len(samples)
        return self._advance(samples, last=False)

    def flush(self) -> FloatArray:
        """Return the rows still owed."""
        total = n_rows(self._n_samples)
        missing = (total - 1) * HOP + WINDOW // 2 - self._n_samples
        return self._advance(np.zeros(max(0, missing), np.float32), last=True)

    def _advance(self, samples: FloatArray, *, last: bool) -> FloatArray:
        self._buffer = np.concatenate([self._buffer, np.asarray(samples, np.float32)])
        n = max(0, (len(self._buffer) - WINDOW) // HOP + 1)
        if last:
            n = min(n, n_rows(self._n_samples) - self._n_raw)
        if n:
            self._raw = np.concatenate([self._raw, _analysed(self._buffer, n)])
            self._buffer = self._buffer[n * HOP :]
            self._n_raw += n
        ready = self._n_raw if last else max(self._n_given, self._n_raw - MEDIAN_ROWS)
        rows = self._finished(self._n_given, ready)
        self._n_given = ready
        keep = max(0, ready - MEDIAN_ROWS)
        self._raw = self._raw[keep - self._raw_start :]
        self._raw_start = keep
        return rows

    def _finished(self, first: int, last: int) -> FloatArray:
        """Rows [first, last): median, voicing, centring."""
        rows = np.zeros((last - first, 3), np.float32)
        for index in range(first, last):
            at = index - self._raw_start
            near = self._raw[max(0, at - MEDIAN_ROWS) : at + MEDIAN_ROWS + 1]
            hz, strength, loudness = self._raw[at]
            voicing = float(np.clip((strength - VOICED_FROM) / (VOICED_FULL - VOICED_FROM), 0.0, 1.0))
            if voicing > 0.0:
                log2_f0 = _median_pitch(float(hz), near)
                rows[index - first, 0] = self._centre.relative(log2_f0, voicing)
            rows[index - first, 1:] = voicing, loudness
        return rows


def coarse_pitch(f0_hz: FloatArray) -> NDArray[np.int64]:
    """The published system's pitch input: 1..255 mel-scaled bins between 50 and 1100 Hz, 0 unvoiced."""
    mels = 1127 * np.log1p(np.asarray(f0_hz, np.float64) / 700)
    low, high = 1127 * np.log1p(50 / 700), 1127 * np.log1p(1100 / 700)
    bins = np.clip(np.rint((mels - low) * (N_COARSE - 2) / (high - low) + 1), 1, N_COARSE - 1)
    return np.where(np.asarray(f0_hz) > 0, bins, 0).astype(np.int64)


def pitch_hz(audio: Audio, threshold: float = 0.6) -> FloatArray:
    """f0 in Hz [T50], 0 where unvoiced: the paper's pitch (voicing threshold 0.6), for recipe ``paper``."""
    samples = checked_samples(audio)
    total = n_rows(len(samples))
    padded = np.concatenate([np.zeros(WINDOW // 2, np.float32), samples, np.zeros(WINDOW, np.float32)])
    raw = _analysed(padded, total)
    voiced = raw[:, 1] >= threshold
    smooth = [
        2.0 ** _median_pitch(float(raw[t, 0]), raw[max(0, t - MEDIAN_ROWS) : t + MEDIAN_ROWS + 1])
        if voiced[t]
        else 0.0
        for t in range(total)
    ]
    return np.asarray(smooth, np.float32)


@dataclass
class _Centre:
    """The speaker's typical log2 f0 so far: a running mean that outliers pull little."""

    value: float = 0.0
    weight: float = 0.0

    def relative(self, log2_f0: float, voicing: float) -> float:
        if self.weight == 0.0:
            self.value = log2_f0
        self.weight = min(self.weight + voicing, CENTRE_ROWS)
        step = min(max(log2_f0 - self.value, -0.5), 0.5)
        self.value += step * voicing / max(self.weight, 1.0)
        return min(max(log2_f0 - self.value, -1.5), 1.5)


def _median_pitch(hz: float, near: FloatArray) -> float:
    """log2 of the median f0 of the voiced neighbours, of which the row itself is one."""
    voiced = near[near[:, 1] > VOICED_FROM, 0]
    return float(np.log2(np.median(voiced) if len(voiced) else hz))


def _analysed(buffer: FloatArray, n: int) -> FloatArray:
    """f0 in Hz, correlation and loudness [n, 3] of the first ``n`` windows of the buffer."""
    windows = np.lib.stride_tricks.sliding_window_view(buffer, WINDOW)[::HOP][:n]
    return np.concatenate([_analysed_block(windows[k : k + BLOCK_ROWS]) for k in range(0, n, BLOCK_ROWS)])


def _analysed_block(windows: FloatArray) -> FloatArray:
    hann, own = _hann()
    centred = windows - windows.mean(1, keepdims=True)
    energy = np.mean((centred * hann) ** 2, axis=1) / np.mean(hann**2)
    db = 10 * np.log10(energy + 1e-12)
    spectrum = np.fft.rfft(centred * hann, N_FFT)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, N_FFT)
    shortest = int(SAMPLE_RATE_HZ / HIGHEST_HZ)
    lags = np.arange(shortest - 1, int(SAMPLE_RATE_HZ / LOWEST_HZ) + 2)
    normal = correlation[:, lags] / (correlation[:, :1] + 1e-9) / own[lags]
    peak = (normal[:, 1:-1] >= normal[:, :-2]) & (normal[:, 1:-1] > normal[:, 2:])
    score = normal[:, 1:-1] - OCTAVE_COST * np.log2(lags[1:-1] * LOWEST_HZ / SAMPLE_RATE_HZ)
    best = np.argmax(np.where(peak, score, -1.0), axis=1) + 1
    row = np.arange(len(windows))
    before, here, after = normal[row, best - 1], normal[row, best], normal[row, best + 1]
    # Vertex of the parabola through the three values around the peak.
    bend = before - 2 * here + after
    shift = np.where(np.abs(bend) > 1e-6, 0.5 * (before - after) / np.where(bend == 0, 1, bend), 0.0)
    hz = SAMPLE_RATE_HZ / (lags[best] + np.clip(shift, -0.5, 0.5))
    found = peak.any(1) & (db > VOICED_DB)
    result = np.stack([hz, np.where(found, here, 0.0), np.clip(1 - db / QUIET_DB, 0.0, 1.0)], axis=1)
    return result.astype(np.float32)


@cache
def _hann() -> tuple[FloatArray, NDArray[np.float64]]:
    """The window [1024] and its own normalised autocorrelation [2048]."""
    hann = np.hanning(WINDOW)
    own = np.fft.irfft(np.abs(np.fft.rfft(hann, N_FFT)) ** 2, N_FFT)
    return hann.astype(np.float32), np.maximum(own / own[0], 1e-3)
