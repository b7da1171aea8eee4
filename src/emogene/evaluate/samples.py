"""Small pictures and videos of a system for a report that is one file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from emogene.errors import UserError
from emogene.io.audio import read_audio
from emogene.io.images import resize, write_rgb
from emogene.io.video import VideoWriter, probe_video, read_video
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, ByteArray

THUMB_PX, PREVIEW_PX, PREVIEW_S = 128, 192, 4


def thumbnail(video: Path) -> bytes | None:
    """JPEG of the video's middle; None where it cannot be read."""
    try:
        count = max(1, probe_video(video).n_frames)
        picture: ByteArray | None = None
        for index, (_, frame) in enumerate(read_video(video)[1]):
            picture = frame
            if index >= count // 2:
                break
    except UserError:
        return None
    if picture is None:
        return None
    with tempfile.TemporaryDirectory(prefix="emogene-") as folder:
        path = Path(folder) / "thumb.jpg"
        write_rgb(path, _square(picture, THUMB_PX), quality=80)
        return path.read_bytes()


def preview(video: Path) -> bytes | None:
    """mp4 of the first seconds at a size that fits into a page; None where it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="emogene-") as folder:
        path = Path(folder) / "preview.mp4"
        try:
            sound = None
            if probe_video(video).has_audio:
                samples = read_audio(video).samples[: PREVIEW_S * FPS * SAMPLES_PER_FRAME]
                sound = Audio(samples) if len(samples) else None
            with VideoWriter(path, (PREVIEW_PX, PREVIEW_PX), audio=sound, crf=30) as writer:
                for index, (_, frame) in enumerate(read_video(video, FPS)[1]):
                    if index >= PREVIEW_S * FPS:
                        break
                    writer.write(_square(frame, PREVIEW_PX))
        except UserError:
            return None
        return path.read_bytes()


def _square(picture: ByteArray, size: int) -> ByteArray:
    """The middle square of a picture at this size."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(np.ascontiguousarray(picture[top : top + side, left : left + side]), size, size)
