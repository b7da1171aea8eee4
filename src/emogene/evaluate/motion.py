"""How well generated motion follows real speech: the table of docs/motion-emotion.md.

Truth is tracked landmarks as offsets from the speaker's neutral face. Correlations and ratios are per
clip, averaged over clips, then over speakers; the constant part of each speaker is removed from both
sides, because the neutral face belongs to the avatar and not to the motion model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.data.augment import no_speech
from emogene.data.features import clip_features
from emogene.data.prepare import LARGEST_OFFSET, LEAST_CONFIDENCE, by_speaker, in_sync
from emogene.data.rest import frame_level_db, neutral_face
from emogene.evaluate.sync import evaluate_sync
from emogene.features.extractor import SpeechFeatures
from emogene.geometry.landmarks import MOUTH, lip_opening, lip_width, shut_level
from emogene.io.audio import read_audio
from emogene.io.clip import Clip
from emogene.motion.model import MotionModel
from emogene.motion.sync import SyncExpert
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, FloatArray

MAX_LAG = 6
PLOTTED = 12
"""Speakers in the picture of curves."""
CLOSING_WORDS = ("bin", "blue", "by", "place", "please", "b", "p")
"""GRID words that begin with shut lips."""


@dataclass(frozen=True)
class Truth:
    """A clip to be judged by: features and prosody at 50 Hz, offsets [T, 68, 3], frames that count [T]."""

    name: str
    speaker: str
    neutral: FloatArray
    features: FloatArray
    prosody: FloatArray
    offsets: FloatArray
    mask: NDArray[np.bool_]
    level_db: FloatArray
    closures: tuple[tuple[float, float], ...] = ()
    """Times (start_s, end_s) within which the lips must shut."""


@dataclass(frozen=True)
class Follow:
    """One clip's numbers: correlation at every lag, and the sums behind errors and ratios."""

    speaker: str
    opening_r: FloatArray
    width_r: FloatArray
    std_opening: tuple[float, float]
    std_width: tuple[float, float]
    speed: tuple[float, float]


def judge(
    model: MotionModel,
    expert: SyncExpert,
    extractor: SpeechFeatures,
    groups: Mapping[str, Sequence[Clip]],
    *,
    temperature: float = 0.2,
    correct: bool = True,
    exact: bool = False,
    plot: Path | None = None,
    independent: SyncExpert | None = None,
) -> dict[str, dict[str, Any]]:
    """The whole table: one row of numbers per group of clips, and one per projection onto its speakers.

    ``expert`` finds the clips' A/V offsets, in whole frames or ``exact``, and is judged itself;
    ``independent`` is a second one that hears other features than the model and judges its motion
    ("independent_share_of_truth", ``motion_judges``). "seen speaking" repeats the numbers for the clips in
    which the expert is sure that the mouth speaks: in uncurated footage some show a listener. ``plot``: an
    .svg to draw the lip opening of one clip per speaker in, truth black, ours red.
    """
    from emogene.evaluate.curves import curve_drawing
    from emogene.evaluate.motion_judges import (
        by_language,
        controls,
        ears_of,
        projection_table,
        share_of_truth,
    )
    from emogene.features.prosody import prosody

    rows: dict[str, dict[str, Any]] = {}
    ears = ears_of(expert, extractor)
    other_ears = None if independent is None else ears_of(independent, extractor)
    strips: dict[str, tuple[FloatArray, FloatArray]] = {}
    for name, clips in groups.items():
        clips = [corrected(clip, expert, ears, prosody, exact) for clip in clips] if correct else list(clips)
        judged = truths(clips, extractor, prosody)
        heard = judged if ears is extractor else truths(clips, ears, prosody)
        made = [model.generate(x.features, x.prosody, temperature=temperature) for x in judged]
        for clip, motion in zip(judged, made, strict=True):
            curves = lip_opening(clip.neutral + clip.offsets), lip_opening(clip.neutral + motion)
            strips.setdefault(f"{clip.speaker} ({name})", curves)
        rows[name] = {
            **follow_table(judged, made),
            **by_language(judged, {clip.folder.name: clip.about.get("language", "") for clip in clips}, made),
            **diversity(model, judged[:12]),
            **stillness(model, extractor, prosody, clips[:6]),
            **_sync_numbers(expert, heard),
            **share_of_truth(expert, heard, made),
            **controls(expert, heard),
        }
        if independent is not None and other_ears is not None:
            verdict = share_of_truth(independent, truths(clips, other_ears, prosody), made)
            rows[name] |= {f"independent_{key}": value for key, value in verdict.items()}
        sure = {clip.folder.name for clip in clips if clip.about.get("av_offset_sure", True)}
        if 0 < len(sure) < len(judged):
            chosen = [pair for pair in zip(judged, made, strict=True) if pair[0].name in sure]
            speaking = _sync_numbers(expert, [clip for clip in heard if clip.name in sure])
            rows[f"{name}, seen speaking"] = (
                follow_table([c for c, _ in chosen], [m for _, m in chosen]) | speaking
            )
        for blend, numbers in projection_table(judged, made).items():
            rows[f"{name}, projection {blend}"] = numbers
    if plot is not None:
        curve_drawing(plot, dict(list(strips.items())[:PLOTTED]))
    return rows


