"""How good is Motion-to-Emotion? Systems against exact pairs of speakers and voices never trained on.

Every system is a function (neutral offsets [T, 68, 3], weights [T, 8]) -> emotional offsets; the truth row
and the row that changes nothing frame the others. What must hold is in MUST.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, pairwise

import numpy as np
from scipy.stats import spearmanr

from emogene.emotion.grammar import parse_emotion
from emogene.emotion.losses import INNER_LOWER
from emogene.emotion.track import DEFAULT_FADE_S
from emogene.evaluate.emotion_classifier import EmotionClassifier
from emogene.geometry.landmarks import EYES, lip_opening
from emogene.training.emotion_pairs import EmotionPair
from emogene.types import EMOTIONS, FPS, NEUTRAL, FloatArray

System = Callable[[FloatArray, FloatArray], FloatArray]

ACTIVE = tuple(index for index in range(len(EMOTIONS)) if index != NEUTRAL)
BILABIALS, LABIODENTALS = frozenset("pbm"), frozenset("fv")
DOSES = tuple(float(dose) for dose in np.linspace(0, 1, 11))

MUST: Mapping[str, str] = {
    "error_ratio": "<= 0.25",
    "accuracy_lost": "<= 0.03",
    "dose_spearman": ">= 0.98",
    "mixtures_between": ">= 0.99",
    "closure_kept": ">= 0.97",
    "opening_r": ">= 0.85",
    "transition_peak": "<= 1",
    "fade_speed": "<= 1",
    "fade_over_held": "<= 1",
    "neutral_drift": "== 0",
}


@dataclass(frozen=True)
class EmotionScores:
    """One row of the table.

    error_ratio: mean distance of landmarks to the truth over that of the unchanged neutral motion.
    square_ratio: the same of squared distances. accuracy: share of takes whose emotion the classifier names.
    accuracy_lost: the truth's accuracy minus this one. dose_spearman, score_spearman: lowest over emotions of
    the rank correlation between dose and displacement, and dose and expression score. mixtures_between: share
    of half-and-half mixtures that lie between their parts. closure_kept: closures at p, b, m at full dose, as
    a share of the neutral motion. contact_kept: the same at f, v. opening_r: correlation of lip opening with
    the neutral motion, full dose. transition_peak: largest speed a change of emotion adds to the two emotions
    held, over the 99th percentile of speech's speed. fade_speed: 99th percentile of speed while the emotion
    changes, over that of all neutral speech. fade_over_held: the same over the faster of the two emotions
    held through the same frames, so that what is left is the change itself. fade_over_neutral,
    held_over_neutral: change and held emotion over the neutral motion of the same frames; emotional speech is
    faster than neutral speech. speed_of_truth: 99th percentile of speed of whole emotional takes, over that
    of the true ones. neutral_drift: largest change at neutral.
    """

    error_ratio: float
    square_ratio: float
    accuracy: float
    accuracy_lost: float
    dose_spearman: float
    score_spearman: float
    mixtures_between: float
    closure_kept: float
    contact_kept: float
    opening_r: float
    transition_peak: float
    fade_speed: float
    fade_over_held: float
    fade_over_neutral: float
    held_over_neutral: float
    speed_of_truth: float
    neutral_drift: float


def evaluate_emotion(
    systems: Mapping[str, System], training: Sequence[EmotionPair], held: Sequence[EmotionPair]
) -> dict[str, EmotionScores]:
    """Score systems on held-out pairs; ``training`` pairs teach the classifier what truth looks like."""
    classifier = EmotionClassifier.fit(training)
    directions = mean_displacements(training)
    truth_accuracy = classifier.accuracy(held, [pair.emotional for pair in held])
    return {
        name: _score(system, held, classifier, directions, truth_accuracy) for name, system in systems.items()
    }


def mean_displacements(pairs: Sequence[EmotionPair]) -> FloatArray:
    """[8, 68, 3] mean displacement per dose of each emotion, by least squares."""
    doses = np.stack([pair.weights.mean(0) for pair in pairs])
    moved = np.stack([(pair.emotional - pair.neutral).mean(0).ravel() for pair in pairs])
    table = np.linalg.solve(doses.T @ doses + 1e-3 * np.eye(8), doses.T @ moved)
    return np.asarray(table.reshape(8, 68, 3), np.float32)


def markdown(rows: Mapping[str, EmotionScores]) -> str:
    """The table, systems as columns, with what must hold."""
    names = list(rows)
    lines = ["| measure | must | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for item in fields(EmotionScores):
        values = " | ".join(f"{getattr(rows[name], item.name):.3f}" for name in names)
        lines.append(f"| {item.name} | {MUST.get(item.name, '')} | {values} |")
    return "\n".join(lines)


def average_faces(system: System, held: Sequence[EmotionPair]) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Mean neutral face [68, 3] and, by label, the same face, silent, with each emotion at dose 1."""
    neutral = np.stack([pair.neutral_cano for pair in held]).mean(0)
    still = np.zeros((13, 68, 3), np.float32)
    faces = {EMOTIONS[index]: neutral + system(still, constant(index, 13))[6] for index in ACTIVE}
    return np.asarray(neutral), faces


