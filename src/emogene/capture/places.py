"""Can the results be written, is there room for the work? Asked before twenty minutes are spent."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from emogene.errors import UserError

BYTES_PER_FRAME = 1_250_000
"""A decoded frame with its labels (1.05 MB), and what is kept of it as files."""
BYTES_PER_DRAWING = 700_000
MOST_DRAWINGS = 1000
"""The portrait's training draws so many frames at most."""


def check_writable(folder: Path, advice: str) -> None:
    """Make a folder and write to it.

    Args:
        folder: where results shall lie.
        advice: what to do if they cannot, for the error.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}; {advice}") from None


def check_room(folder: Path, n_frames: int) -> None:
    """Is there room for the training of a portrait from so many frames?

    Raises:
        UserError: there is not.
    """
    needed = n_frames * BYTES_PER_FRAME + min(n_frames, MOST_DRAWINGS) * BYTES_PER_DRAWING
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"the work in {folder} needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free;"
            " free some space or choose another folder with --work"
        )