def corrected(
    clip: Clip,
    expert: SyncExpert,
    extractor: SpeechFeatures,
    prosody: Callable[[Audio], FloatArray],
    exact: bool = False,
) -> Clip:
    """The clip with the A/V offset that the expert hears noted in it (where it is sure), in whole frames if
    not ``exact``; the fraction is noted beside."""
    features, rhythm = clip_features(clip, extractor, prosody)
    loud = rhythm[:, 2].reshape(-1, 2).mean(1)
    active = (loud > 0.5 * loud.max()).astype(np.float32)
    confidence, offset = expert.place(features, clip.arrays["landmarks_cano"], active)
    sure = confidence >= LEAST_CONFIDENCE and abs(round(offset)) <= LARGEST_OFFSET
    found = offset if sure else 0
    noted = {"av_offset_frames": found if exact else round(found), "av_offset_exact": found}
    return replace(clip, about=clip.about | noted | {"av_offset_sure": sure})


def truths(
    clips: Sequence[Clip], extractor: SpeechFeatures, prosody: Callable[[Audio], FloatArray]
) -> list[Truth]:
    """Prepare clips for judging; features are cached in their folders."""
    result = []
    for speaker, group in by_speaker(clips).items():
        neutral = neutral_face(group)
        for clip in group:
            landmarks, real = in_sync(clip)
            mask = np.zeros(len(landmarks), bool)
            mask[real] = True
            features, rhythm = clip_features(clip, extractor, prosody)
            result.append(
                Truth(
                    clip.folder.name,
                    speaker,
                    neutral,
                    features,
                    rhythm,
                    landmarks - neutral,
                    mask & clip.valid,
                    frame_level_db(clip),
                    _closures(clip),
                )
            )
    return result


def evaluate_motion(
    model: MotionModel, clips: Sequence[Truth], *, temperature: float = 0.2, seed: int = 0
) -> dict[str, Any]:
    """The follow-the-speech part of the table for one group of clips."""
    predictions = [
        model.generate(clip.features, clip.prosody, seed=seed, temperature=temperature) for clip in clips
    ]
    return follow_table(clips, predictions)


def follow_table(clips: Sequence[Truth], predictions: Sequence[FloatArray]) -> dict[str, Any]:
    """Numbers for predictions of any origin, [T, 68, 3] each."""
    follows = [_follow(clip, motion) for clip, motion in zip(clips, predictions, strict=True)]
    opening = _over_speakers([(f.speaker, f.opening_r) for f in follows])
    width = _over_speakers([(f.speaker, f.width_r) for f in follows])
    per_speaker = {
        name: float(np.mean([f.opening_r[MAX_LAG] for f in follows if f.speaker == name]))
        for name in dict.fromkeys(f.speaker for f in follows)
    }
    return {
        "clips": len(clips),
        "r_opening": float(opening[MAX_LAG]),
        "r_width": float(width[MAX_LAG]),
        "worst_speaker": min(per_speaker.values()),
        "nmse": _nmse(clips, predictions),
        "lag": _peak(opening),
        "std_opening": _ratio([f.std_opening for f in follows]),
        "std_width": _ratio([f.std_width for f in follows]),
        "velocity": float(
            np.sqrt(sum(f.speed[0] for f in follows) / max(1e-12, sum(f.speed[1] for f in follows)))
        ),
        **_closure_recall(clips, predictions),
        "per_speaker": per_speaker,
    }


