"""The extension point of speech features: sound -> [T50, F] at 50 Hz, whole or as a stream.

T50 = ceil(S / 320): row t describes the sound around t * 20 ms. A stream gives exactly the rows of the
whole, however the sound is cut into pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emogene.errors import UserError
from emogene.types import FEATURE_HZ, SAMPLE_RATE_HZ, Audio, FloatArray

HOP = SAMPLE_RATE_HZ // FEATURE_HZ
"""Samples per feature row: 320."""


class FeatureStream(Protocol):
    """Features of sound that arrives in pieces."""

    def push(self, samples: FloatArray) -> FloatArray:
        """Take mono 16 kHz samples [S], any number; return the rows [n, F] that became final."""
        ...

    def flush(self) -> FloatArray:
        """The sound is over: return the rows still owed. The stream takes no more samples."""
        ...


class SpeechFeatures(Protocol):
    """A feature extractor. name: as in load_extractor. dim: F. look_ahead_s: sound needed beyond a row."""

    name: str
    dim: int
    look_ahead_s: float

    def __call__(self, audio: Audio) -> FloatArray:
        """Features [T50, F] of 16 kHz sound."""
        ...

    def stream(self) -> FeatureStream:
        """A new stream with a state of its own."""
        ...


EXTRACTORS = {
    "emogene": "emogene.features.student:load_student",
    "whisper": "emogene.features.whisper:load_whisper",
    "whisper-tiny": "emogene.features.whisper:load_whisper_tiny",
    "hubert": "emogene.features.hubert:load_hubert",
    "mel": "emogene.features.mel:load_mel",
}
"""name -> "module:function", imported when asked for; the function takes an optional path."""


def load_extractor(name: str = "emogene", path: Path | None = None) -> SpeechFeatures:
    """Load a feature extractor.

    Args:
        name: emogene (small, streams, ships with the package; stands in for whisper), whisper (base
            encoder, layer 4, 512-d), whisper-tiny (384-d), hubert (the paper's, needs ``path``), mel.
        path: weights to use instead of the shipped or fetched ones.

    Raises:
        UserError: no extractor of that name. AssetError, FormatError: its weights cannot be had or read.
    """
    if name not in EXTRACTORS:
        raise UserError(f"no speech features are called {name!r}; choose from {', '.join(EXTRACTORS)}")
    module, function = EXTRACTORS[name].split(":")
    load: Callable[[Path | None], SpeechFeatures] = getattr(import_module(module), function)
    return load(None if path is None else Path(path))


def n_rows(n_samples: int) -> int:
    """Feature rows of so many samples."""
    return -(-n_samples // HOP)


def checked_samples(audio: Audio) -> FloatArray:
    """The samples of 16 kHz sound; other rates are a programming error."""
    if audio.rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"features need {SAMPLE_RATE_HZ} Hz sound, not {audio.rate_hz}; use read_audio")
    return audio.samples


class BlockStream:
    """Cut a stream into blocks of fixed absolute position, each with context on both sides.

    Rows [k * core, (k + 1) * core) are computed by ``encode(samples, skip, n)``: samples from ``left``
    rows before the block to ``right`` rows after it, cut off at the ends of the sound; of the result,
    ``n`` rows after the first ``skip`` are wanted. As the cuts do not depend on how the sound arrives,
    neither do the features.
    """

    def __init__(self, encode: Callable[[FloatArray, int, int], FloatArray], dim: int, layout: Any) -> None:
        self._encode, self._dim, self._layout = encode, dim, layout
        self._buffer: FloatArray = np.zeros(0, np.float32)
        self._start = 0  # row at which the buffer starts
        self._next = 0  # first row not yet given

    def push(self, samples: FloatArray) -> FloatArray:
        self._buffer = np.concatenate([self._buffer, np.asarray(samples, np.float32)])
        rows = []
        while len(self._buffer) >= (self._next + self._layout.core + self._layout.right - self._start) * HOP:
            rows.append(self._block(self._next + self._layout.core))
        return np.concatenate(rows) if rows else np.zeros((0, self._dim), np.float32)

    def flush(self) -> FloatArray:
        total = self._start + n_rows(len(self._buffer))
        rows = [np.zeros((0, self._dim), np.float32)]
        while self._next < total:
            rows.append(self._block(min(self._next + self._layout.core, total)))
        self._buffer = np.zeros(0, np.float32)
        return np.concatenate(rows)

    def _block(self, end: int) -> FloatArray:
        first = self._next - self._start
        window = self._buffer[: (end - self._start + self._layout.right) * HOP]
        rows = self._encode(window, first, end - self._next)
        self._next = end
        keep = max(0, end - self._layout.left)
        self._buffer = self._buffer[(keep - self._start) * HOP :]
        self._start = keep
        return rows
