"""`emogene evaluate`: measure videos, avatars and whole systems."""

from __future__ import annotations

SUBCOMMANDS: dict[str, object] = {}
