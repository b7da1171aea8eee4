"""Teachers: motion networks that speak for voices of which there is only sound.

Sound [S] -> offsets [T, 68, 3], written as clips that ``data.takes`` takes like tracked ones.

Half an hour of one tracked speaker is little to learn strangers from, but several networks that learned it
differently (seed, features, sound) err differently, so their mean follows strangers better than each of them.
Spoken over many recordings it is motion that one streaming network can learn from. Teachers hear the sound
as it is and may use features that cannot be streamed; the pupil hears it in other rooms and with noise.

A mean of networks moves less than a person where they disagree. ``spread_gains`` gives back what is missing:
along the principal directions of tracked mouths the taught motion gets most of their deviation. Free speech
differs from the sentences that were tracked: its lips spread further, are quicker, and come a little later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from emogene.data.corpus import corpus_takes
from emogene.data.takes import Take, TakeConfig
from emogene.data.voices import SOUND_SUFFIXES
from emogene.errors import MediaError, UserError
from emogene.features.extractor import SpeechFeatures, load_extractor
from emogene.geometry.landmarks import JAW, MOUTH, MOUTH_CORNERS, lip_opening
from emogene.io.audio import read_audio, write_wav
from emogene.io.clip import Clip, open_clip, write_clip
from emogene.io.files import atomic_folder
from emogene.motion.model import MotionModel, load_motion
from emogene.types import N_LANDMARKS, SAMPLES_PER_FRAME, Audio, FloatArray

log = logging.getLogger(__name__)

SHORTEST_FRAMES = 40
DIRECTIONS = 6
"""Principal directions of the mouth and jaw whose deviation is given back; they hold 98 % of its variance."""
LARGEST_GAIN = 2.0
FREE_SPEECH = 0.85
"""Deviation of the taught motion over that of tracked people, who read single sentences and articulate."""
FREE_WIDTH = 0.66
"""Deviation of the lips' width over that of their opening: in free speech .7, of GRID's s1 .33."""
SHARPER = 0.3
"""Share of the second difference in time that is taken away: a mean is smoother than a person."""
LATER = 0.2
"""Frames by which mouths in free speech come later than GRID's, where the sync expert puts both at 0."""


@dataclass(frozen=True)
class Teacher:
    """A motion network and the features it hears."""

    model: MotionModel
    ears: SpeechFeatures


@dataclass(frozen=True)
class Gains:
    """What the coordinates of mouth and jaw are multiplied by [D, D], how much they are sharpened in time,
    and by how many frames (less than one) they are delayed."""

    matrix: FloatArray
    sharper: float = 0.0
    later: float = 0.0

    def __call__(self, offsets: FloatArray) -> FloatArray:
        """Offsets [T, 68, 3] with more (or less) motion; the neutral face stays."""
        flat = _mouth_and_jaw(offsets) @ self.matrix
        around = np.pad(flat, ((1, 1), (0, 0)), mode="edge")
        flat = flat + self.sharper * (2 * flat - around[:-2] - around[2:])
        times = np.arange(len(flat))
        flat = CubicSpline(times, flat)(np.clip(times - self.later, 0, None))
        result = offsets.copy()
        result[:, _POINTS] = flat.reshape(len(flat), -1, 3)
        return result


_POINTS = np.r_[JAW, MOUTH]


def taught_takes(
    sounds: Path,
    teachers: Sequence[Path],
    extractors: Sequence[SpeechFeatures],
    prosody: Callable[[Audio], FloatArray],
    out: Path,
    tracked: Sequence[Take],
    *,
    seed: int = 0,
) -> list[Take]:
    """Takes of the recordings below ``sounds`` as the teachers in these folders speak them.

    Each is heard once as it is and twice with another speed, room, microphone, noise and level; clips and
    takes are kept in ``out``. Arguments else as of ``teach`` and ``data.corpus.corpus_takes``.
    """
    clips = teach(sounds, load_teachers(teachers), prosody, out / "taught", tracked)
    config = TakeConfig(versions=3, plain_versions=1, seed=seed + 100)
    return corpus_takes(clips, extractors, prosody, out / "taught_takes", config)


def load_teachers(folders: Sequence[Path]) -> list[Teacher]:
    """Open motion folders; each hears the features its config names."""
    models = [load_motion(folder) for folder in folders]
    ears = {name: load_extractor(name) for name in sorted({model.config.features for model in models})}
    return [Teacher(model, ears[model.config.features]) for model in models]


def speak_together(
    teachers: Sequence[Teacher], sound: Audio, prosody: Callable[[Audio], FloatArray]
) -> FloatArray:
    """Mean of the teachers' most likely motions, [ceil(T50 / 2), 68, 3]."""
    heard = {teacher.ears.name: teacher.ears(sound) for teacher in teachers}
    rhythm = prosody(sound)
    motions = [t.model.generate(heard[t.ears.name], rhythm, temperature=0.0) for t in teachers]
    return np.asarray(np.mean(motions, axis=0), np.float32)


