"""How much of the mouth speech features know: a linear classifier of visemes on voices it never heard.

Four flite voices with known phone times; the classifier is trained on three and tested on the fourth, on
other sentences. No shipped feature was trained on these voices. On real speech, where no phones are
known, the same classifier on two kinds of features should say the same: the agreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from emogene.features.extractor import SpeechFeatures
from emogene.persona.phones import VISEMES, viseme_segments
from emogene.persona.speech import Voice, speak
from emogene.types import FEATURE_HZ, Audio, FloatArray

VOICES = ("slt", "awb", "rms", "kal16")
SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.",
    "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.",
    "The girl at the booth sold fifty bonds.",
)
"""Harvard sentences, lists 1 and 2 (IEEE 1969): phonetically balanced."""
N_TEST = 6
"""Sentences at the end that only the test voice speaks."""
STEPS = 40
DECAY = 1e-3


@dataclass(frozen=True)
class Spoken:
    """Audio of a voice and the viseme of each feature row [T50], -1 where two meet."""

    audio: Audio
    visemes: NDArray[np.int64]


def speak_labelled(voice: str) -> list[Spoken]:
    """All sentences by one flite voice. Raises UserError when flite is not installed."""
    return [_labelled(sentence, Voice(voice, "flite", voice)) for sentence in SENTENCES]


def unseen_voice_accuracy(extractor: SpeechFeatures, voices: dict[str, list[Spoken]]) -> dict[str, float]:
    """Share of rows whose viseme is right, per test voice, and their mean."""
    rows = {name: [extractor(spoken.audio) for spoken in takes] for name, takes in voices.items()}
    scores = {}
    for test in voices:
        train_x, train_y = [], []
        for name in voices:
            if name != test:
                train_x += rows[name][:-N_TEST]
                train_y += [spoken.visemes for spoken in voices[name][:-N_TEST]]
        classifier = Classifier.fit(np.concatenate(train_x), np.concatenate(train_y))
        truth = np.concatenate([spoken.visemes for spoken in voices[test][-N_TEST:]])
        guess = classifier(np.concatenate(rows[test][-N_TEST:]))
        scores[test] = float((guess == truth)[truth >= 0].mean())
    return scores | {"mean": float(np.mean(list(scores.values())))}


def agreement(
    first: SpeechFeatures,
    second: SpeechFeatures,
    voices: dict[str, list[Spoken]],
    sounds: Sequence[Audio],
) -> float:
    """Share of rows of real speech to which both features' classifiers give the same viseme."""
    said = []
    for extractor in (first, second):
        takes = [spoken for spoken_takes in voices.values() for spoken in spoken_takes]
        x = np.concatenate([extractor(spoken.audio) for spoken in takes])
        classifier = Classifier.fit(x, np.concatenate([spoken.visemes for spoken in takes]))
        said.append(np.concatenate([classifier(extractor(sound)) for sound in sounds]))
    return float((said[0] == said[1]).mean())


@dataclass(frozen=True)
class Classifier:
    """Multinomial logistic regression on standardised rows."""

    mean: FloatArray
    std: FloatArray
    weights: torch.Tensor

    @classmethod
    def fit(cls, x: FloatArray, y: NDArray[np.int64]) -> Classifier:
        """x: [N, F]; y: [N], rows with -1 are left out."""
        x, y = x[y >= 0], y[y >= 0]
        mean, std = x.mean(0), x.std(0) + 1e-6
        inputs = _with_one((x - mean) / std)
        target = torch.from_numpy(y)
        weights = torch.zeros(inputs.shape[1], len(VISEMES), requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(inputs @ weights, target) + DECAY * weights.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return cls(mean, std, weights.detach())

    def __call__(self, x: FloatArray) -> NDArray[np.int64]:
        """Most likely viseme [N] of rows [N, F]."""
        scores = _with_one((x - self.mean) / self.std) @ self.weights
        return np.asarray(scores.argmax(1).numpy())


def _with_one(x: FloatArray) -> torch.Tensor:
    return functional.pad(torch.from_numpy(np.asarray(x, np.float32)), (0, 1), value=1.0)


def _labelled(sentence: str, voice: Voice) -> Spoken:
    utterance = speak(sentence, voice)
    segments = viseme_segments(utterance.phones)
    audio = Audio(utterance.samples)
    times = np.arange(-(-len(audio.samples) // 320)) / FEATURE_HZ
    visemes = np.full(len(times), -1, np.int64)
    for viseme, start, end in zip(segments.viseme, segments.start_s, segments.end_s, strict=True):
        visemes[(times >= start) & (times < end)] = viseme
    return Spoken(audio, visemes)
