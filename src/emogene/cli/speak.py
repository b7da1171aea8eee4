"""`emogene speak`: the main job."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro


def speak(
    audio: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("speech.mp4"),
    avatar: str | None = None,
    emotion: str = "neutral",
    intensity: float = 1.0,
    seed: int = 0,
    size: Literal[256, 512] = 512,
    quality: Literal["draft", "standard", "high"] = "standard",
    pose: Literal["sampled", "take", "paper", "still"] = "sampled",
    background: str = "",
    mouth: float = 1.0,
    features: str = "emogene",
    stats: bool = False,
) -> None:
    """Make a video of an avatar speaking your audio with an emotion.

    Args:
        audio: Anything that holds sound: wav, flac, mp3, m4a, or a video; any rate, mono or stereo.
        output: The mp4 to write (H.264 and AAC, 25 fps).
        avatar: Name of an avatar (`emogene avatars` lists them), or path of a bundle; the built-in one if not
            given.
        emotion: A label (happy), a dose (happy:0.7), a mixture (happy:0.5+surprise:0.3), a timeline
            (0:neutral, 2.5:happy:0.8, 6:sad), a JSON or WebVTT file, the spoken text with tags
            ("[happy:0.7] I found it! [sad] And lost it."), or auto:FOLDER (see `emogene train voice`).
        intensity: Factor on every dose, 0 to 1.5.
        seed: Same seed, same machine: same frames.
        size: Width and height of the video in pixels.
        quality: draft is fastest; high renders the head pixel by pixel.
        pose: Head motion: sampled follows the speech, take replays the person's own, paper is the paper's
            idle sampling, still keeps the rest pose.
        background: A picture, or a colour such as #00b140; empty keeps the avatar's own.
        mouth: Factor on the amplitude of the mouth, 0 to 2.
        features: Speech features: emogene (built in), which the motion that ships has heard; through whisper
            its mouth moves a third less. The others are for motion that you trained on them.
        stats: Print seconds per stage, real-time factor and peak memory as JSON.
    """
    from emogene.avatar import BUILT_IN
    from emogene.film import Film, film

    report = film(
        Film(
            audio=audio,
            output=output,
            avatar=avatar or BUILT_IN,
            emotion=emotion,
            intensity=intensity,
            seed=seed,
            size=size,
            quality=quality,
            pose=pose,
            background=background,
            mouth=mouth,
            features=features,
        ),
        progress=_progress() if sys.stderr.isatty() else None,
    )
    if stats:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    elif sys.stdout.isatty():
        sys.stdout.write(
            f"wrote {output} ({report['seconds_of_video']:.1f} s, {report['rtf']:.2f} x real time)\n"
        )


def _progress() -> Callable[[int, int], None]:
    """A bar with the time that is left, on standard error; called with (frames done, frames in all)."""
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("speaking", total=None)
    bar.start()

    def advance(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()

    return advance
