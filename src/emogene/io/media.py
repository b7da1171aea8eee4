"""Opening media files with PyAV: one place for its errors, the shared clock and damaged packets.

The clock of a file starts with its earliest stream, so that sound and pictures read apart stay in sync.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emogene.errors import MediaError

logger = logging.getLogger(__name__)

MAX_BAD_PACKETS = 1000
"""A file with more undecodable packets than this in a row is given up."""


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """Open a file for reading; whatever is wrong with it becomes a MediaError with one sentence."""
    import av

    path = Path(path)
    if not path.exists():
        raise MediaError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise MediaError(f"{path} is a folder; give an audio or video file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty; record or copy it again")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except PermissionError:
        raise MediaError(f"{path} cannot be read: permission denied; change its permissions") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(
            f"{path} is not a sound or video file, or it is cut off ({reason}); convert or copy it again"
        ) from None
    with container:
        # libav "plays" plain text as a terminal session.
        if container.format.name == "tty":
            raise MediaError(f"{path} is not a sound or video file but text; give a media file")
        yield container


def sound_stream(container: Any, path: Path) -> Any:
    """The first audio stream; MediaError if the file has none."""
    if not container.streams.audio:
        raise MediaError(f"{path} has no sound; give a file with an audio stream")
    return container.streams.audio[0]


def picture_stream(container: Any, path: Path) -> Any:
    """The first video stream that is not a cover picture; MediaError if the file has none."""
    stream = _picture_stream_or_none(container)
    if stream is None:
        raise MediaError(f"{path} has no pictures; give a video file")
    return stream


def clock_start_s(container: Any) -> float:
    """Time on the file's own scale at which our clock shows zero: where the earliest stream starts."""
    streams = [
        container.streams.audio[0] if container.streams.audio else None,
        _picture_stream_or_none(container),
    ]
    starts = [
        float(stream.start_time * stream.time_base)
        for stream in streams
        if stream is not None and stream.start_time is not None and stream.time_base is not None
    ]
    return min(starts, default=0.0)


def decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Frames of one stream; damaged packets are left out, and a cut-off file ends where it breaks."""
    import av

    n_bad, bad_in_a_row = 0, 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except (av.FFmpegError, OSError) as error:
            logger.warning("%s breaks off (%s); what comes before is used", path, error)
            break
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError, ValueError):
            n_bad, bad_in_a_row = n_bad + 1, bad_in_a_row + 1
            if bad_in_a_row > MAX_BAD_PACKETS:
                break
            continue
        bad_in_a_row = 0
        yield from frames
    if n_bad:
        logger.warning("%s is damaged: %d pieces could not be decoded and were left out", path, n_bad)


def _picture_stream_or_none(container: Any) -> Any:
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None
