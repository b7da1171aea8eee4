"""One scripted moment of the corpus: a speaker says something, once neutrally and once or twice with emotion.

All takes of a moment share the recording, the speaker's manner and the random seed, so they are aligned
frame by frame and differ by the emotion alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emogene.persona.acoustics import recorded, silence
from emogene.persona.animation import FaceStyle, animate_face
from emogene.persona.emotions import LEVEL_DOSE, with_neutral
from emogene.persona.phones import Phone, Reals
from emogene.persona.rig import LandmarkRig
from emogene.persona.speech import PROSODY, Prosody, Voice, speak
from emogene.persona.texts import sentence_in
from emogene.persona.visemes import speech_energy
from emogene.persona.voices import cast_voices
from emogene.types import (
    EMOTIONS,
    FPS,
    N_EMOTIONS,
    NEUTRAL,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    Audio,
    FloatArray,
)

SILENT_SHARE = 0.06
"""Moments in which nobody speaks."""
MOVING_SHARE, MIXED_SHARE = 0.25, 0.10
"""Emotional takes whose emotion changes on the way, and those that mix two emotions."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A person of the corpus: a voice, a head and a manner."""

    name: str
    voice: Voice
    identity_seed: int
    style_seed: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Sound as a microphone heard it, whole frames long; loudness at 100 Hz of the clean voice."""

    audio: Audio
    phones: tuple[Phone, ...]
    energy: FloatArray
    text: str


@dataclass(frozen=True, slots=True)
class Take:
    """One performance: arrays by name, [T, ...] each, and what clip.json says about it."""

    name: str
    arrays: dict[str, Any]
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """The emotion of one take: weights [T, 8], label and dose of the strongest, how it runs."""

    weights: FloatArray
    emotion: str
    dose: float
    course: str


def cast_speakers(seed: int, count: int, engines: Sequence[str]) -> tuple[Speaker, ...]:
    """Draw the corpus's people."""
    voices = cast_voices(seed, count, engines)
    return tuple(
        Speaker(f"synthetic-{index:03d}", voice, 1000 * seed + index, 1000 * seed + index)
        for index, voice in enumerate(voices)
    )


def perform(
    rig: LandmarkRig, speaker: Speaker, seed: int, index: int, recording: Recording | None = None
) -> tuple[Recording, list[Take]]:
    """Play the takes of moment ``index`` of the corpus ``seed``, the neutral one first.

    The speaker's own voice is recorded for it, unless there is a ``recording`` already.
    """
    rng = np.random.default_rng([seed, index])
    emotions = rng.permutation([name for name in EMOTIONS if name != "neutral"])[
        : 1 + int(rng.random() < 0.35)
    ]
    doses = [_dose(rng) for _ in emotions]
    felt = rng.random() < 0.5
    prosody = PROSODY[str(emotions[0])].scaled(doses[0]) if felt else PROSODY["neutral"]
    recording = recording or record(speaker, prosody, rng)
    n_frames = recording.audio.n_frames
    scores = [_score(rng, str(name), dose, n_frames) for name, dose in zip(emotions, doses, strict=True)]
    still = np.zeros((n_frames, N_EMOTIONS), np.float32)
    takes = [_play(rig, speaker, recording, Score(still, "neutral", 0.0, "constant"), index, "neutral")]
    for number, score in enumerate(scores, 1):
        takes.append(_play(rig, speaker, recording, score, index, f"emotional-{number}"))
    return recording, takes


def record(speaker: Speaker, prosody: Prosody, rng: np.random.Generator) -> Recording:
    """Let the speaker say one to three sentences with pauses, or nothing at all."""
    if rng.random() < SILENT_SHARE:
        count = int(rng.uniform(2, 8) * FPS) * SAMPLES_PER_FRAME
        return Recording(Audio(silence(rng, count)), (), np.zeros(0, np.float32), "")
    pieces: list[Reals] = []
    phones: list[Phone] = []
    texts: list[str] = []
    offset_s = 0.0

    def pause(seconds: float) -> float:
        pieces.append(np.zeros(int(seconds * SAMPLE_RATE_HZ)))
        phones.append((offset_s, offset_s + len(pieces[-1]) / SAMPLE_RATE_HZ, "pau"))
        return phones[-1][1]

    offset_s = pause(rng.uniform(0.1, 0.9))
    for number in range(int(rng.integers(1, 4))):
        if number > 0:
            offset_s = pause(rng.uniform(0.8, 3.0) if rng.random() < 0.3 else rng.uniform(0.1, 0.6))
        texts.append(sentence_in(speaker.voice.language, rng))
        said = speak(texts[-1], speaker.voice, prosody)
        pieces.append(said.samples)
        phones += [(start + offset_s, end + offset_s, label) for start, end, label in said.phones]
        offset_s += said.duration_s
    pause(rng.uniform(0.2, 1.2))
    clean = np.concatenate(pieces)
    clean = np.concatenate([clean, np.zeros(-len(clean) % SAMPLES_PER_FRAME)]).astype(np.float32)
    energy = speech_energy(clean, SAMPLE_RATE_HZ)
    return Recording(Audio(recorded(clean, rng)), tuple(phones), energy, " ".join(texts))


