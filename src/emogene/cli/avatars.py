"""`emogene avatars`: which people can speak."""

from __future__ import annotations

import sys


def avatars() -> None:
    """List the avatars that --avatar can name, with what their cards say."""
    from emogene.avatar import list_avatars
    from emogene.io.files import read_json

    for folder in list_avatars():
        card = read_json(folder / "avatar.json")
        kind = "synthetic" if card.get("synthetic") else "real person, consent kept in the bundle"
        sys.stdout.write(f"{folder.name:<16} {kind:<42} {folder}\n")
