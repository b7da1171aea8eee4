"""Steps of a longer job that are done once: each is keyed by the content of what it depends on.

A step writes its files below the job's folder and then a record `steps/NAME.json` with its key. The key is
a hash of the step's parameters and of the keys of the steps before it, down to the sha256 of the video, so
that running the job again resumes, and changing one step repeats only what depends on it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from emogene.errors import UserError
from emogene.io.files import read_json, write_json

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the step's name, how much is done and how much there is."""


def no_progress(step: str, done: int, total: int) -> None:
    """Say nothing."""


class Steps:
    """The steps of one job in one folder."""

    def __init__(self, folder: Path, progress: Progress = no_progress) -> None:
        self.folder = Path(folder)
        self._progress = progress

    def run(
        self,
        name: str,
        depends_on: Iterable[Any],
        work: Callable[[], dict[str, Any] | None],
        *,
        outputs: Iterable[Path] = (),
    ) -> str:
        """Do a step unless it is done already; return its key.

        Args:
            name: of the step, and of its record.
            depends_on: parameters (JSON values, frozen configs) and keys of earlier steps.
            work: does the step; what it returns is kept in the record (see `facts`).
            outputs: files that must still be there for the step to count as done.
        """
        key = content_key(name, *depends_on)
        record = self.folder / "steps" / f"{name}.json"
        if self._done(record, key, outputs):
            logger.info("%s: done before", name)
            return key
        record.unlink(missing_ok=True)
        started = time.monotonic()
        facts = work() or {}
        seconds = round(time.monotonic() - started, 2)
        write_json(record, {"key": key, "seconds": seconds, "facts": facts})
        logger.info("%s: %.1f s", name, seconds)
        return key

    def facts(self, name: str) -> dict[str, Any]:
        """What the step's work returned."""
        return dict(read_json(self.folder / "steps" / f"{name}.json")["facts"])

    def seconds(self) -> dict[str, float]:
        """How long every step took when it was done."""
        records = sorted((self.folder / "steps").glob("*.json"))
        return {record.stem: float(read_json(record)["seconds"]) for record in records}

    def counted(self, name: str, items: Iterable[Any], total: int) -> Iterator[Any]:
        """Pass items on and report progress."""
        return counted(self._progress, name, items, total)

    def _done(self, record: Path, key: str, outputs: Iterable[Path]) -> bool:
        if not record.exists() or not all(output.exists() for output in outputs):
            return False
        try:
            return bool(read_json(record).get("key") == key)
        except UserError:
            return False


def counted(progress: Progress, name: str, items: Iterable[Any], total: int) -> Iterator[Any]:
    """Pass items on, reporting how many of ``total`` have been dealt with; ends at the total."""
    progress(name, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress(name, min(done, total), total)
    progress(name, total, total)


def content_key(*parts: Any) -> str:
    """Short hash of JSON values and config dataclasses."""
    plain = [asdict(part) if is_dataclass(part) and not isinstance(part, type) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:24]