def teach(
    sounds: Path,
    teachers: Sequence[Teacher],
    prosody: Callable[[Audio], FloatArray],
    out: Path,
    tracked: Sequence[Take] = (),
) -> list[Clip]:
    """Let the teachers speak every recording below ``sounds``; clips in ``out``, which is kept when complete.

    Args:
        sounds: folder of recordings, sound alone; each counts as a speaker of its own.
        teachers: who speaks.
        prosody: what they hear beside their features.
        out: folder of clips.
        tracked: takes of people whose deviation the motion gets; none: it stays as it is.

    Raises:
        UserError: no recording of two seconds or more.
    """
    paths = sorted(path for path in sounds.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES)
    folders = {path: out / path.stem for path in paths}
    if not folders or not all((folder / "clip.json").exists() for folder in folders.values()):
        motions: dict[Path, tuple[Audio, FloatArray]] = {}
        for number, path in enumerate(paths):
            sound = _whole_frames(path)
            if sound is not None:
                motions[path] = sound, speak_together(teachers, sound, prosody)
            if (number + 1) % 20 == 0:
                log.info("%d of %d recordings are spoken", number + 1, len(paths))
        if not motions:
            raise UserError(f"{sounds} holds no sound files of two seconds or more; give a folder of speech")
        gains = spread_gains([motion for _, motion in motions.values()], tracked)
        for path, (sound, motion) in motions.items():
            _write(folders[path], sound, motion if gains is None else gains(motion), path)
    return [open_clip(folder) for folder in folders.values() if (folder / "clip.json").exists()]


def spread_gains(motions: Sequence[FloatArray], tracked: Sequence[Take]) -> Gains | None:
    """What makes ``motions`` move as tracked people would in free speech; None where there are none."""
    people = [take for take in tracked if take.speaker and not take.synthetic]
    if not people:
        return None
    true = np.concatenate([_mouth_and_jaw(take.offsets[take.mask > 0]) for take in people])
    made = np.concatenate([_mouth_and_jaw(motion) for motion in motions])
    true, made = true - true.mean(0), made - made.mean(0)
    _, axes = np.linalg.eigh(true.T @ true)
    directions = np.ascontiguousarray(axes[:, ::-1][:, :DIRECTIONS].T, np.float32)
    ratio = FREE_SPEECH * (true @ directions.T).std(0) / ((made @ directions.T).std(0) + 1e-9)
    gains = np.clip(ratio, 1.0, LARGEST_GAIN).astype(np.float32)
    spread = np.eye(made.shape[1], dtype=np.float32) + (directions.T * (gains - 1)) @ directions
    # How mouth and jaw go with the lips' opening and width; the width's share opens nothing.
    opening, width = _measures(true).T
    share = np.linalg.lstsq(np.stack([opening, width], 1), true, rcond=None)[0][1]
    opening, width = _measures(made @ spread).std(0)
    wider = float(np.clip(FREE_WIDTH * opening / (width + 1e-9), 1.0, LARGEST_GAIN))
    unit = _measures(np.eye(made.shape[1], dtype=np.float32))[:, 1:]
    widen = np.eye(made.shape[1]) + (wider - 1) * unit * share
    heard = " ".join(f"{gain:.2f}" for gain in gains)
    log.info("taught motion is spread by %s, lips are widened by %.2f", heard, wider)
    return Gains(np.asarray(spread @ widen, np.float32), SHARPER, LATER)


def _measures(flat: FloatArray) -> FloatArray:
    """Change of the lips' opening and width [T, 2] that goes with coordinates [T, D] of mouth and jaw."""
    points = np.zeros((len(flat), N_LANDMARKS, 3), np.float32)
    points[:, _POINTS] = flat.reshape(len(flat), -1, 3)
    left, right = MOUTH_CORNERS
    return np.stack([lip_opening(points), points[:, right, 0] - points[:, left, 0]], axis=1)


def _mouth_and_jaw(offsets: FloatArray) -> FloatArray:
    return offsets[:, _POINTS].astype(np.float32).reshape(len(offsets), -1)


def _whole_frames(path: Path) -> Audio | None:
    """The recording cut to whole video frames; None if it is too short or cannot be read."""
    try:
        samples = read_audio(path).samples
    except MediaError as error:
        log.warning("%s is left out: %s", path, error)
        return None
    n_frames = len(samples) // SAMPLES_PER_FRAME
    return Audio(samples[: n_frames * SAMPLES_PER_FRAME]) if n_frames >= SHORTEST_FRAMES else None


def _write(folder: Path, sound: Audio, motion: FloatArray, path: Path) -> None:
    """A clip whose landmarks are offsets: its neutral face is zero."""
    arrays: dict[str, NDArray[Any]] = {"landmarks_cano": motion, "valid": np.ones(len(motion), np.uint8)}
    neutral = np.zeros((N_LANDMARKS, 3)).tolist()
    about: dict[str, Any] = {"taught": True, "neutral_cano": neutral, "source": path.name}
    with atomic_folder(folder) as temporary:
        write_wav(temporary / "audio.wav", sound)
        write_clip(temporary, arrays, speaker=f"taught-{path.stem}", **about)
