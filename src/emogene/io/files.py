"""Files that are either whole or absent: everything is written beside its place, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emogene.errors import FormatError, UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to ``path`` if the block succeeds."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another place with -o") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a result is an ordinary file of the user.
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free some space") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; it takes the place of ``path`` if the block succeeds."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another place") from None
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            retired = temporary.with_name(temporary.name + ".old")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file is the user's error."""
    try:
        content = json.loads(Path(path).read_text())
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise FormatError(f"{path} is not valid JSON ({error}); it may be cut off, get it again") from None
    if not isinstance(content, dict):
        raise FormatError(f"{path} must hold a JSON object")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def check_format_version(content: dict[str, Any], known: int, path: Path) -> None:
    """Refuse a file whose format_version is missing or newer than ``known``."""
    version = content.get("format_version")
    if not isinstance(version, int):
        raise FormatError(f"{path} has no format_version: it is not a file of emogene, or it is damaged")
    if version > known:
        raise FormatError(
            f"{path} has format {version}, newer than this emogene reads ({known}); upgrade emogene"
        )


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
