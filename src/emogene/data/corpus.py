"""Which clips to learn from, which to judge by, and the takes made of the former."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from emogene.data.takes import Take, TakeConfig, build_takes, load_takes
from emogene.errors import UserError
from emogene.features.extractor import SpeechFeatures
from emogene.io.clip import Clip, clip_folders, open_clip
from emogene.types import Audio

SHORTEST_FRAMES = 40
LEAST_VALID = 0.95


def open_corpus(roots: Sequence[Path]) -> list[Clip]:
    """All usable neutral clips at or below ``roots``.

    Left out are emotional takes (the emotion model's business), clips under 1.6 s and clips in which the
    face was lost in more than 5 % of the frames.
    """
    clips = []
    for root in roots:
        folders = clip_folders(root)
        if not folders:
            raise UserError(f"{root} holds no clips; make some with `emogene data prepare`")
        clips += [open_clip(folder) for folder in folders]
    return [clip for clip in clips if _usable(clip)]


def split_corpus(
    clips: Sequence[Clip], speakers: Sequence[str] = (), every: int = 10
) -> tuple[list[Clip], dict[str, list[Clip]]]:
    """Training clips, and groups of held-out ones.

    Args:
        clips: the corpus.
        speakers: held out altogether ("unseen").
        every: of each other speaker with at least twice so many clips, every so manieth clip by name is
            held out ("seen"); 0: none.
    """
    training: list[Clip] = []
    held: dict[str, list[Clip]] = {"seen": [], "unseen": []}
    counts: dict[str, int] = {}
    totals: dict[str, int] = {}
    for clip in clips:
        totals[clip.speaker] = totals.get(clip.speaker, 0) + 1
    for clip in sorted(clips, key=lambda clip: (clip.speaker, clip.folder.name)):
        if clip.speaker in speakers or clip.about.get("split") == "test":
            held["unseen"].append(clip)
            continue
        number = counts[clip.speaker] = counts.get(clip.speaker, 0) + 1
        if every and totals[clip.speaker] >= 2 * every and number % every == 0:
            held["seen"].append(clip)
        else:
            training.append(clip)
    return training, {name: group for name, group in held.items() if group}


def corpus_takes(
    clips: Sequence[Clip],
    extractors: Sequence[SpeechFeatures],
    prosody: Callable[[Audio], object],
    out: Path,
    config: TakeConfig,
) -> list[Take]:
    """Takes of the clips heard through each extractor (which must agree in width), cached under ``out``."""
    takes: list[Take] = []
    for number, extractor in enumerate(extractors):
        folder = out / extractor.name
        # Another seed per extractor: the same speech in another room is worth more than twice the same.
        build_takes(clips, extractor, prosody, folder, replace(config, seed=config.seed + number))  # type: ignore[arg-type]
        takes += load_takes(folder)
    return takes


def _usable(clip: Clip) -> bool:
    emotional = clip.about.get("take") == "emotional" or clip.about.get("emotion") not in (
        None,
        "",
        "neutral",
    )
    return not emotional and clip.n_frames >= SHORTEST_FRAMES and bool(clip.valid.mean() >= LEAST_VALID)
