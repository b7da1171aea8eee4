"""Portrait clips of the personas speaking: the corpus's takes, drawn -> clip folders with sound and pictures.

OUT/corpus.json                       how it was made
OUT/take-0003/                        a clip (see ``io.clip``): audio.wav, every frame and mask, exact labels

Takes go round the personas; every moment is filmed once neutral and once or twice with emotion, as in
``corpus``. Such a clip stands in for a filmed person wherever frames with known truth are wanted: to test
capture, to measure trackers, to train a portrait on somebody who speaks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from emogene.errors import UserError
from emogene.io.audio import write_wav
from emogene.io.clip import clip_folders, write_clip
from emogene.io.files import atomic_folder, read_json, write_json
from emogene.io.images import write_mask, write_rgb
from emogene.persona.animation import FaceStyle, animate_face
from emogene.persona.corpus import choose_engines, claim_folder
from emogene.persona.kit import shipped_kit, shipped_kits
from emogene.persona.mesh import PersonaMesh
from emogene.persona.portrait_clip import JPEG_QUALITY, Script, labels
from emogene.persona.recipe import persona_recipe
from emogene.persona.render_gl import Renderer, Studio
from emogene.persona.rig import LandmarkRig
from emogene.persona.speech import Voice
from emogene.persona.takes import Recording, Speaker, Take, perform
from emogene.types import FPS

logger = logging.getLogger(__name__)

VIDEO_CORPUS_FORMAT = 1
# Engine -> (base, pitch factor) of a woman's and of a man's voice.
_VOICES = {
    "flite": (("slt", 1.0), ("rms", 1.0)),
    "espeak": (("en-us+f2", 1.0), ("en-us+m3", 1.0)),
    "formant": (("formant", 1.4), ("formant", 0.8)),
}


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """What determines the clips, except how many are made. size_px: edge of the square pictures."""

    seed: int = 0
    personas: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    size_px: int = 512

    def header(self) -> dict[str, Any]:
        return {
            "format_version": VIDEO_CORPUS_FORMAT,
            "synthetic": True,
            "video": True,
            "seed": self.seed,
            "personas": list(self.personas),
            "engines": list(self.engines),
            "size_px": self.size_px,
        }


def build_video_corpus(
    out: Path,
    minutes: float,
    *,
    seed: int = 0,
    personas: Sequence[str] = (),
    engines: Sequence[str] | None = None,
    size_px: int = 512,
    on_progress: Callable[[float, float], None] | None = None,
) -> int:
    """Film takes until ``out`` holds at least ``minutes``; run again to go on.

    Args:
        out: the folder; an unfinished or shorter one of the same plan is continued.
        minutes: length of all clips together. A minute at 512 px costs about 11 CPU minutes.
        seed: chooses sentences, emotions, everything.
        personas: names of shipped personas; empty: all.
        engines: of speech.ENGINES; None: those that are installed.
        size_px: edge of the pictures.
        on_progress: called with (minutes made, minutes wanted) after each clip.

    Returns:
        the number of clips.

    Raises:
        UserError: nothing to film, or ``out`` holds something else.
    """
    if minutes <= 0:
        raise UserError(f"{minutes:g} minutes of video cannot be filmed; ask for more than 0")
    plan = VideoPlan(
        seed=seed,
        personas=tuple(personas) or shipped_kits(),
        engines=choose_engines(engines),
        size_px=size_px,
    )
    out = Path(out)
    claim_folder(out, plan.header())

    @cache
    def stage(name: str) -> Renderer:
        """One renderer per persona: each owns a GL context."""
        return Renderer(PersonaMesh(shipped_kit(name)), Studio(size_px=size_px))

    made = 0
    for number, (name, recording, take) in enumerate(_takes(plan)):
        made += _film(out / f"take-{number:04d}", partial(stage, name), plan, recording, take)
        if on_progress is not None:
            on_progress(made / FPS / 60, minutes)
        if made >= minutes * 60 * FPS:
            break
    clips = clip_folders(out)
    summary = {"clips": len(clips), "minutes": round(made / FPS / 60, 3)}
    write_json(out / "corpus.json", plan.header() | {"complete": True} | summary)
    logger.info("%s: %d clips, %.2f minutes", out, len(clips), made / FPS / 60)
    return len(clips)


def _takes(plan: VideoPlan) -> Iterator[tuple[str, Recording, Take]]:
    """Persona, recording and take, for ever."""
    rig = LandmarkRig.load()
    for index in count():
        name = plan.personas[index % len(plan.personas)]
        engine = plan.engines[0]
        base, pitch = _VOICES[engine][persona_recipe(name).female < 0.5]
        voice = Voice(name, engine, base, "lexicon" if engine == "formant" else "en", pitch=pitch)
        speaker = Speaker(name, voice, 0, plan.seed)
        recording, takes = perform(rig, speaker, plan.seed, index)
        for take in takes:
            yield name, recording, take


def _film(
    folder: Path, stage: Callable[[], Renderer], plan: VideoPlan, recording: Recording, take: Take
) -> int:
    """Draw one take unless it is there; return its frames."""
    if (folder / "clip.json").exists():
        return int(read_json(folder / "clip.json")["n_frames"])
    renderer = stage()
    emotion, style = take.arrays["emotion"], FaceStyle.sampled(plan.seed)
    face = animate_face(recording.phones, recording.energy, emotion, style, seed=take.about["pair"])
    script = Script(
        np.asarray(face.units, np.float32),
        np.asarray(face.head_euler_rad, np.float32),
        np.asarray(face.head_translation_mm, np.float32),
        emotion,
    )
    with atomic_folder(folder) as temporary:
        for kind in ("frames", "masks"):
            (temporary / kind).mkdir()
        write_wav(temporary / "audio.wav", recording.audio)
        write_rgb(temporary / "background.png", renderer.background())
        motions = zip(script.units, script.head_euler_rad, script.head_translation_mm, strict=True)
        for index, motion in enumerate(motions):
            picture, mask = renderer.draw(*motion)
            write_rgb(temporary / "frames" / f"{index:06d}.jpg", picture, quality=JPEG_QUALITY)
            write_mask(temporary / "masks" / f"{index:06d}.png", mask)
        about = take.about | {
            "speaker": renderer.mesh.kit.about["name"],
            "neutral_cano": renderer.mesh.neutral_cano.tolist(),
        }
        del about["identity_seed"]
        frames = range(len(script.units))
        write_clip(
            temporary,
            labels(renderer, script, frames),
            camera=renderer.camera,
            phones=list(recording.phones),
            **about,
        )
    return len(script.units)
