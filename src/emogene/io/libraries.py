"""Which media libraries this installation reads and writes with."""

from __future__ import annotations

from dataclasses import dataclass

import av

NEEDED = ("libx264", "aac")


@dataclass(frozen=True, slots=True)
class MediaLibraries:
    """PyAV's version, the FFmpeg libraries inside it, and needed encoders that it lacks."""

    version: str
    libraries: dict[str, str]
    missing: tuple[str, ...]


def media_libraries() -> MediaLibraries:
    """Ask PyAV."""
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    missing = tuple(name for name in NEEDED if name not in av.codecs_available)
    return MediaLibraries(av.__version__, libraries, missing)