def _score(
    system: System,
    held: Sequence[EmotionPair],
    classifier: EmotionClassifier,
    directions: FloatArray,
    truth_accuracy: float,
) -> EmotionScores:
    ours = [system(pair.neutral, pair.weights) for pair in held]
    error_ratio, square_ratio = _error_ratios(held, ours)
    accuracy = classifier.accuracy(held, ours)
    full = {index: [system(pair.neutral, constant(index, len(pair))) for pair in held] for index in ACTIVE}
    displacement, score = _dose_correlations(system, held, directions)
    return EmotionScores(
        error_ratio=error_ratio,
        square_ratio=square_ratio,
        accuracy=accuracy,
        accuracy_lost=truth_accuracy - accuracy,
        dose_spearman=displacement,
        score_spearman=score,
        mixtures_between=_mixtures_between(system, held, full),
        closure_kept=_kept(held, full, BILABIALS),
        contact_kept=_kept(held, full, LABIODENTALS),
        opening_r=_opening_correlation(held, full),
        **_transitions(system, held[:20], full),
        speed_of_truth=_fast(list(map(_speed, ours))) / _fast([_speed(pair.emotional) for pair in held]),
        neutral_drift=_neutral_drift(system, held),
    )


def constant(emotion: int, n_frames: int, dose: float = 1.0) -> FloatArray:
    """Weights [T, 8] of one emotion."""
    weights = np.zeros((n_frames, len(EMOTIONS)), np.float32)
    weights[:, emotion] = dose
    return weights


def _error_ratios(held: Sequence[EmotionPair], ours: Sequence[FloatArray]) -> tuple[float, float]:
    error, baseline = [], []
    for pair, emotional in zip(held, ours, strict=True):
        known = np.ones((len(pair), 68), bool)
        known[pair.eyes_neutral.min(-1) < 0.8, EYES] = False
        error.append(np.linalg.norm(emotional - pair.emotional, axis=-1)[known])
        baseline.append(np.linalg.norm(pair.neutral - pair.emotional, axis=-1)[known])
    wrong, nothing = np.concatenate(error), np.concatenate(baseline)
    return float(wrong.mean() / nothing.mean()), float((wrong**2).mean() / (nothing**2).mean())


def _dose_correlations(
    system: System, held: Sequence[EmotionPair], directions: FloatArray
) -> tuple[float, float]:
    """Lowest over emotions of the mean rank correlation with displacement and with expression score."""
    by_size, by_score = [], []
    for index in ACTIVE:
        direction = directions[index] / max(float(np.linalg.norm(directions[index])), 1e-9)
        sizes, scores = [], []
        for pair in held[:20]:
            moved = [
                (system(pair.neutral, constant(index, len(pair), dose)) - pair.neutral) for dose in DOSES
            ]
            sizes.append(_rank_correlation([float(np.linalg.norm(m, axis=-1).mean()) for m in moved]))
            scores.append(_rank_correlation([float((m.mean(0) * direction).sum()) for m in moved]))
        by_size.append(np.mean(sizes))
        by_score.append(np.mean(scores))
    return float(min(by_size)), float(min(by_score))


def _rank_correlation(values: list[float]) -> float:
    return 0.0 if np.ptp(values) < 1e-9 else float(spearmanr(DOSES, values).statistic)


def _mixtures_between(
    system: System, held: Sequence[EmotionPair], full: Mapping[int, Sequence[FloatArray]]
) -> float:
    """Share of mixtures whose mean face projects between the mean faces of its two parts."""
    between = []
    for first, second in combinations(ACTIVE, 2):
        for row, pair in enumerate(held[:10]):
            weights = constant(first, len(pair), 0.5) + constant(second, len(pair), 0.5)
            start, end = full[first][row].mean(0), full[second][row].mean(0)
            mixed, way = system(pair.neutral, weights).mean(0) - start, end - start
            length = float((way**2).sum())
            between.append(length > 1e-9 and 0.1 < float((mixed * way).sum()) / length < 0.9)
    return float(np.mean(between))


