"""SyncNet (Chung and Zisserman 2016): LSE-D and LSE-C, real where syncnet_v2 is configured.

Mouths are judged on 224 x 224 face crops, five frames at a time, against 13 MFCC of the same 0.2 s.
Crop: a square of 1.8 face boxes, as run_pipeline.py cuts it, but around MediaPipe's box instead of S3FD's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.evaluate.nets.weights import Folded, read_weights
from emogene.types import SAMPLE_RATE_HZ, FloatArray

CROP_PX = 224
WINDOW = 5
REACH = 15
"""Shifts in frames that are compared, each way."""
AUDIO = (
    (0, 1, None),
    (4, 1, ((3, 3), (1, 2))),
    (8, 1, None),
    (11, 1, None),
    (14, 1, ((3, 3), (2, 2))),
    (18, 0, None),
)
"""Number, padding and pool (kernel, stride) of the sound's convolutions."""
LIPS = (
    (0, (1, 2, 2), (0, 0, 0), ((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    (4, (1, 2, 2), (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    (8, (1, 1, 1), (0, 1, 1), None),
    (11, (1, 1, 1), (0, 1, 1), None),
    (14, (1, 1, 1), (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    (18, (1, 1, 1), (0, 0, 0), None),
)  # fmt: skip
"""Number, stride, padding and pool (kernel, stride, padding) of the lips' convolutions."""


class SyncNet:
    """Embeds windows of sound and of lips."""

    def __init__(self, path: Path) -> None:
        self._weights = Folded(read_weights(path), path, eps=1e-5)

    @torch.inference_mode()
    def lips(self, crops: Tensor) -> Tensor:
        """[B, 3, 5, 224, 224] blue-green-red in 0..255 -> [B, 1024]."""
        x = crops
        for number, stride, padding, pool in LIPS:
            kernel, bias = self._weights.pair(f"netcnnlip.{number}", f"netcnnlip.{number + 1}")
            x = F.relu(F.conv3d(x, kernel, bias, stride, padding))
            if pool is not None:
                x = F.max_pool3d(x, *pool)
        return self._head(x.flatten(1), "netfclip")

    @torch.inference_mode()
    def sound(self, coefficients: Tensor) -> Tensor:
        """[B, 1, 13, 20] MFCC -> [B, 1024]."""
        x = coefficients
        for number, padding, pool in AUDIO:
            kernel, bias = self._weights.pair(f"netcnnaud.{number}", f"netcnnaud.{number + 1}")
            x = F.relu(F.conv2d(x, kernel, bias, padding=padding))
            if pool is not None:
                x = F.max_pool2d(x, *pool)
        return self._head(x.flatten(1), "netfcaud")

    def _head(self, x: Tensor, name: str) -> Tensor:
        kernel, bias = self._weights.pair(f"{name}.0", f"{name}.1")
        hidden = F.relu(F.linear(x, kernel, bias))
        return F.linear(hidden, self._weights[f"{name}.3.weight"], self._weights[f"{name}.3.bias"])


def sound_windows(coefficients: FloatArray, count: int) -> Tensor:
    """[count, 1, 13, 20] windows that begin with each frame, from MFCC [N, 13] at 100 Hz."""
    flat = torch.from_numpy(coefficients.T.copy())
    return torch.stack([flat[None, :, 4 * frame : 4 * frame + 20] for frame in range(count)])


def shift_distances(lips: Tensor, sound: Tensor, reach: int = REACH) -> Tensor:
    """[2 reach + 1, N] distances of lip windows [N, 1024] from sound windows -reach..reach frames later.

    Beyond the ends the sound counts as zeros, as published.
    """
    padded = F.pad(sound, (0, 0, reach, reach))
    return torch.stack(
        [F.pairwise_distance(lips, padded[shift : shift + len(lips)]) for shift in range(2 * reach + 1)]
    )


def lse_of(distances: Tensor) -> tuple[float, float, int]:
    """LSE-D, LSE-C and offset in frames from the mean distance at each shift [2 reach + 1].

    LSE-D is the least mean distance, LSE-C the median over shifts minus it. The offset is SyncNet's: by how
    many frames the sound runs ahead of the lips.
    """
    least, index = distances.min(0)
    return float(least), float(distances.median() - least), (len(distances) - 1) // 2 - int(index)


def mfcc(samples: FloatArray) -> FloatArray:
    """[N, 13] at 100 Hz of sound at 16 kHz, as python_speech_features gives by default.

    25 ms windows without a taper, 26 mel bands, log energy in place of the first coefficient, lifter 22,
    on 16-bit integer amplitudes.
    """
    signal = np.clip(np.round(samples.astype(np.float64) * 32768), -32768, 32767)
    signal = np.append(signal[0], signal[1:] - 0.97 * signal[:-1])
    size, step = SAMPLE_RATE_HZ * 25 // 1000, SAMPLE_RATE_HZ // 100
    count = 1 + max(0, int(np.ceil((len(signal) - size) / step)))
    signal = np.append(signal, np.zeros(max(0, (count - 1) * step + size - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, size)[::step][:count]
    power = np.abs(np.fft.rfft(frames, 512)) ** 2 / 512
    energy = np.maximum(power.sum(1), np.finfo(float).eps)
    bands = np.log(np.maximum(power @ _mel_bands().T, np.finfo(float).eps))
    from scipy.fft import dct

    coefficients = dct(bands, type=2, axis=1, norm="ortho")[:, :13]
    coefficients *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    coefficients[:, 0] = np.log(energy)
    return np.asarray(coefficients, np.float32)


def _mel_bands(count: int = 26, size: int = 512) -> np.ndarray:
    """[26, 257] triangles between 0 and 8 kHz, edges on whole bins."""
    top = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, count + 2) / 2595) - 1)
    bins = np.floor((size + 1) * edges / SAMPLE_RATE_HZ)
    bank = np.zeros((count, size // 2 + 1))
    for band in range(count):
        low, middle, high = bins[band : band + 3]
        rising, falling = np.arange(int(low), int(middle)), np.arange(int(middle), int(high))
        bank[band, rising] = (rising - low) / (middle - low)
        bank[band, falling] = (high - falling) / (high - middle)
    return bank
