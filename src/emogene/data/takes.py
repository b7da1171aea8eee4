"""Clips -> takes, the units motion is trained on: several seconds of one speaker with pauses and noise.

A take joins clips of a speaker with pauses of silence between and inside them, changes speed, room, noise
and level, and keeps what the network sees: speech features and prosody [2T, .] at 50 Hz, offsets from the
speaker's neutral face [T, 68, 3] at 25 fps, and a mask [T] of frames to learn from. Features are computed
once per take (the expensive part) and kept as float16 safetensors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.data.augment import SILENCE_SHARES, SILENCES, change_speed, change_voice, no_speech
from emogene.data.prepare import by_speaker, in_sync
from emogene.data.rest import mouth_amplitude, neutral_face
from emogene.features.extractor import SpeechFeatures
from emogene.io.audio import read_audio
from emogene.io.clip import Clip
from emogene.io.files import read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import FPS, N_LANDMARKS, SAMPLES_PER_FRAME, Audio, FloatArray

log = logging.getLogger(__name__)

SETTLE_FRAMES = 5
"""The mouth comes to rest within 0.2 s of a pause's start and leaves it as late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeConfig:
    """How takes are made of clips."""

    seconds: float = 9.0
    """Speech per take, about."""
    versions: int = 4
    """Times every clip is used."""
    plain_versions: int = 3
    """So many of them keep their speed, room and level. The features already hear through noise: as many
    altered versions as plain ones cost more on clean speech than they gave elsewhere."""
    pause_share: float = 0.35
    """Of the joints between clips that get a pause."""
    split_share: float = 0.12
    """Of clips that get a pause in a quiet place inside."""
    silence_share: float = 0.1
    """Takes without any speech, as a share of the others."""
    seed: int = 0


@dataclass(frozen=True)
class Take:
    """What a network learns from.

    amplitude: the speaker's root mean square mouth offset; 0: the average person's. synthetic: animated by
    rules, not tracked. taught: spoken by other networks (``training.teachers``), not tracked.
    heard_by: name of the extractor of the features.
    """

    speaker: str
    features: FloatArray
    prosody: FloatArray
    offsets: FloatArray
    mask: FloatArray
    amplitude: float
    synthetic: bool = False
    heard_by: str = ""
    taught: bool = False


@dataclass(frozen=True)
class _Piece:
    """Sound and motion that belong together, before features."""

    samples: FloatArray
    offsets: FloatArray
    mask: FloatArray


Prosody = Callable[[Audio], FloatArray]


def build_takes(
    clips: Sequence[Clip],
    extractor: SpeechFeatures,
    prosody: Prosody,
    out: Path,
    config: TakeConfig,
) -> int:
    """Write takes/*.safetensors under ``out``; complete ones are kept, so it resumes. Returns their number.

    Args:
        clips: clip folders opened.
        extractor, prosody: what the network will hear.
        out: folder for this set of takes.
        config: lengths and shares.
    """
    plan = list(_plan(clips, config))
    speakers = by_speaker(clips)
    neutrals = {name: neutral_face(group) for name, group in speakers.items()}
    amplitudes = {name: _amplitude(group) for name, group in speakers.items()}
    for index, (speaker, members, version) in enumerate(plan):
        path = out / f"{index:05d}.safetensors"
        if path.exists():
            continue
        rng = np.random.default_rng((config.seed, index))
        if members:
            # A synthetic voice may have lent itself to several faces, and every clip knows its own.
            faces = [
                neutral_face([clip]) if clip.about.get("synthetic") else neutrals[speaker] for clip in members
            ]
            pieces = [_read(clip, face) for clip, face in zip(members, faces, strict=True)]
            piece = _join(pieces, rng, config)
            if version >= config.plain_versions:
                piece = _change(piece, rng)
        else:
            piece = _silence(rng)
        samples = np.clip(piece.samples, -1, 1).astype(np.float32)
        sound = Audio(samples)
        arrays: dict[str, NDArray[Any]] = {
            "features": extractor(sound).astype(np.float16),
            "prosody": prosody(sound).astype(np.float16),
            "offsets": piece.offsets.astype(np.float16),
            "mask": piece.mask.astype(np.uint8),
        }
        save_arrays(path, arrays)
    notes = [
        {
            "speaker": speaker,
            "amplitude": amplitudes.get(speaker, 0.0),
            "synthetic": bool(members and members[0].about.get("synthetic", False)),
            "taught": bool(members and members[0].about.get("taught", False)),
        }
        for speaker, members, _ in plan
    ]
    write_json(out / "takes.json", {"features": extractor.name, "takes": notes})
    return len(plan)