def _play(
    rig: LandmarkRig, speaker: Speaker, recording: Recording, score: Score, index: int, name: str
) -> Take:
    face = rig.sampled_face(speaker.identity_seed)
    style = FaceStyle.sampled(speaker.style_seed)
    animation = animate_face(recording.phones, recording.energy, score.weights, style, seed=index)
    landmarks = face.landmarks_cano(animation.units)
    arrays = {
        "landmarks_cano": landmarks,
        "eyes": face.eyes(landmarks, animation.gaze_rad),
        "pose": face.camera_from_head(animation.head_euler_rad, animation.head_translation_mm),
        "blendshapes": animation.units,
        "emotion": with_neutral(score.weights),
        "valid": np.ones(len(landmarks), np.uint8),
    }
    about = {
        "speaker": speaker.name,
        "voice": f"{speaker.voice.engine} {speaker.voice.base}",
        "language": speaker.voice.language,
        "text": recording.text,
        "pair": index,
        "take": "neutral" if name == "neutral" else "emotional",
        "emotion": score.emotion,
        "dose": round(score.dose, 3),
        "level": _level(score.dose),
        "course": score.course,
        "identity_seed": speaker.identity_seed,
        "style_seed": speaker.style_seed,
        "neutral_cano": [[round(float(x), 5) for x in point] for point in face.neutral_cano],
        "synthetic": True,
        "source": "emogene.persona",
        "licence": "CC0-1.0",
    }
    return Take(name, arrays, about)


def _dose(rng: np.random.Generator) -> float:
    if rng.random() < 0.6:
        return float(LEVEL_DOSE[int(rng.integers(1, 4))])
    return float(rng.uniform(0.2, 1.0))


def _level(dose: float) -> int:
    """Nearest of the three levels, 0 for neutral."""
    return min((0, 1, 2, 3), key=lambda level: abs(LEVEL_DOSE.get(level, 0.0) - dose))


def _score(rng: np.random.Generator, emotion: str, dose: float, n_frames: int) -> Score:
    """How an emotion runs through a take: constant, fading between two states, or mixed with another."""
    target = np.zeros(N_EMOTIONS, np.float32)
    target[EMOTIONS.index(emotion)] = dose
    other = np.zeros(N_EMOTIONS, np.float32)
    draw = rng.random()
    if draw < MIXED_SHARE:
        other[int(rng.choice([index for index in range(N_EMOTIONS) if index != NEUTRAL]))] = 1.0
        share = rng.uniform(0.25, 0.75)
        weights = np.tile(share * target + (1 - share) * dose * other, (n_frames, 1))
        return Score(weights, emotion, dose, "mixed")
    if draw < MIXED_SHARE + MOVING_SHARE:
        if rng.random() < 0.5:
            other[int(rng.choice([index for index in range(N_EMOTIONS) if index != NEUTRAL]))] = _dose(rng)
        fade_s = rng.uniform(0.3, 1.5)
        start_s = rng.uniform(0.15, 0.75) * n_frames / FPS
        ramp = np.clip((np.arange(n_frames) / FPS - start_s) / fade_s, 0, 1)
        ramp = ramp * ramp * (3 - 2 * ramp)
        first, last = (other, target) if rng.random() < 0.6 else (target, other)
        weights = first + ramp[:, None] * (last - first)
        return Score(weights.astype(np.float32), emotion, dose, "moving")
    return Score(np.tile(target, (n_frames, 1)), emotion, dose, "constant")
