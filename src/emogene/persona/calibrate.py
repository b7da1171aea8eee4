"""Fit viseme targets and dominance to tracked faces whose words are known.

    python -m emogene.persona.calibrate TRACKS --hold-out SPEAKER

TRACKS holds clip folders with ``words`` ([start_s, end_s, word]) or phones.json. The rules of ``visemes`` are
rebuilt in torch, their mouth channels read out as seven measures of the average face of the landmark rig, and
fitted to the measures of the tracked landmarks. A strong prior keeps what the recordings do not show. Prints
the tables for ``visemes`` and the correlations before and after; nothing of the recordings is kept in them.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emogene.errors import UserError
from emogene.io.audio import read_audio
from emogene.io.clip import Clip, clip_folders, open_clip
from emogene.persona.phones import IS_VOWEL, VISEME, VISEMES, Phone, Reals, VisemeSegments, viseme_segments
from emogene.persona.rig import LandmarkRig
from emogene.persona.speech import Voice, speak
from emogene.persona.visemes import (
    CHANNEL,
    CHANNELS,
    DOMINANCE,
    JAW_CHANNELS,
    PRESSED,
    RATE_HZ,
    TARGETS,
    UNITS_FROM_CHANNELS,
    MouthStyle,
    articulate,
    contact,
    speech_energy,
    vowel_effort,
)
from emogene.types import FPS, FloatArray

logger = logging.getLogger(__name__)

MEASURE_WEIGHT = (3.0, 2.0, 1.0, 1.0, 0.7, 0.5, 0.7)
"""Of lip opening, width, lower lip, upper lip, protrusion, corner height, chin."""
FITTED = ("jawOpen", "mouthFunnel", "mouthPucker", "wide", "upper", "lower", "jawForward")
PRIOR_SD, DOMINANCE_SD, PRIOR_WEIGHT = 0.15, 0.25, 5e-4


@dataclass(frozen=True, slots=True)
class Sentence:
    """A tracked sentence: segments, energy at 100 Hz, measures [T, 7] as offsets from the neutral face."""

    speaker: str
    segments: VisemeSegments
    energy: FloatArray
    measures: Reals


def measures_of(landmarks: Reals) -> Reals:
    """Seven mouth measures [..., 7] that are linear in the landmarks [..., 68, 3]."""
    x, y, z = landmarks[..., 0], landmarks[..., 1], landmarks[..., 2]
    return np.stack(
        [
            y[..., 61:64].mean(-1) - y[..., 65:68].mean(-1),
            x[..., 54] - x[..., 48],
            y[..., 57],
            y[..., 51],
            z[..., [51, 57, 62, 66]].mean(-1),
            y[..., [48, 54]].mean(-1),
            y[..., 8],
        ],
        -1,
    )


def readout() -> Reals:
    """Measures [13, 7] of one unit of each mouth channel on the average face, canonical units."""
    face = LandmarkRig.load().face()
    return measures_of(np.tensordot(UNITS_FROM_CHANNELS, face.units_mm[:, :68], axes=1) / face.unit_mm)


def read_sentence(clip: Clip) -> Sentence:
    """Take what the fit needs from a tracked clip."""
    words = clip.about.get("words")
    phones = phones_of_words(words) if words else clip.phones
    audio = read_audio(clip.audio_path)
    neutral = np.array(clip.about["neutral_cano"], np.float32)
    return Sentence(
        speaker=clip.speaker,
        segments=viseme_segments(phones),
        energy=speech_energy(audio.samples, audio.rate_hz),
        measures=measures_of(clip.arrays["landmarks_cano"]) - measures_of(neutral),
    )


def phones_of_words(words: Sequence[tuple[float, float, str]]) -> list[Phone]:
    """Spread flite's pronunciation of each word over the word's time."""
    phones: list[Phone] = []
    for start, end, word in words:
        if word in ("sil", "sp"):
            phones.append((start, end, "pau"))
            continue
        spoken = _pronounced(word)
        scale = (end - start) / (spoken[-1][1] - spoken[0][0])
        phones += [
            (start + (a - spoken[0][0]) * scale, start + (b - spoken[0][0]) * scale, x) for a, b, x in spoken
        ]
    return phones


def correlations(sentences: Sequence[Sentence], targets: Reals, dominance: Reals) -> tuple[float, float]:
    """Mean correlation over the sentences of lip opening and mouth width, rules against tracks."""
    matrix, style = readout(), MouthStyle(targets=targets, dominance=dominance)
    rows = []
    for sentence in sentences:
        gain = np.ones(len(sentence.measures))
        played = articulate(sentence.segments, sentence.energy, gain, style).channels @ matrix
        rows.append([np.corrcoef(played[:, i], sentence.measures[:, i])[0, 1] for i in (0, 1)])
    opening, width = np.nanmean(rows, axis=0)
    return float(opening), float(width)


def fit(sentences: Sequence[Sentence], steps: int = 220) -> tuple[Reals, Reals]:
    """Fit targets [19, 13] and dominance [19, 4]; speakers count alike, each with an offset and a gain."""
    batch = _batch(sentences)
    prior, base = torch.tensor(TARGETS), torch.tensor(DOMINANCE)
    # A viseme keeps the channels it has: coverage of contexts is too thin to give it new ones.
    open_entries = (prior > 0) & torch.tensor([name in FITTED for name in CHANNELS])
    open_entries[[VISEME["sil"], VISEME["PP"]]] = False
    speakers = int(batch["speaker"].max()) + 1
    change = torch.zeros_like(prior, requires_grad=True)
    stretch = torch.zeros_like(base, requires_grad=True)
    gain = torch.zeros(speakers, dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(speakers, 7, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam(
        [
            {"params": [change], "lr": 0.01},
            {"params": [stretch, gain], "lr": 0.02},
            {"params": [offset], "lr": 0.005},
        ]
    )
    matrix = torch.tensor(readout())
    heard, speaker = batch["mask"] > 0, batch["speaker"]
    deviation = batch["measures"][heard].std(0)
    share = 1 / torch.bincount(speaker).double()[speaker]
    weight = (share / share.mean()).clamp(max=8.0)[:, None, None] * batch["mask"][..., None]
    weight = weight * torch.tensor(MEASURE_WEIGHT)
    for step in range(steps):
        targets = (prior + change * open_entries).clamp(0, 1)
        dominance = base * stretch.exp()
        size = (gain - gain.mean()).exp()[speaker][:, None, None]
        played = play(batch, targets, dominance) @ matrix * size + offset[speaker][:, None]
        error = ((played - batch["measures"]) / deviation) ** 2
        loss = (error * weight).sum() / weight.sum()
        prior_loss = ((change / PRIOR_SD) ** 2).sum() + ((stretch / DOMINANCE_SD) ** 2).sum()
        optimiser.zero_grad()
        total = loss + PRIOR_WEIGHT * prior_loss + 0.01 * (gain**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % 50 == 0:
            logger.info("step %d: error %.3f", step, loss.item())
    return targets.detach().numpy(), dominance.detach().numpy()


def play(batch: dict[str, Tensor], targets: Tensor, dominance: Tensor) -> Tensor:
    """``visemes.articulate`` in torch for padded sentences: channels [B, T, 13] (without its smoothing)."""
    viseme = batch["viseme"]
    aim = targets[viseme] * batch["effort"]
    pull = dominance[viseme]
    time_s = torch.arange(batch["mask"].shape[1], dtype=torch.float64) / FPS
    away = time_s - batch["centre"][..., None]
    half = torch.maximum(0.3 * batch["duration"], batch["duration"] / 2 - 0.06)[..., None]
    decay = torch.where(away < 0, pull[..., 2:3], pull[..., 3:4])
    # A tiny offset: the slope of x ** 1.15 at 0 has no finite second part.
    weight = torch.exp(-((decay * (away.abs() - half).clamp(min=0) + 1e-6) ** 1.15))
    weight = weight * batch["present"][..., None]
    channels = []
    for index, jaw in enumerate(JAW_CHANNELS):
        own = weight * pull[..., 1 if jaw else 0][..., None]
        channels.append((own * aim[..., index][..., None]).sum(1) / (own.sum(1) + 1e-3))
    return _contacts(torch.stack(channels, -1), batch["closure"], batch["friction"])


def _contacts(channels: Tensor, closure: Tensor, friction: Tensor) -> Tensor:
    """The constraints of ``visemes``, differentiable."""
    value = {name: channels[..., index] for name, index in CHANNEL.items()}
    value["mouthFunnel"] = value["mouthFunnel"] * (1 - 0.7 * closure)
    gap = value["jawOpen"] + 0.35 * value["mouthFunnel"]
    value["mouthClose"] = value["mouthClose"] * (1 - closure) + (gap - PRESSED).clamp(min=0) * closure
    for name in ("upper", "lower"):
        value[name] = value[name] * (1 - closure)
    for name, least in (("rollLower", 0.28), ("rollUpper", 0.20), ("press", 0.30)):
        value[name] = torch.maximum(value[name], least * closure)
    value["jawOpen"] = value["jawOpen"] * (1 - 0.45 * friction)
    value["mouthClose"] = torch.minimum(value["mouthClose"], value["jawOpen"] + 0.1)
    value["rollLower"] = torch.maximum(value["rollLower"], 0.6 * friction)
    value["upper"] = torch.maximum(value["upper"], 0.2 * friction)
    value["lower"] = value["lower"] * (1 - friction)
    return torch.stack([value[name] for name in CHANNELS], -1)


def _batch(sentences: Sequence[Sentence]) -> dict[str, Tensor]:
    """Pad the sentences to common lengths."""
    count = len(sentences)
    most = max(len(sentence.segments.viseme) for sentence in sentences)
    longest = max(len(sentence.measures) for sentence in sentences)
    names = sorted({sentence.speaker for sentence in sentences})
    table: dict[str, Any] = {name: np.zeros((count, most)) for name in ("present", "centre", "duration")}
    table |= {name: np.zeros((count, longest)) for name in ("mask", "closure", "friction")}
    table |= {"viseme": np.zeros((count, most), np.int64), "effort": np.ones((count, most, len(CHANNELS)))}
    table |= {"measures": np.zeros((count, longest, 7)), "speaker": np.zeros(count, np.int64)}
    opening = [CHANNEL[name] for name in ("jawOpen", "upper", "lower")]
    for row, sentence in enumerate(sentences):
        segments, n_frames = sentence.segments, len(sentence.measures)
        n_segments, frame_s = len(segments.viseme), np.arange(n_frames) / FPS
        table["viseme"][row, :n_segments] = segments.viseme
        table["present"][row, :n_segments] = 1
        table["centre"][row, :n_segments] = segments.centre_s
        table["duration"][row, :n_segments] = segments.duration_s
        at = np.clip((segments.centre_s * RATE_HZ).astype(int), 0, len(sentence.energy) - 1)
        effort = np.where(IS_VOWEL[segments.viseme], vowel_effort(sentence.energy[at]), 1.0)
        table["effort"][row, :n_segments, opening] = effort
        table["mask"][row, :n_frames] = 1
        table["closure"][row, :n_frames] = contact(segments, "PP", frame_s)
        table["friction"][row, :n_frames] = contact(segments, "FF", frame_s)
        table["measures"][row, :n_frames] = sentence.measures
        table["speaker"][row] = names.index(sentence.speaker)
    return {name: torch.tensor(value) for name, value in table.items()}


@cache
def _pronounced(word: str) -> tuple[Phone, ...]:
    phones = speak(word, Voice("dictionary", "flite", "slt")).phones
    return tuple(phone for phone in phones if phone[2] != "pau")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--hold-out", default="", help="speaker to test on and not to fit to")
    parser.add_argument("--per-speaker", type=int, default=60)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    groups: dict[str, list[Sentence]] = {}
    for folder in clip_folders(arguments.tracks):
        clip = open_clip(folder)
        if clip.valid.mean() > 0.98 and len(groups.setdefault(clip.speaker, [])) < arguments.per_speaker:
            groups[clip.speaker].append(read_sentence(clip))
    seen = [sentence for name, group in groups.items() if name != arguments.hold_out for sentence in group]
    if not seen:
        raise UserError(f"{arguments.tracks} has no tracked clips with words; prepare them first")
    targets, dominance = fit(seen)
    for name, group in groups.items():
        before, after = correlations(group, TARGETS, DOMINANCE), correlations(group, targets, dominance)
        logger.info("%s opening, width: %.3f, %.3f -> %.3f, %.3f", name, *before, *after)
    with np.printoptions(precision=2, suppress=True, linewidth=120):
        for index, name in enumerate(VISEMES):
            logger.info("%s %s %s", name, targets[index], dominance[index])


if __name__ == "__main__":
    main()