def _kept(
    held: Sequence[EmotionPair], full: Mapping[int, Sequence[FloatArray]], phones: frozenset[str]
) -> float:
    """Contacts at the given phones with an emotion at full dose, as a share of the neutral motion's."""
    neutral_hits, emotional_hits = 0, []
    for index in ACTIVE:
        emotional_hits.append(0)
        for pair, emotional in zip(held, full[index], strict=True):
            limit = contact_limit(pair, phones)
            emotional_hits[-1] += contacts(pair, emotional, phones, limit)
    for pair in held:
        neutral_hits += contacts(pair, pair.neutral, phones, contact_limit(pair, phones))
    return float(np.mean(emotional_hits)) / max(neutral_hits, 1)


def contact_limit(pair: EmotionPair, phones: frozenset[str]) -> float:
    """Largest ``_gap`` at which a contact counts: 15 % of the median one for closures, half for f, v."""
    gap = _gap(pair, pair.neutral, phones)
    return (0.15 if phones == BILABIALS else 0.5) * max(float(np.median(gap)), 0.02)


def contacts(pair: EmotionPair, offsets: FloatArray, phones: frozenset[str], limit: float) -> int:
    """Number of the given phones during which the contact is made."""
    gap = _gap(pair, offsets, phones)
    hits = 0
    for start_s, end_s, label in pair.phones:
        if label in phones:
            first, last = int(np.floor(start_s * FPS)), int(np.ceil(end_s * FPS))
            nearby = gap[max(first, 0) : last + 1]
            hits += len(nearby) > 0 and float(nearby.min()) <= limit
    return hits


def _gap(pair: EmotionPair, offsets: FloatArray, phones: frozenset[str]) -> FloatArray:
    """What must vanish [T]: for p, b, m the opening of the lips, for f, v the lower lip's way to the teeth.

    An emotion may bare the teeth in f and v, so there the upper lip does not count.
    """
    face = pair.neutral_cano
    if phones == BILABIALS:
        return np.asarray(lip_opening(face + offsets) - lip_opening(face))
    return np.asarray(-offsets[:, INNER_LOWER, 1].mean(-1))


def _opening_correlation(held: Sequence[EmotionPair], full: Mapping[int, Sequence[FloatArray]]) -> float:
    values = []
    for index in ACTIVE:
        for pair, emotional in zip(held, full[index], strict=True):
            before, after = (lip_opening(pair.neutral_cano + x) for x in (pair.neutral, emotional))
            if before.std() > 1e-3:  # silent takes have nothing to correlate
                values.append(np.corrcoef(before, after)[0, 1])
    return float(np.mean(values))


def _transitions(
    system: System, held: Sequence[EmotionPair], full: Mapping[int, Sequence[FloatArray]]
) -> dict[str, float]:
    """How fast the face is while its emotion changes, see ``EmotionScores``.

    ``full``: every emotion held at dose 1 through the takes, which is what a change is compared with.
    """
    steady = {**full, NEUTRAL: [pair.neutral for pair in held]}
    added, changing, lasting, plain = [], [], [], []
    for row, pair in enumerate(held):
        times = np.arange(len(pair)) / FPS
        half = round(float(times[-1]) / 2, 3)
        fading = slice(int(half * FPS), int((half + DEFAULT_FADE_S) * FPS) + 1)
        for first, second in pairwise((NEUTRAL, *ACTIVE)):
            track = parse_emotion(f"{EMOTIONS[first]}, {half}:{EMOTIONS[second]}")
            changing.append(_speed(system(pair.neutral, track.weights(times)))[fading])
            lasting.append(np.maximum(_speed(steady[first][row]), _speed(steady[second][row]))[fading])
            plain.append(_speed(pair.neutral)[fading])
            added.append((changing[-1] - lasting[-1]).max())
    own = _fast([_speed(pair.neutral) for pair in held])
    return {
        "transition_peak": float(max(added) / own),
        "fade_speed": _fast(changing) / own,
        "fade_over_held": _fast(changing) / _fast(lasting),
        "fade_over_neutral": _fast(changing) / _fast(plain),
        "held_over_neutral": _fast(lasting) / _fast(plain),
    }


def _fast(speeds: Sequence[FloatArray]) -> float:
    """99th percentile of all of them."""
    return float(np.percentile(np.concatenate(speeds), 99))


def _speed(offsets: FloatArray) -> FloatArray:
    """Root mean square movement of the landmarks from frame to frame, [T - 1]."""
    return np.asarray(np.sqrt((np.diff(offsets, axis=0) ** 2).sum(-1).mean(-1)), np.float32)


def _neutral_drift(system: System, held: Sequence[EmotionPair]) -> float:
    changes = [np.abs(system(p.neutral, constant(NEUTRAL, len(p))) - p.neutral).max() for p in held[:10]]
    return float(max(changes))