def diversity(
    model: MotionModel, clips: Sequence[Truth], *, temperature: float = 1.0, samples: int = 4
) -> dict[str, float]:
    """Spread between samples over the true spread of the mouth, and what sampling costs in correlation."""
    spreads, powers = [], []
    first = []
    for clip in clips:
        motions = np.stack(
            [
                model.generate(clip.features, clip.prosody, seed=s, temperature=temperature)
                for s in range(samples)
            ]
        )[:, : len(clip.offsets), MOUTH]
        spreads.append((motions.std(0, ddof=1) ** 2).mean())
        powers.append(clip.offsets[:, MOUTH].var(0).mean())
        first.append(motions[0])
    cold = evaluate_motion(model, clips, temperature=0.0)["r_opening"]
    warm = evaluate_motion(model, clips, temperature=temperature, seed=0)["r_opening"]
    return {"diversity": float(np.sqrt(np.mean(spreads) / np.mean(powers))), "r_loss": cold - warm}


def stillness(
    model: MotionModel,
    extractor: SpeechFeatures,
    prosody: Callable[[Audio], FloatArray],
    spoken: Sequence[Clip],
    seed: int = 0,
) -> dict[str, float]:
    """How far the lips move without speech, as shares of their motion in speech.

    Opening deviation on seconds of sound without speech, by kind; velocity within a 2 s pause spliced
    into each of the ``spoken`` clips ("pause"); mean opening there in canonical units ("pause_open").
    """
    rng = np.random.default_rng(seed)

    def opening(samples: FloatArray) -> FloatArray:
        sound = Audio(samples)
        return lip_opening(model.generate(extractor(sound), prosody(sound), seed=seed))

    speech_std, speech_speed, pause_speed, pause_open = [], [], [], []
    for clip in spoken:
        samples = read_audio(clip.audio_path).samples
        plain = opening(samples)
        speech_std.append(plain.std())
        speech_speed.append(np.abs(np.diff(plain)).mean())
        cut = len(samples) // SAMPLES_PER_FRAME // 2 * SAMPLES_PER_FRAME
        pause = no_speech("white", 2 * FPS * SAMPLES_PER_FRAME, rng, level_db=-65)
        spliced = opening(np.concatenate([samples[:cut], pause, samples[cut:]]))
        inside = spliced[cut // SAMPLES_PER_FRAME + 8 : cut // SAMPLES_PER_FRAME + 2 * FPS - 8]
        pause_speed.append(np.abs(np.diff(inside)).mean())
        pause_open.append(np.abs(inside).mean())
    result = {
        "pause": float(np.mean(pause_speed) / np.mean(speech_speed)),
        "pause_open": float(np.mean(pause_open)),
    }
    for kind, level in (("zeros", -90), ("white", -60), ("hum", -40), ("clicks", -35), ("melody", -25)):
        still = opening(no_speech(kind, 4 * FPS * SAMPLES_PER_FRAME, rng, level_db=level))
        result[kind] = float(still.std() / np.mean(speech_std))
    return result


def format_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of numbers as aligned text."""
    columns = list(
        dict.fromkeys(k for row in rows.values() for k, v in row.items() if isinstance(v, int | float))
    )
    width = max(len(name) for name in rows) + 2
    lines = [" " * width + "  ".join(f"{name:>{max(7, len(name))}}" for name in columns)]
    for name, row in rows.items():
        cells = (f"{row[c]:>{max(7, len(c))}.3f}" if c in row else " " * max(7, len(c)) for c in columns)
        lines.append(f"{name:<{width}}" + "  ".join(cells))
    return "\n".join(lines) + "\n"


def _sync_numbers(expert: SyncExpert, clips: Sequence[Truth]) -> dict[str, float]:
    return {f"sync_{key}": value for key, value in evaluate_sync(expert, clips).items()}


def _follow(clip: Truth, motion: FloatArray) -> Follow:
    n = min(len(motion), len(clip.offsets))
    made, true = motion[:n] + clip.neutral, clip.offsets[:n] + clip.neutral
    keep = clip.mask[:n]
    opening = lip_opening(made), lip_opening(true)
    width = lip_width(made), lip_width(true)
    both = keep[1:] & keep[:-1]
    speeds = tuple(float((np.diff(x[:, MOUTH], axis=0)[both] ** 2).mean()) for x in (made, true))
    return Follow(
        clip.speaker,
        _correlations(*opening, keep),
        _correlations(*width, keep),
        (float(opening[0][keep].std()), float(opening[1][keep].std())),
        (float(width[0][keep].std()), float(width[1][keep].std())),
        (speeds[0], speeds[1]),
    )


def _correlations(made: FloatArray, true: FloatArray, keep: NDArray[np.bool_]) -> FloatArray:
    """Pearson's r with ``made`` moved earlier by -6..6 frames: a peak at +2 means it is 2 frames late."""
    n, result = len(made), []
    for lag in range(-MAX_LAG, MAX_LAG + 1):
        late = slice(max(0, lag), n + min(0, lag))
        early = slice(max(0, -lag), n + min(0, -lag))
        a, b = made[late][keep[early]], true[early][keep[early]]
        flat = len(a) < 5 or a.std() < 1e-6 or b.std() < 1e-6
        result.append(0.0 if flat else float(np.corrcoef(a, b)[0, 1]))
    return np.asarray(result, np.float32)


def _over_speakers(values: Sequence[tuple[str, FloatArray]]) -> FloatArray:
    names = dict.fromkeys(name for name, _ in values)
    means = [np.mean([v for who, v in values if who == name], axis=0) for name in names]
    return np.asarray(np.mean(means, axis=0), np.float32)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    made, true = np.mean(pairs, axis=0)
    return float(made / max(true, 1e-9))


def _peak(curve: FloatArray) -> float:
    """Lag in frames of the curve's peak, by a parabola through it."""
    k = int(np.argmax(curve))
    if not 0 < k < len(curve) - 1:
        return float(k - MAX_LAG)
    before, here, after = curve[k - 1 : k + 2]
    return float(k - MAX_LAG + 0.5 * (before - after) / (before - 2 * here + after - 1e-9))


def _nmse(clips: Sequence[Truth], predictions: Sequence[FloatArray]) -> float:
    error, power = 0.0, 0.0
    for name in dict.fromkeys(clip.speaker for clip in clips):
        pairs = [
            (
                motion[: len(clip.offsets)][clip.mask[: len(motion)]],
                clip.offsets[: len(motion)][clip.mask[: len(motion)]],
            )
            for clip, motion in zip(clips, predictions, strict=True)
            if clip.speaker == name
        ]
        made = np.concatenate([a for a, _ in pairs])[:, MOUTH]
        true = np.concatenate([b for _, b in pairs])[:, MOUTH]
        made, true = made - made.mean(0), true - true.mean(0)
        error += float(((made - true) ** 2).sum())
        power += float((true**2).sum())
    return error / max(power, 1e-12)


def _closures(clip: Clip) -> tuple[tuple[float, float], ...]:
    """Windows in which lips must shut, from GRID words or from phones."""
    windows = []
    for start, end, word in clip.about.get("words", []):
        if word in CLOSING_WORDS:
            windows.append((start - 0.08, start + 0.10))
        elif word == "m":
            windows.append(((start + end) / 2 - 0.04, end + 0.04))
    windows += [(a - 0.04, b + 0.02) for a, b, phone in clip.phones if phone in ("p", "b", "m")]
    return tuple(windows)


def _closure_recall(clips: Sequence[Truth], predictions: Sequence[FloatArray]) -> dict[str, float]:
    """Share of closures in which the lips come below the speaker's ``shut_level``, made and true."""
    made_hits, true_hits, chance = [], [], []
    for name in dict.fromkeys(clip.speaker for clip in clips):
        group = [(c, p) for c, p in zip(clips, predictions, strict=True) if c.speaker == name]
        true_all = np.concatenate([lip_opening(c.offsets) for c, _ in group])
        level = shut_level(true_all)
        for clip, motion in group:
            made, true = lip_opening(motion), lip_opening(clip.offsets)
            times = (np.arange(min(len(made), len(true))) + 0.5) / FPS
            for start, end in clip.closures:
                inside = np.flatnonzero((times >= start) & (times <= end))
                if len(inside):
                    made_hits.append(made[inside].min() < level)
                    true_hits.append(true[inside].min() < level)
                    chance.append(np.mean(made < level))
    if not made_hits:
        return {}
    return {
        "closure": float(np.mean(made_hits)),
        "closure_true": float(np.mean(true_hits)),
        "closure_frames": float(np.mean(chance)),
    }
