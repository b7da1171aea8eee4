"""Judges of motion that do not take its own word: an expert on other features, wrong motions, projections.

A sync expert that hears what the generator heard scores predictions above reality. One trained on other
features (mel) gives an honest share; and it must fail on mouths that do not speak, speak backwards or late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from emogene.capture.person import BANK_SIZE, spread_bank
from emogene.evaluate.motion import Truth, follow_table
from emogene.evaluate.sync import evaluate_sync
from emogene.features.extractor import SpeechFeatures, load_extractor
from emogene.geometry.landmarks import MOUTH
from emogene.motion.project import Projector
from emogene.motion.sync import SyncExpert
from emogene.types import FloatArray, Identity

LATE_FRAMES = 2
LEAST_BANK = 100
"""Frames of a speaker below which there is no manifold to project onto."""


def ears_of(expert: SyncExpert, extractor: SpeechFeatures) -> SpeechFeatures:
    """What the expert hears: the generator's features if they fit it, else those it was trained on."""
    fits = expert.config.feature_dim == extractor.dim
    return extractor if fits else load_extractor(expert.config.features)


def share_of_truth(
    expert: SyncExpert, clips: Sequence[Truth], predictions: Sequence[FloatArray]
) -> dict[str, float]:
    """The expert's confidence in predictions over that in the true motion, and where it places them."""
    made = evaluate_sync(expert, with_motion(clips, predictions))
    true = evaluate_sync(expert, clips)
    return {
        "share_of_truth": made["confidence"] / max(true["confidence"], 1e-6),
        "made_within_1": made["within_1"],
    }


def controls(expert: SyncExpert, clips: Sequence[Truth]) -> dict[str, float]:
    """Motions that must fail: a mouth at rest and one that runs backwards cannot be told from the same moved
    by 5 frames (0.5 is chance), and one that is late by two frames is not found within one."""
    still = with_motion(clips, [np.zeros_like(clip.offsets) for clip in clips])
    backwards = with_motion(clips, [clip.offsets[::-1] for clip in clips])
    late = with_motion(clips, [np.roll(clip.offsets, LATE_FRAMES, axis=0) for clip in clips])
    return {
        "still_against_5": evaluate_sync(expert, still)["against_5"],
        "backwards_against_5": evaluate_sync(expert, backwards)["against_5"],
        "late_within_1": evaluate_sync(expert, late)["within_1"],
    }


def with_motion(clips: Sequence[Truth], motions: Sequence[FloatArray]) -> list[Truth]:
    """The clips with another motion in place of the true one."""
    return [
        replace(clip, offsets=np.ascontiguousarray(motion[: len(clip.offsets)]))
        for clip, motion in zip(clips, motions, strict=True)
    ]


def projection_table(
    clips: Sequence[Truth], predictions: Sequence[FloatArray], blends: Sequence[float] = (0.0, 0.2, 0.5)
) -> dict[str, dict[str, float]]:
    """What LLE and clamp onto the speaker's own frames change; ``none`` is without either.

    Every second clip of a speaker is the bank, the others are judged; ``outside`` is the mean distance of the
    mouth to the nearest frame of the bank, in units of the speaker's own mouth deviation.
    """
    judged: list[tuple[Truth, FloatArray, Identity]] = []
    for name in dict.fromkeys(clip.speaker for clip in clips):
        group = [pair for pair in zip(clips, predictions, strict=True) if pair[0].speaker == name]
        bank = [clip.offsets[clip.mask] for clip, _ in group[::2]]
        if len(group) > 1 and sum(map(len, bank)) >= LEAST_BANK:
            person = _identity(group[0][0].neutral, np.concatenate(bank))
            judged += [(clip, motion, person) for clip, motion in group[1::2]]
    if not judged:
        return {}
    truth = [clip for clip, _, _ in judged]
    versions = {"none": [motion for _, motion, _ in judged]}
    for blend in blends:
        versions[f"blend {blend:g}"] = [Projector(who, blend=blend)(motion) for _, motion, who in judged]
    people = [who for _, _, who in judged]
    return {
        name: _numbers(follow_table(truth, motions))
        | {"outside": float(np.mean([_outside(m, who) for m, who in zip(motions, people, strict=True)]))}
        for name, motions in versions.items()
    }


def by_language(
    clips: Sequence[Truth], languages: Mapping[str, str], predictions: Sequence[FloatArray]
) -> dict[str, float]:
    """Lip opening's correlation for each language; ``languages``: clip name -> its code ("" if unknown)."""
    result = {}
    for language in sorted(set(languages.values()) - {""}):
        chosen = [k for k, clip in enumerate(clips) if languages[clip.name] == language]
        row = follow_table([clips[k] for k in chosen], [predictions[k] for k in chosen])
        result[f"r_opening_{language}"] = row["r_opening"]
    return result


def _identity(neutral: FloatArray, offsets: FloatArray) -> Identity:
    low, high = np.quantile(offsets, (0.03, 0.97), axis=0)
    return Identity(neutral, offsets.std(0), low, high, spread_bank(offsets, BANK_SIZE))


def _outside(motion: FloatArray, person: Identity) -> float:
    frames, bank = (x[:, MOUTH].reshape(len(x), -1) for x in (motion, person.bank))
    nearest = np.sqrt(((frames[:, None] - bank[None, ::3]) ** 2).mean(-1).min(1))
    return float(nearest.mean() / np.sqrt((person.offset_std[MOUTH] ** 2).mean()))


def _numbers(row: Mapping[str, object]) -> dict[str, float]:
    kept = ("r_opening", "r_width", "nmse", "std_opening", "std_width", "velocity", "closure")
    return {name: float(value) for name in kept if isinstance(value := row.get(name), float)}
