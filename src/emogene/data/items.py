"""One recording of a data set, before anything was computed from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emogene.types import EMOTIONS

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mpg", ".mpeg", ".mov", ".avi", ".webm", ".flv", ".m4v")


@dataclass(frozen=True, kw_only=True)
class Item:
    """A video of one person speaking, and what the data set says about it.

    name: unique within the data set, safe as a folder name. video: file with the pictures (and the sound,
    unless ``sound`` is given). clip: set instead when the data set already consists of clip folders.
    emotion: one of EMOTIONS, None where unknown. intensity: 0..1. words: (start_s, end_s, word).
    """

    name: str
    speaker: str
    video: Path | None = None
    sound: Path | None = None
    clip: Path | None = None
    emotion: str | None = None
    intensity: float = 1.0
    text: str = ""
    words: tuple[tuple[float, float, str], ...] = ()
    licence: str = ""

    def __post_init__(self) -> None:
        if (self.video is None) == (self.clip is None):
            raise ValueError(f"{self.name}: exactly one of video and clip must be given")
        if self.emotion is not None and self.emotion not in EMOTIONS:
            raise ValueError(f"{self.name}: emotion must be one of {EMOTIONS}, not {self.emotion!r}")


class Source(Protocol):
    """A data set's layout: how to list its recordings.

    name: on the command line. layout: the folders it expects, shown to the user. licence: short.
    """

    name: str
    layout: str
    licence: str

    def items(self, root: Path) -> Iterator[Item]:
        """Yield the recordings under ``root`` in a fixed order."""
        ...


def videos(folder: Path) -> list[Path]:
    """All video files at or below ``folder``, sorted; hidden files are left out."""
    found = (path for path in Path(folder).rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    return sorted(path for path in found if not path.name.startswith("."))
