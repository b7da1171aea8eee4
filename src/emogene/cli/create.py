"""`emogene create`: an avatar of a person from a short video."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro


def create(
    video: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    name: str = "",
    consent: str = "",
    check: bool = False,
    quality: Literal["draft", "standard", "high"] = "standard",
    minutes: float = 0.0,
    replace: bool = False,
    work: Path | None = None,
    keep_work: bool = False,
) -> None:
    """Make an avatar of a person from a video of them speaking.

    Best: one person, one to three minutes, head and shoulders, still camera, light from the front, some
    pauses with the mouth shut. Stopped early, the same command goes on where it was.

    Args:
        video: The video file; any size, rate and rotation.
        name: What the avatar will be called.
        consent: The statement of the person shown; it is kept in the avatar.
        check: Only look whether the footage is good, and say what is wrong with it.
        quality: How long the portrait is trained: draft 3 minutes; standard about 18 minutes and high
            about half an hour on two free cores.
        minutes: Fit the training into so many minutes on this machine instead.
        replace: Replace an avatar of that name.
        work: Folder for the intermediate results (default: in the user's cache folder).
        keep_work: Keep the intermediate results when done.
    """
    if check:
        _check(video)
        return
    _create(video, name, consent, quality, minutes, replace=replace, work=work, keep_work=keep_work)


def _check(video: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from emogene.capture.preflight import check as check_footage

    with _Progress(lines=False) as progress:
        report = check_footage(video, progress)
    colours = {"error": "red", "warning": "yellow", "good": "green"}
    table = Table("", "what", "finding", box=None, pad_edge=False)
    for finding in report.findings:
        mark = f"[{colours[finding.level]}]{finding.level}[/]"
        table.add_row(mark, finding.topic, finding.sentence)
    console = Console()
    console.print(table)
    if not report.errors:
        console.print(f"{video.name} can be used ({len(report.warnings)} warnings)", highlight=False)
    report.raise_errors(listed=True)


def _create(
    video: Path,
    name: str,
    consent: str,
    quality: Literal["draft", "standard", "high"],
    minutes: float,
    *,
    replace: bool,
    work: Path | None,
    keep_work: bool,
) -> None:
    import shutil

    from emogene.avatar import user_folder
    from emogene.capture.person import Order, create_avatar
    from emogene.errors import UserError

    if not name:
        raise UserError("the avatar needs a name: add --name NAME")
    folder = user_folder() / name
    work = _work_folder(name) if work is None else work
    order = Order(
        video=video, name=name, consent=consent, folder=folder, work=work, quality=quality, minutes=minutes
    )
    if (folder / "avatar.json").exists() and not replace:
        raise UserError(f"there is an avatar {name!r} in {folder}; choose another --name or add --replace")
    with _Progress() as progress:
        report = create_avatar(order, progress)
    if not keep_work:
        shutil.rmtree(work, ignore_errors=True)
    seconds = float(report["capture_s"]) + float(report["portrait_s"])
    sys.stdout.write(f"created {name} in {seconds / 60:.1f} min: {folder}\n")
    sys.stdout.write(f"try: emogene speak speech.wav --avatar {name} -o {name}.mp4\n")


def _work_folder(name: str) -> Path:
    import os

    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "emogene" / "create" / name


class _Progress:
    """On a terminal one bar per step with the time that is left; else a line per finished step, or none."""

    def __init__(self, *, lines: bool = True) -> None:
        self._plain, self._lines = not sys.stderr.isatty(), lines
        self._begun: dict[str, float] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> Callable[[str, int, int], None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=self._plain,
        )
        self._tasks: dict[str, object] = {}
        self._bars.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _advance(self, step: str, done: int, total: int) -> None:
        if self._plain:
            if self._lines:
                self._line(step, done, total)
            return
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=max(total, done))  # type: ignore[arg-type]

    def _line(self, step: str, done: int, total: int) -> None:
        """Say once that a step is done and how long it took: logs are read, too."""
        started = self._begun.setdefault(step, time.monotonic())
        if done >= total and step not in self._finished:
            self._finished.add(step)
            sys.stderr.write(f"{step}: {time.monotonic() - started:.0f} s\n")
            sys.stderr.flush()
