"""Sound in and out: anything PyAV decodes -> mono float32 [S] at one rate; 16-bit wav out.

Reading streams: memory stays flat whatever the length. The samples lie on the clock of the file (see
``io.media``), so silence is put where a stream starts late or has a hole.
"""

from __future__ import annotations

import logging
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.errors import MediaError
from emogene.io.files import atomic_path
from emogene.io.media import clock_start_s, decoded, open_media, sound_stream
from emogene.types import SAMPLE_RATE_HZ, Audio, FloatArray

logger = logging.getLogger(__name__)

BLOCK_S = 1.0
"""Length of the blocks that stream_audio yields."""
SMALLEST_HOLE_S, LARGEST_HOLE_S = 0.08, 120.0
"""Holes in the time stamps of this size become silence; smaller is jitter, larger is a broken clock."""
CLIPPED_LEVEL, CLIPPED_SHARE = 0.9995, 1e-3
"""Warn when more than this share of the samples is at full scale."""


def read_audio(path: Path, rate_hz: int = SAMPLE_RATE_HZ) -> Audio:
    """Decode the sound of any audio or video file to mono at ``rate_hz``.

    Raises MediaError when the file has no decodable sound.
    """
    return Audio(np.concatenate(list(stream_audio(path, rate_hz))), rate_hz)


def stream_audio(path: Path, rate_hz: int = SAMPLE_RATE_HZ) -> Iterator[FloatArray]:
    """Like read_audio, as float32 blocks of about a second in bounded memory."""
    path = Path(path)
    n_samples = 0
    for block in _regrouped(_resampled(_Reader(path), rate_hz), int(BLOCK_S * rate_hz)):
        n_samples += len(block)
        yield block
    if n_samples == 0:
        raise MediaError(f"{path} holds no decodable sound; record or copy it again")


def probe_duration_s(path: Path) -> float:
    """Length of the sound in seconds, from the header where it says so, else by decoding."""
    with open_media(path) as container:
        stream = sound_stream(container, path)
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if container.duration is not None:
            return float(container.duration) / 1e6
    return sum(len(block) for block in stream_audio(path)) / SAMPLE_RATE_HZ


def write_wav(path: Path, audio: Audio) -> None:
    """Write 16-bit mono PCM atomically; samples outside [-1, 1] are clipped."""
    pcm = np.round(np.clip(audio.samples, -1.0, 1.0) * 32767).astype("<i2")
    with atomic_path(path) as temporary, wave.open(str(temporary), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(audio.rate_hz)
        stream.writeframes(pcm.tobytes())


def resample(samples: FloatArray, rate_hz: int, new_rate_hz: int) -> FloatArray:
    """Resample a whole mono signal."""
    pieces = list(_resampled([(samples, rate_hz)], new_rate_hz))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


class _Reader:
    """Decoded mono pieces with their rate, repaired, holes filled; warnings are given once at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_samples = self.n_repaired = self.n_clipped = 0

    def __iter__(self) -> Iterator[tuple[FloatArray, int]]:
        with open_media(self.path) as container:
            stream = sound_stream(container, self.path)
            promised_s = float((stream.duration or 0) * (stream.time_base or 0))
            clock_s, start_s = 0.0, clock_start_s(container)
            for frame in decoded(container, stream, self.path):
                if frame.samples == 0 or not frame.sample_rate:
                    continue
                hole_s = 0.0 if frame.time is None else frame.time - start_s - clock_s
                if SMALLEST_HOLE_S < hole_s < LARGEST_HOLE_S:
                    yield np.zeros(round(hole_s * frame.sample_rate), np.float32), frame.sample_rate
                    clock_s += hole_s
                clock_s += frame.samples / frame.sample_rate
                yield self._repaired(_mono(frame)), frame.sample_rate
        if self.n_samples and clock_s < 0.98 * promised_s - 0.5:
            logger.warning("%s is cut off: %.1f s of %.1f s found", self.path, clock_s, promised_s)
        self._warn()

    def _repaired(self, samples: FloatArray) -> FloatArray:
        self.n_samples += len(samples)
        finite = np.isfinite(samples)
        if not finite.all():
            self.n_repaired += int(np.count_nonzero(~finite))
            samples = np.where(finite, samples, np.float32(0))
        self.n_clipped += int(np.count_nonzero(np.abs(samples) >= CLIPPED_LEVEL))
        return np.clip(samples, -1.0, 1.0)

    def _warn(self) -> None:
        if self.n_repaired:
            logger.warning(
                "%s: %d samples were not numbers; silence takes their place", self.path, self.n_repaired
            )
        share = self.n_clipped / max(1, self.n_samples)
        if share > CLIPPED_SHARE:
            logger.warning(
                "%s: %.1f %% of the samples are clipped; record with less gain for better lips",
                self.path,
                100 * share,
            )


def _mono(frame: Any) -> FloatArray:
    """One decoded frame of any sample format and layout -> float32 [S] in [-1, 1]."""
    channels: NDArray[np.float32]
    array: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, len(frame.layout.channels)).T
    if array.dtype == np.uint8:
        channels = (array.astype(np.float32) - np.float32(128)) / np.float32(128)
    elif array.dtype.kind == "i":
        channels = array.astype(np.float32) / np.float32(2.0 ** (8 * array.itemsize - 1))
    else:
        channels = array.astype(np.float32)
    if len(channels) == 1:
        return np.asarray(channels[0], np.float32)
    weights = np.array([_loudness(channel.name) for channel in frame.layout.channels], np.float32)
    if not weights.any():
        weights[:] = 1
    # A channel with broken samples must not spoil the others.
    return np.asarray((weights / weights.sum()) @ np.nan_to_num(channels, posinf=1, neginf=-1), np.float32)


def _loudness(channel: str) -> float:
    """Share of a loudspeaker channel in the mono sum: the voice is in front."""
    if channel == "LFE":
        return 0.0
    return 1.0 if channel in ("FL", "FR", "FC", "MONO") else 0.4


def _resampled(pieces: Iterable[tuple[FloatArray, int]], rate_hz: int) -> Iterator[FloatArray]:
    """Bring pieces of possibly changing rate to one rate, without seams between pieces of equal rate."""
    import soxr

    converter: Any = None
    current_hz = 0
    nothing = np.zeros(0, np.float32)
    for samples, piece_hz in pieces:
        if piece_hz != current_hz:
            if converter is not None:
                yield _unclipped(converter.resample_chunk(nothing, last=True))
            current_hz = piece_hz
            converter = (
                None if piece_hz == rate_hz else soxr.ResampleStream(piece_hz, rate_hz, 1, dtype="float32")
            )
        yield samples if converter is None else _unclipped(converter.resample_chunk(samples))
    if converter is not None:
        yield _unclipped(converter.resample_chunk(nothing, last=True))


def _unclipped(samples: FloatArray) -> FloatArray:
    """A resampler overshoots at clipped peaks; keep the promise of [-1, 1]."""
    return np.clip(samples, -1.0, 1.0)


def _regrouped(pieces: Iterable[FloatArray], size: int) -> Iterator[FloatArray]:
    """Collect small pieces to blocks of at least ``size`` samples."""
    waiting: list[FloatArray] = []
    n = 0
    for piece in pieces:
        waiting.append(piece)
        n += len(piece)
        if n >= size:
            yield np.concatenate(waiting)
            waiting, n = [], 0
    if n:
        yield np.concatenate(waiting)
