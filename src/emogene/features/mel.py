"""Log-mel spectra: Whisper's input, the student's input, and the baseline features `mel`.

Sound [S] at 16 kHz -> [M, 80] at 100 Hz. Frame m is centred on sample 160 m (25 ms Hann window), with
silence beyond the ends, so a frame depends on nothing further than 12.5 ms away.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emogene.features.extractor import BlockStream, checked_samples, n_rows
from emogene.features.layout import BlockLayout
from emogene.types import SAMPLE_RATE_HZ, Audio, FloatArray

N_MELS = 80
N_FFT = 400
MEL_HOP = 160
FLOOR = 1e-10
"""Smallest mel power before the logarithm (Whisper)."""
CONTEXT_ROWS = 5
"""The baseline features join a row with this many neighbours on each side (10 ms each)."""


@cache
def mel_filters() -> Tensor:
    """[80, 201] Slaney mel bands of equal area over 0 to 8 kHz, as Whisper's."""
    mels = np.linspace(_mel_of_hz(0.0), _mel_of_hz(SAMPLE_RATE_HZ / 2), N_MELS + 2)
    edges = _hz_of_mel(mels)
    bins = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE_HZ / N_FFT
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(filters.astype(np.float32))


def mel_power(samples: Tensor) -> Tensor:
    """Mel power [..., M, 80] of sound that already has N_FFT / 2 samples of context on both sides.

    M = (S - 400) // 160 + 1.
    """
    frames = samples.unfold(-1, N_FFT, MEL_HOP) * torch.hann_window(N_FFT)
    power: Tensor = torch.fft.rfft(frames).abs() ** 2
    return power @ mel_filters().T


def log_mel(samples: Tensor, n_frames: int) -> Tensor:
    """log10 mel power [..., n_frames, 80] of sound with silence around it."""
    need = (n_frames - 1) * MEL_HOP + N_FFT - N_FFT // 2
    padded = torch.nn.functional.pad(samples, (N_FFT // 2, max(0, need - samples.shape[-1])))
    return mel_power(padded)[..., :n_frames, :].clamp_min(FLOOR).log10()


class MelFeatures:
    """The baseline: 11 log-mel frames (+-50 ms) per row, 880-d. For ablations, not for use."""

    name = "mel"
    dim = N_MELS * (2 * CONTEXT_ROWS + 1)
    look_ahead_s = 0.08

    def __call__(self, audio: Audio) -> FloatArray:
        stream = self.stream()
        return np.concatenate([stream.push(checked_samples(audio)), stream.flush()])

    def stream(self) -> BlockStream:
        return BlockStream(self._encode, self.dim, BlockLayout(core=50, left=4, right=4))

    def _encode(self, samples: FloatArray, skip: int, n: int) -> FloatArray:
        frames = log_mel(torch.from_numpy(samples), 2 * n_rows(len(samples)) + CONTEXT_ROWS)
        frames = torch.nn.functional.pad(frames, (0, 0, CONTEXT_ROWS, 0), value=float(np.log10(FLOOR)))
        joined = frames.unfold(0, 2 * CONTEXT_ROWS + 1, 2).flatten(1)
        return np.ascontiguousarray(joined[skip : skip + n].numpy(), dtype=np.float32)


def load_mel(path: Path | None = None) -> MelFeatures:
    """The baseline has no weights; ``path`` is ignored."""
    return MelFeatures()


def _mel_of_hz(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000)) / float(np.log(6.4))


def _hz_of_mel(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
