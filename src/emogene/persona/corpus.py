"""The synthetic corpus: speech, exact landmarks, units, pose, phones and emotion, in clip folders.

OUT/corpus.json                       how it was made
OUT/shard-000/pair-000042/neutral/    a clip (see ``io.clip``): audio.wav, arrays, phones.json, clip.json
OUT/shard-000/pair-000042/emotional-1/    the same recording performed with an emotion

Every pair depends on the seed and its number alone, so an interrupted build goes on where it stopped and a
finished one is the same wherever and by however many processes it is built with the same engines.
"""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from emogene.errors import UserError
from emogene.io.audio import write_wav
from emogene.io.clip import clip_folders, write_clip
from emogene.io.files import atomic_folder, check_format_version, read_json, write_json
from emogene.persona.rig import LandmarkRig
from emogene.persona.speech import ENGINES, available_engines
from emogene.persona.takes import cast_speakers, perform
from emogene.types import FPS

logger = logging.getLogger(__name__)

CORPUS_FORMAT = 1
PAIRS_PER_SHARD = 100


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """What determines a corpus, except how many pairs of it are built."""

    seed: int = 0
    speakers: int = 64
    engines: tuple[str, ...] = ("flite", "espeak")

    def header(self) -> dict[str, Any]:
        return {
            "format_version": CORPUS_FORMAT,
            "synthetic": True,
            "seed": self.seed,
            "speakers": self.speakers,
            "engines": list(self.engines),
        }


def build_corpus(
    out: Path,
    hours: float,
    *,
    seed: int = 0,
    speakers: int = 64,
    engines: Sequence[str] | None = None,
    workers: int = 2,
    on_progress: Callable[[float, float], None] | None = None,
) -> int:
    """Build or continue a corpus of at least ``hours`` of clips in the folder ``out``.

    Args:
        out: the corpus folder; an unfinished or shorter corpus of the same plan is continued.
        hours: total length of all clips, takes of the same recording counted each.
        seed: chooses people, sentences, emotions, everything.
        speakers: number of different people.
        engines: of speech.ENGINES; None: flite and espeak if installed, else the built-in voice.
        workers: processes; 1 builds in this one.
        on_progress: called with (hours built, hours wanted).

    Returns:
        the number of clips in the corpus.

    Raises:
        UserError: ``out`` holds another corpus, or an engine is not installed.
    """
    plan = CorpusPlan(seed, speakers, choose_engines(engines))
    if hours <= 0 or speakers < 1:
        raise UserError(
            f"a corpus of {hours:g} hours and {speakers} speakers is not possible; use more than 0"
        )
    out = Path(out)
    claim_folder(out, plan.header())
    built_frames, wanted_frames, pairs = 0, round(hours * 3600 * FPS), 0
    for frames in _built_pairs(out, plan, workers):
        built_frames += frames
        pairs += 1
        if on_progress is not None:
            on_progress(built_frames / FPS / 3600, hours)
        if built_frames >= wanted_frames:
            break
    _drop_from(out, pairs)
    clips = clip_folders(out)
    summary = {"pairs": pairs, "clips": len(clips), "hours": round(built_frames / FPS / 3600, 4)}
    write_json(out / "corpus.json", plan.header() | {"complete": True} | summary)
    logger.info("%s: %d clips, %.2f hours", out, len(clips), built_frames / FPS / 3600)
    return len(clips)


def build_pair(out: Path, plan: CorpusPlan, index: int) -> int:
    """Build pair ``index`` unless it is there; return the frames of all its takes."""
    folder = pair_folder(out, index)
    if not folder.exists():
        speaker = cast_speakers(plan.seed, plan.speakers, plan.engines)[index % plan.speakers]
        recording, takes = perform(LandmarkRig.load(), speaker, plan.seed, index)
        with atomic_folder(folder) as temporary:
            for take in takes:
                write_wav(temporary / take.name / "audio.wav", recording.audio)
                phones = list(recording.phones)
                write_clip(temporary / take.name, take.arrays, phones=phones, **take.about)
    return sum(int(read_json(clip / "clip.json")["n_frames"]) for clip in clip_folders(folder))


def pair_folder(out: Path, index: int) -> Path:
    """Where a pair lies."""
    return out / f"shard-{index // PAIRS_PER_SHARD:03d}" / f"pair-{index:06d}"


def choose_engines(engines: Sequence[str] | None) -> tuple[str, ...]:
    """Check the engines asked for; None: flite and espeak if installed, else the built-in voice."""
    have = available_engines()
    if engines is None:
        real = tuple(name for name in have if name != "formant")
        if not real:
            logger.warning(
                "neither flite nor espeak-ng is installed: the corpus will speak with the built-in voice"
            )
        return real or ("formant",)
    for name in engines:
        if name not in ENGINES:
            raise UserError(f"no speech engine is called {name}; there are {', '.join(ENGINES)}")
        if name not in have:
            package = {"espeak": "espeak-ng"}.get(name, name)
            raise UserError(
                f"the speech engine {name} is not installed; apt install {package}, or leave it out"
            )
    return tuple(engines)


def claim_folder(out: Path, plan: dict[str, Any]) -> None:
    """Make sure that ``out`` is free or holds a corpus of the same plan (its header)."""
    path = out / "corpus.json"
    if path.exists():
        header = read_json(path)
        check_format_version(header, CORPUS_FORMAT, path)
        different = [key for key, value in plan.items() if header.get(key) != value]
        if different:
            raise UserError(
                f"{out} holds a corpus with another {', '.join(different)}; choose another folder"
            )
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and not a corpus; choose another folder")
    write_json(path, plan | {"complete": False})


def _built_pairs(out: Path, plan: CorpusPlan, workers: int) -> Iterator[int]:
    """Yield the frames of each pair in order, for ever, building some ahead."""
    if workers <= 1:
        for index in count():
            yield build_pair(out, plan, index)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        numbers = count()
        waiting = [pool.submit(build_pair, out, plan, index) for index in islice(numbers, 4 * workers)]
        try:
            while True:
                yield waiting.pop(0).result()
                waiting.append(pool.submit(build_pair, out, plan, next(numbers)))
        finally:
            for result in waiting:
                result.cancel()


def _drop_from(out: Path, first: int) -> None:
    """Remove the pairs from number ``first`` on, built ahead or left from a longer corpus."""
    for folder in out.glob("shard-*/pair-*"):
        if int(folder.name.removeprefix("pair-")) >= first:
            shutil.rmtree(folder)
