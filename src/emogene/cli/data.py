"""`emogene data`: list the data sets that are understood, and turn one into clip folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro


def sources() -> None:
    """List the data sets that can be read, with the folders they are expected in and their licences."""
    from emogene.data.sources import SOURCES

    width = max(map(len, SOURCES)) + 2
    for name, source in SOURCES.items():
        about = (type(source).__doc__ or "").split("\n")[0]
        sys.stdout.write(f"{name:<{width}}{about}\n")
        sys.stdout.write(f"{'':<{width}}{source.layout}\n{'':<{width}}licence: {source.licence}\n")


def prepare(
    source: Annotated[str, tyro.conf.Positional],
    root: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    limit: int = 0,
    offsets: bool = True,
    retry: bool = False,
) -> None:
    """Track every recording of a data set into clip folders; run again to go on.

    Args:
        source: Its kind, see `emogene data sources`.
        root: Its folder.
        out: Folder of the clips.
        limit: Only so many recordings; 0 is all.
        offsets: Measure each recording's audio-video offset with the sync expert.
        retry: Try recordings again that failed before.
    """
    from emogene.capture.tracks import share_neutral, track_to_clip
    from emogene.data.prepare import by_speaker, offset_finder
    from emogene.data.prepare import prepare as prepare_items
    from emogene.data.sources import read_source
    from emogene.io.clip import open_clip

    items = read_source(source, root)[: limit or None]
    finder = offset_finder() if offsets and any(item.video for item in items) else None

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            sys.stderr.write(f"\r{done}/{total}" + ("\n" if done == total else ""))

    report = prepare_items(items, out, track_to_clip, find_offset=finder, retry=retry, progress=show)
    if report.new:
        clips = [open_clip(folder) for folder in report.clips if folder.is_relative_to(out)]
        for group in by_speaker(clips).values():
            share_neutral([clip.folder for clip in group])
    sys.stdout.write(f"{len(report.clips)} clips in {out}, {len(report.failures)} recordings left out\n")
    for name, reason in list(report.failures.items())[:5]:
        sys.stdout.write(f"  {name}: {reason}\n")


def synthetic(
    *,
    out: Path,
    hours: float = 2.0,
    speakers: int = 64,
    seed: int = 0,
    workers: int = 2,
    video: bool = False,
    minutes: float = 1.0,
    size: int = 512,
) -> None:
    """Build the synthetic corpus: speech synthesis, exact landmarks, every emotion; run again to go on.

    Args:
        out: Folder of the clips.
        hours: Length of all clips together.
        speakers: Number of different people.
        seed: Chooses people, sentences and emotions.
        workers: Processes.
        video: Film the built-in personas instead: clips with pictures, masks and background.
        minutes: With --video: length of all clips together; a minute of 512 px costs 11 CPU minutes.
        size: With --video: edge of the pictures in pixels.
    """
    if video:
        _film(out, minutes, seed, size)
        return
    from emogene.persona.corpus import build_corpus

    def show(built: float, wanted: float) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{built:.2f} of {wanted:g} hours")

    count = build_corpus(out, hours, seed=seed, speakers=speakers, workers=workers, on_progress=show)
    sys.stdout.write(f"{count} clips in {out}\n")


def _film(out: Path, minutes: float, seed: int, size: int) -> None:
    from emogene.persona.video_corpus import build_video_corpus

    def show(made: float, wanted: float) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{made:.2f} of {wanted:g} minutes")

    count = build_video_corpus(out, minutes, seed=seed, size_px=size, on_progress=show)
    sys.stdout.write(f"{count} clips in {out}\n")


SUBCOMMANDS = {"sources": sources, "prepare": prepare, "synthetic": synthetic}
