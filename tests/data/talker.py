"""A made-up speaker for tests: the mouth opens with the loudness of its sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emogene.io.audio import write_wav
from emogene.io.clip import Clip, write_clip
from emogene.types import SAMPLES_PER_FRAME, Audio


def neutral() -> np.ndarray:
    rng = np.random.default_rng(5)
    face = rng.uniform(-0.5, 0.5, (68, 3)).astype(np.float32)
    face[60:68, 1] = -0.6
    face[[43, 44, 37, 38], 1], face[[46, 47, 40, 41], 1] = 0.05, -0.05
    return face


def talk(folder: Path, seconds: float = 3.0, seed: int = 0, late: int = 0, **about: Any) -> Clip:
    """Write a clip folder of ``seconds``; ``late`` moves the mouth after the sound."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 25)
    loud = np.clip(
        np.interp(np.arange(n), np.arange(0, n + 4, 4), rng.uniform(-0.5, 1, len(range(0, n + 4, 4)))), 0, 1
    )
    loud[:6] = loud[-6:] = 0
    t = np.arange(n * SAMPLES_PER_FRAME) / 16_000
    voice = np.sign(np.sin(2 * np.pi * (120 + 10 * seed) * t)) * np.repeat(loud, SAMPLES_PER_FRAME)
    samples = 0.3 * voice + 1e-4 * rng.standard_normal(len(t))
    landmarks = np.tile(neutral(), (n, 1, 1))
    landmarks[:, 65:68, 1] -= 0.1 * np.roll(loud, late)[:, None]
    folder.mkdir(parents=True, exist_ok=True)
    write_wav(folder / "audio.wav", Audio(samples.astype(np.float32)))
    arrays = {"landmarks_cano": landmarks, "eyes": np.ones((n, 4), np.float32), "valid": np.ones(n, np.uint8)}
    return write_clip(folder, arrays, **({"speaker": "toy"} | about))


class Loudness:
    """A feature extractor of four numbers, for tests that should not load a network."""

    name, dim, look_ahead_s = "loudness", 4, 0.0

    def __call__(self, audio: Audio) -> np.ndarray:
        n = -(-len(audio.samples) // 320)
        power = np.pad(audio.samples, (0, n * 320 - len(audio.samples))).reshape(n, 320).std(1)
        return np.stack([power, power**2, np.sqrt(power), np.ones(n)], axis=1).astype(np.float32)

    def stream(self) -> Any:
        raise NotImplementedError


def rhythm(audio: Audio) -> np.ndarray:
    """Stands in for prosody: loudness in the third column."""
    power = Loudness()(audio)[:, :1]
    return np.concatenate([np.zeros_like(power), power > 0.01, np.clip(power * 3, 0, 1)], axis=1).astype(
        np.float32
    )
