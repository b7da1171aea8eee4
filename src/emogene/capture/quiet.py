"""Loading MediaPipe and LiteRT without the lines they write to standard error from C++."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what native code writes to standard error; Python's own errors still raise.

    No logging setting of theirs reaches these messages, so the file descriptor is turned away for the
    short time of loading and the first inference.
    """
    try:
        saved = os.dup(2)
    except OSError:
        # No standard error to keep clean.
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
