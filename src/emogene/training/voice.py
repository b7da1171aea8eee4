"""Train the head behind ``--emotion auto`` on acted speech: ``emogene train voice ravdess ROOT``.

Actors are held out, never sentences alone: a head that knows the actor scores far better than it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emogene.data.items import Item
from emogene.emotion.voice import VoiceConfig, VoiceEmotion, VoiceNet, pooled
from emogene.errors import UserError
from emogene.features.extractor import SpeechFeatures
from emogene.io.audio import read_audio
from emogene.training.loop import Hooks, LoopConfig, train
from emogene.types import EMOTIONS, FEATURE_HZ, FloatArray

log = logging.getLogger(__name__)

LOOP = LoopConfig(steps=1500, learning_rate=1e-3, weight_decay=0.05, log_every=100, validate_every=300)
_HELD_OUT = 6


@dataclass(frozen=True)
class VoiceExample:
    """One recording: pooled features [2 F], label, actor."""

    row: FloatArray
    label: int
    actor: str


def read_examples(items: Sequence[Item], extractor: SpeechFeatures, window_s: float) -> list[VoiceExample]:
    """Features of every labelled recording, pooled over its loudest-middle window."""
    examples = []
    for item in items:
        source = item.sound or item.video or (item.clip / "audio.wav" if item.clip else None)
        if item.emotion is None or source is None:
            continue
        features = extractor(read_audio(source))
        length = int(window_s * FEATURE_HZ)
        start = max(0, (len(features) - length) // 2)
        examples.append(
            VoiceExample(pooled(features[start : start + length]), EMOTIONS.index(item.emotion), item.speaker)
        )
    if len({example.actor for example in examples}) < 2:
        raise UserError("a voice model needs labelled recordings of at least two actors; give more data")
    return examples


def train_voice(
    examples: Sequence[VoiceExample],
    run_dir: Path,
    features: str,
    *,
    steps: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Train; leaves the model in ``run_dir/model``. Returns the accuracy on actors never heard."""
    actors = sorted({example.actor for example in examples})
    held = set(actors[::_HELD_OUT])
    known, unheard = (_arrays([e for e in examples if (e.actor in held) is asked]) for asked in (False, True))
    config = VoiceConfig(features=features, dim=known[0].shape[1] // 2)
    torch.manual_seed(seed)
    network = VoiceNet(config)
    # Rare emotions count as much as common ones.
    balance = 1.0 / torch.bincount(known[1], minlength=len(EMOTIONS)).clamp(min=1).float()

    def step(index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = torch.from_numpy(rng.integers(len(known[0]), size=64))
        return {
            "loss": torch.nn.functional.cross_entropy(network(known[0][chosen]), known[1][chosen], balance)
        }

    def validate() -> dict[str, float]:
        accuracy = float((network(unheard[0]).argmax(-1) == unheard[1]).float().mean())
        return {"score": 1.0 - accuracy, "accuracy": accuracy}

    loop = replace(LOOP, steps=steps or LOOP.steps, seed=seed)
    scores = train(run_dir, network, step, loop, Hooks(validate=validate, about={"stage": "voice"}))
    VoiceEmotion(network, config).save(run_dir / "model")
    return scores


def _arrays(examples: Sequence[VoiceExample]) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(np.stack([example.row for example in examples])),
        torch.tensor([example.label for example in examples]),
    )