def load_takes(folder: Path) -> list[Take]:
    """Read takes that ``build_takes`` wrote."""
    takes = []
    header = read_json(folder / "takes.json")
    for index, about in enumerate(header["takes"]):
        arrays = load_arrays(folder / f"{index:05d}.safetensors")
        n = min(len(arrays["offsets"]), len(arrays["features"]) // 2)
        takes.append(
            Take(
                about["speaker"],
                arrays["features"][: 2 * n],
                arrays["prosody"][: 2 * n],
                arrays["offsets"][:n],
                arrays["mask"][:n],
                float(about["amplitude"]),
                bool(about.get("synthetic", False)),
                str(header["features"]),
                bool(about.get("taught", False)),
            )
        )
    return takes


def _plan(clips: Sequence[Clip], config: TakeConfig) -> Iterator[tuple[str, list[Clip], int]]:
    """(speaker, clips of the take, version); silences, with no clips, are spread evenly between."""
    owed = 0.0
    for version in range(config.versions):
        for speaker, group in by_speaker(clips).items():
            order = np.random.default_rng((config.seed, version, len(group))).permutation(len(group))
            members: list[Clip] = []
            for position, index in enumerate(order):
                members.append(group[index])
                long_enough = sum(clip.n_frames for clip in members) >= config.seconds * FPS
                if long_enough or position == len(order) - 1:
                    yield speaker, members, version
                    members = []
                    owed += config.silence_share
                    if owed >= 1:
                        owed -= 1
                        yield "", [], version


def _read(clip: Clip, neutral: FloatArray) -> _Piece:
    landmarks, real = in_sync(clip)
    mask = np.zeros(len(landmarks), np.float32)
    mask[real] = 1.0
    n_samples = len(landmarks) * SAMPLES_PER_FRAME
    samples = read_audio(clip.audio_path).samples[:n_samples]
    samples = np.pad(samples, (0, n_samples - len(samples)))
    return _Piece(samples, (landmarks - neutral).astype(np.float32), mask * clip.valid)


def _amplitude(clips: Sequence[Clip]) -> float:
    """Of a speaker; 0 where teachers spoke as anybody."""
    return 0.0 if clips[0].about.get("taught") else mouth_amplitude(clips)


def _join(pieces: Sequence[_Piece], rng: np.random.Generator, config: TakeConfig) -> _Piece:
    """Clips one after the other, with pauses in which the mouth rests."""
    parts: list[_Piece] = []
    for piece in pieces:
        halves = _split(piece) if rng.random() < config.split_share else [piece]
        for number, half in enumerate(halves):
            if parts and (number or rng.random() < config.pause_share):
                parts.append(_pause(parts[-1], half, rng))
            parts.append(half)
    return _Piece(
        np.concatenate([part.samples for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.mask for part in parts]),
    )


def _split(piece: _Piece) -> list[_Piece]:
    """Cut a piece at its quietest frame, away from the ends."""
    n = len(piece.offsets)
    if n < 40:
        return [piece]
    energy = (piece.samples.reshape(n, -1) ** 2).mean(1)
    cut = 15 + int(np.argmin(np.convolve(energy, np.ones(3) / 3, "same")[15 : n - 15]))
    at = cut * SAMPLES_PER_FRAME
    return [
        _Piece(piece.samples[:at], piece.offsets[:cut], piece.mask[:cut]),
        _Piece(piece.samples[at:], piece.offsets[cut:], piece.mask[cut:]),
    ]


def _pause(before: _Piece, after: _Piece, rng: np.random.Generator) -> _Piece:
    """0.3-3 s of room sound; the mouth settles into the neutral face and leaves it for what follows."""
    n = int(rng.uniform(0.3, 3.0) * FPS)
    ramp = np.clip(np.arange(1, n + 1) / (min(SETTLE_FRAMES, n / 2) + 1), 0, 1)
    ease = (ramp**2 * (3 - 2 * ramp)).astype(np.float32)[:, None, None]
    offsets = (1 - ease) * before.offsets[-1] + (1 - ease[::-1]) * after.offsets[0]
    # The room goes on through the pause: the quiet end of the speech sets its level.
    floor = float(np.sqrt(np.quantile(before.samples.astype(np.float64) ** 2, 0.05))) + 1e-6
    kind = "zeros" if rng.random() < 0.3 else ("white", "brown")[rng.integers(2)]
    sound = no_speech(kind, n * SAMPLES_PER_FRAME, rng, level_db=20 * np.log10(min(floor, 0.01)))
    return _Piece(sound, offsets.astype(np.float32), np.ones(n, np.float32))


def _change(piece: _Piece, rng: np.random.Generator) -> _Piece:
    """Another speed (sound and motion), room, microphone, noise, level."""
    if rng.random() < 0.7:
        n = len(piece.offsets)
        m = max(8, round(n / rng.uniform(0.88, 1.14)))
        place = np.linspace(0, n - 1, m)
        low = np.minimum(place.astype(int), n - 2)
        part = (place - low).astype(np.float32)
        offsets = (
            piece.offsets[low] * (1 - part[:, None, None]) + piece.offsets[low + 1] * part[:, None, None]
        )
        samples = change_speed(piece.samples, len(piece.samples) / (m * SAMPLES_PER_FRAME))
        piece = _Piece(samples[: m * SAMPLES_PER_FRAME], offsets, piece.mask[np.round(place).astype(int)])
    return _Piece(change_voice(piece.samples, rng), piece.offsets, piece.mask)


def _silence(rng: np.random.Generator) -> _Piece:
    """4-9 s without speech, mouth in the neutral face."""
    n = int(rng.uniform(4, 9) * FPS)
    sound = no_speech(str(rng.choice(SILENCES, p=SILENCE_SHARES)), n * SAMPLES_PER_FRAME, rng)
    return _Piece(sound, np.zeros((n, N_LANDMARKS, 3), np.float32), np.ones(n, np.float32))
