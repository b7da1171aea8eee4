"""How much of the mouth speech features know: a linear classifier of visemes on voices it never heard.

Synthetic voices of a language with known phone times; the classifier is trained on all but one and tested on
that one, on other sentences. The same on recordings whose words have times is in ``evaluate.features``. Where
nothing is known, the classifier on two kinds of features should say the same: the agreement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from emogene.features.extractor import SpeechFeatures
from emogene.persona.phones import VISEMES, Phone, viseme_segments
from emogene.persona.speech import Voice, speak
from emogene.training.feature_sentences import SENTENCES
from emogene.training.festival import speak_with_festival
from emogene.types import FEATURE_HZ, SAMPLE_RATE_HZ, Audio, FloatArray

VOICES: Mapping[str, tuple[Voice, ...]] = {
    "en": tuple(Voice(name, "flite", name) for name in ("slt", "awb", "rms", "kal16")),
    "it": (Voice("lp", "festival", "lp_diphone", "it"), Voice("pc", "festival", "pc_diphone", "it")),
    "fi": (
        Voice("lj", "festival", "suo_fi_lj_diphone", "fi"),
        Voice("mv", "festival", "hy_fi_mv_diphone", "fi"),
    ),
    "cs": tuple(Voice(name, "festival", f"czech_{name}", "cs") for name in ("dita", "krb", "machac", "ph")),
    **{
        language: tuple(
            Voice(variant, "espeak", f"{language}+{variant}", language)
            for variant in ("f2", "f4", "m3", "m7")
        )
        for language in ("de", "fr", "es")
    },
}
"""Voices of each language. flite's and festival's come from recorded people; espeak's are formants, and the
built-in student was taught with other sentences of espeak's."""
N_TEST = 6
"""Sentences at the end that only the test voice speaks."""
STEPS = 40
DECAY = 1e-3
ROW_SAMPLES = SAMPLE_RATE_HZ // FEATURE_HZ


@dataclass(frozen=True)
class Spoken:
    """Audio of a voice and the viseme of each feature row [T50], -1 where two meet."""

    audio: Audio
    visemes: NDArray[np.int64]


def speak_labelled(voice: Voice) -> list[Spoken]:
    """All sentences of its language by one voice. Raises UserError when its program is not installed."""
    say = speak_with_festival if voice.engine == "festival" else speak
    utterances = [say(sentence, voice) for sentence in SENTENCES[voice.language]]
    return [labelled(Audio(utterance.samples), utterance.phones) for utterance in utterances]


def unseen_voice_accuracy(
    extractor: SpeechFeatures, voices: Mapping[str, Sequence[Spoken]]
) -> dict[str, float]:
    """Share of rows whose viseme is right, per test voice, and their mean.

    All voices say the same sentences; the last N_TEST are said by the test voice alone.
    """
    scores = {
        test: accuracy(
            extractor,
            [spoken for name in voices if name != test for spoken in voices[name][:-N_TEST]],
            voices[test][-N_TEST:],
        )
        for test in voices
    }
    return scores | {"mean": float(np.mean(list(scores.values())))}


def accuracy(extractor: SpeechFeatures, training: Sequence[Spoken], test: Sequence[Spoken]) -> float:
    """Share of the test's rows whose viseme a linear classifier of the training's rows names."""
    x, truth = _rows(extractor, training)
    guess = Classifier.fit(x, truth)
    x, truth = _rows(extractor, test)
    return float((guess(x) == truth)[truth >= 0].mean())


def agreement(
    first: SpeechFeatures,
    second: SpeechFeatures,
    voices: Mapping[str, Sequence[Spoken]],
    sounds: Sequence[Audio],
) -> float:
    """Share of rows of real speech to which both features' classifiers give the same viseme."""
    said = []
    for extractor in (first, second):
        takes = [spoken for spoken_takes in voices.values() for spoken in spoken_takes]
        classifier = Classifier.fit(*_rows(extractor, takes))
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


def labelled(audio: Audio, phones: Sequence[Phone]) -> Spoken:
    """Sound and its phones with times -> the viseme of every row."""
    segments = viseme_segments(phones)
    times = np.arange(-(-len(audio.samples) // ROW_SAMPLES)) / FEATURE_HZ
    visemes = np.full(len(times), -1, np.int64)
    for viseme, start, end in zip(segments.viseme, segments.start_s, segments.end_s, strict=True):
        visemes[(times >= start) & (times < end)] = viseme
    return Spoken(audio, visemes)


def _rows(extractor: SpeechFeatures, takes: Sequence[Spoken]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Features [N, F] and visemes [N] of all takes."""
    return (
        np.concatenate([extractor(spoken.audio) for spoken in takes]),
        np.concatenate([spoken.visemes for spoken in takes]),
    )
