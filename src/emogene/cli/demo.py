"""`emogene demo`: the first minute, with nothing but the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

SAMPLE = "hello"


def demo(
    *,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo.mp4"),
    seed: int = 0,
) -> None:
    """Make demo.mp4: the built-in persona speaks the bundled sample through several emotions.

    Args:
        output: The mp4 to write.
        seed: Same seed, same frames.
    """
    from emogene.film import Film, film

    samples = Path(__file__).parents[1] / "weights" / "samples"
    report = film(
        Film(
            audio=samples / f"{SAMPLE}.flac",
            emotion=str(samples / f"{SAMPLE}.emotion.json"),
            output=output,
            seed=seed,
        )
    )
    seconds = report["seconds"]["total"]
    sys.stdout.write(f"wrote {output}: {report['seconds_of_video']:.1f} s of video in {seconds:.1f} s\n")
