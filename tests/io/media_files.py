"""Small media files of many kinds, written with PyAV for the tests of io."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def tone(seconds: float, rate_hz: int, hz: float = 220.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def write_sound(path: Path, channels: np.ndarray, rate_hz: int, codec: str, sample_format: str) -> Path:
    """channels: [C, S] float. Encoded by ``codec`` from ``sample_format``."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    dtype, scale = {"u8": (np.uint8, 127), "s16": (np.int16, 32767), "s32": (np.int32, 2**31 - 129)}.get(
        sample_format.rstrip("p"), (np.float64 if sample_format.startswith("dbl") else np.float32, 1)
    )
    data = channels * scale
    data = (data + 128 if sample_format.startswith("u8") else data).astype(dtype)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.codec_context.format = sample_format
        for start in range(0, data.shape[1], 1024):
            block = data[:, start : start + 1024]
            block = block if sample_format.endswith("p") else block.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block), format=sample_format, layout=layout
            )
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbered(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture whose grey value tells its number; the top left corner is red."""
    image = np.full((height, width, 3), 20 + 8 * (index % 28), np.uint8)
    image[: height // 4, : width // 4] = (220, 20, 20)
    return image


def number_of(image: np.ndarray) -> int:
    return round((float(image[image.shape[0] // 2, image.shape[1] // 2].mean()) - 20) / 8)


def write_pictures(
    path: Path,
    times_s: list[float],
    width: int = 64,
    height: int = 48,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    sound: np.ndarray | None = None,
) -> Path:
    """Numbered pictures at the given times, optional 16 kHz sound from time 0."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, pixel_format
        context.time_base = stream.time_base = Fraction(1, 1000)
        audio = None if sound is None else container.add_stream("aac", rate=16000, layout="mono")
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(numbered(index, width, height), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None and sound is not None:
            for start in range(0, len(sound), 1024):
                block = np.ascontiguousarray(sound[None, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path
