"""What speech features know of the mouth: visemes of unseen voices in several languages, and of real people.

Three questions of each extractor, all answered by linear readouts, so that it is the features that know:
visemes of synthetic voices (``training.feature_probe``); visemes of recorded people whose words have times
(GRID); and the opening and width of tracked lips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from emogene.data.prepare import by_speaker, in_sync
from emogene.features.extractor import SpeechFeatures
from emogene.geometry.landmarks import lip_opening, lip_width
from emogene.io.audio import read_audio
from emogene.io.clip import Clip
from emogene.persona.phones import Phone
from emogene.persona.speech import Voice, speak
from emogene.training.feature_probe import (
    VOICES,
    Spoken,
    accuracy,
    labelled,
    speak_labelled,
    unseen_voice_accuracy,
)
from emogene.types import FloatArray

PAUSES = ("sil", "sp")
REACH = (-6, -4, -2, 0, 2, 4, 6)
"""Feature rows beside a video frame's first one that the readout of the lips sees, 20 ms each."""
RIDGE = 0.03
"""Strength of the readout's ridge, as a share of the inputs' total variance."""


def language_rows(
    extractors: Mapping[str, SpeechFeatures], languages: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Row "language, voice" -> extractor -> viseme accuracy on that voice after training on the others."""
    rows: dict[str, dict[str, float]] = {}
    for language in languages:
        voices = {voice.name: speak_labelled(voice) for voice in VOICES[language]}
        for name, extractor in extractors.items():
            for voice, score in unseen_voice_accuracy(extractor, voices).items():
                rows.setdefault(f"{language}, {voice}", {})[name] = score
    return rows


def people_rows(
    extractors: Mapping[str, SpeechFeatures], training: Sequence[Clip], held: Mapping[str, Sequence[Clip]]
) -> dict[str, dict[str, float]]:
    """The same for recorded people: trained on ``training``, a row for every speaker of each held group."""
    known = [spoken_clip(clip) for clip in training if clip.about.get("words")]
    rows: dict[str, dict[str, float]] = {}
    for group, clips in held.items():
        for speaker, own in by_speaker([clip for clip in clips if clip.about.get("words")]).items():
            test = [spoken_clip(clip) for clip in own]
            rows[f"{speaker} ({group}), visemes"] = {
                name: accuracy(extractor, known, test) for name, extractor in extractors.items()
            }
    return rows


def lip_rows(
    extractors: Mapping[str, SpeechFeatures], training: Sequence[Clip], held: Mapping[str, Sequence[Clip]]
) -> dict[str, dict[str, float]]:
    """Correlation of tracked lips with a ridge regression on the features, mean over each group's clips."""
    rows: dict[str, dict[str, float]] = {}
    for name, extractor in extractors.items():
        x, y = (
            np.concatenate(parts)
            for parts in zip(*(_lips(extractor, clip) for clip in training), strict=True)
        )
        mean, scale = x.mean(0), x.std(0) + 1e-6
        weights = _ridge((x - mean) / scale, y - y.mean(0))
        for group, clips in held.items():
            found = []
            for clip in clips:
                rows_of_clip, truth = _lips(extractor, clip)
                guess = (rows_of_clip - mean) / scale @ weights
                found.append([_correlation(guess[:, k], truth[:, k]) for k in range(2)])
            opening, width = np.mean(found, axis=0)
            rows.setdefault(f"{group}, lip opening r", {})[name] = float(opening)
            rows.setdefault(f"{group}, lip width r", {})[name] = float(width)
    return rows


def spoken_clip(clip: Clip) -> Spoken:
    """A clip whose words have times, with visemes: flite's pronunciation, stretched to each word's length."""
    phones: list[Phone] = []
    for start, end, word in clip.about["words"]:
        if word in PAUSES:
            phones.append((start, end, "pau"))
            continue
        own = _pronounced(word)
        length = own[-1][1] - own[0][0]
        for first, last, label in own:
            share = [(time - own[0][0]) / length for time in (first, last)]
            phones.append((start + share[0] * (end - start), start + share[1] * (end - start), label))
    return labelled(read_audio(clip.audio_path), phones)


def _ridge(x: FloatArray, y: FloatArray) -> FloatArray:
    """Weights [D, K] from x [N, D] to y [N, K], solved on the shorter side."""
    tall = len(x) >= x.shape[1]
    square = x.T @ x if tall else x @ x.T
    square += RIDGE * np.float32(np.sum(x * x) / x.shape[1]) * np.eye(len(square), dtype=np.float32)
    return np.asarray(np.linalg.solve(square, x.T @ y) if tall else x.T @ np.linalg.solve(square, y))


def _correlation(guess: FloatArray, truth: FloatArray) -> float:
    """Pearson's r; 0 where either does not move."""
    return float(np.corrcoef(guess, truth)[0, 1]) if guess.std() > 1e-6 and truth.std() > 1e-6 else 0.0


@lru_cache(maxsize=1000)
def _pronounced(word: str) -> list[Phone]:
    said = speak(word, Voice("slt", "flite", "slt")).phones
    return [phone for phone in said if phone[2] != "pau"] or list(said)


def _lips(extractor: SpeechFeatures, clip: Clip) -> tuple[FloatArray, FloatArray]:
    """Inputs [T, F * 7] and opening and width [T, 2] of a clip's tracked frames, about the clip's mean."""
    features = extractor(read_audio(clip.audio_path))
    landmarks, real = in_sync(clip)
    keep = np.arange(len(landmarks))[real]
    keep = keep[(2 * keep < len(features)) & clip.valid[keep]]
    places = np.clip(2 * keep[:, None] + np.asarray(REACH), 0, len(features) - 1)
    lips = np.stack([lip_opening(landmarks), lip_width(landmarks)], axis=1)[keep]
    return features[places].reshape(len(keep), -1), np.asarray(lips - lips.mean(0), np.float32)
