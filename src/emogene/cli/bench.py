"""`emogene bench`: measure speed on this machine, native kernels and torch taking turns."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Any


def render(
    *,
    avatar: str | None = None,
    size: int = 512,
    quality: str = "standard",
    rounds: int = 7,
    threads: int = 0,
    json: bool = False,
    out: Path | None = None,
) -> None:
    """Time the head field against its torch twin, and whole frames to uint8 rgb.

    Args:
        avatar: Avatar to render (default: the built-in persona; without one only the field is timed).
        size: Edge of the whole frames in pixels.
        quality: draft, standard or high.
        rounds: Repetitions; the median counts.
        threads: CPU threads; 0: all cores.
        json: Print JSON.
        out: Also write the JSON to this file.
    """
    from emogene.evaluate import speed

    _use_threads(threads)
    result: dict[str, Any] = {"machine": speed.machine(), "field": speed.field_speed(rounds=rounds)}
    portrait = _portrait(avatar)
    if portrait is not None:
        result["trained field"] = speed.field_speed(rounds=rounds, portrait=portrait)
        result["frames"] = speed.frame_speed(portrait, size, quality)
    _report(result, json, out)


def train(
    *,
    avatar: str | None = None,
    rays: int = 4096,
    rounds: int = 5,
    threads: int = 0,
    json: bool = False,
    out: Path | None = None,
) -> None:
    """Time one training step of the head field, optimizer included, against its torch twin.

    Twice: with the trained field, whose rays end at the surface, and with an untrained one in its cells.

    Args:
        avatar: Avatar whose trained field is asked (default: a synthetic one with more samples per ray).
        rays: Rays per step.
        rounds: Repetitions; the median counts.
        threads: CPU threads; 0: all cores.
        json: Print JSON.
        out: Also write the JSON to this file.
    """
    from emogene.evaluate import speed

    _use_threads(threads)
    portrait = None if avatar is None else _portrait(avatar)
    result: dict[str, Any] = {"machine": speed.machine()}
    result["training"] = speed.training_speed(rays, rounds, portrait=portrait)
    result["training, early"] = speed.training_speed(rays, max(1, rounds // 2), portrait=portrait, early=True)
    _report(result, json, out)


def evaluate(
    *,
    video: Path | None = None,
    reference: Path | None = None,
    size: int = 512,
    seconds: float = 5.0,
    threads: int = 1,
    json: bool = False,
    out: Path | None = None,
) -> None:
    """Time the metrics of `emogene evaluate video`, family by family.

    Args:
        video: Video to measure (default: the built-in avatar, happy).
        reference: Its reference (default: the built-in avatar, neutral).
        size: Edge of the default videos in pixels.
        seconds: Length of the default videos.
        threads: Threads of the networks; pictures are compared on all cores anyway.
        json: Print JSON.
        out: Also write the JSON to this file.
    """
    import tempfile

    from emogene.errors import UserError
    from emogene.evaluate import speed
    from emogene.evaluate.metric_speed import metric_speed, sample_pair

    if (video is None) != (reference is None):
        raise UserError("give both --video and --reference, or neither for takes of the built-in avatar")
    _use_threads(threads)
    with tempfile.TemporaryDirectory(prefix="emogene-") as folder:
        if video is None or reference is None:
            video, reference = sample_pair(Path(folder), size, seconds)
        result = {"machine": speed.machine(), "metrics": metric_speed(video, reference)}
    _report(result, json, out)


SUBCOMMANDS = {"render": render, "train": train, "evaluate": evaluate}


def _use_threads(threads: int) -> None:
    import os

    import torch

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def _portrait(avatar: str | None) -> Any:
    """The portrait asked for; the built-in one when nothing is asked and it is there, else None."""
    from emogene.avatar import Avatar
    from emogene.errors import UserError

    if avatar is not None:
        return Avatar.load(avatar).portrait
    try:
        return Avatar.load().portrait
    except UserError as error:
        sys.stderr.write(f"emogene: whole frames are not timed: {error}\n")
        return None


def _report(result: dict[str, Any], json: bool, out: Path | None) -> None:
    from emogene.io.files import write_json

    if out is not None:
        write_json(out, result)
    if json:
        sys.stdout.write(json_format.dumps(result, indent=2) + "\n")
        return
    for section, values in result.items():
        sys.stdout.write(f"{section}\n")
        for name, value in values.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            sys.stdout.write(f"  {name:<25}{shown}\n")
