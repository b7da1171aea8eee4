"""Names the emotion of a landmark motion: a small network trained on true takes, the judge of our own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from emogene.training.emotion_pairs import EmotionPair
from emogene.types import N_EMOTIONS, NEUTRAL, FloatArray

LEAST_DOSE = 0.35
"""Takes with a weaker emotion, or with a mixture, have no single name and are left out."""
_PURITY = 0.9


def single_label(pair: EmotionPair) -> int | None:
    """The one emotion of a take, or None."""
    mean = pair.weights.mean(0)
    label = int(mean.argmax())
    return label if mean[label] >= LEAST_DOSE and mean[label] >= _PURITY * mean.sum() else None


def pooled(offsets: FloatArray) -> FloatArray:
    """Mean and deviation over time of offsets [T, 68, 3] -> [408], units of 0.05."""
    return np.concatenate([offsets.mean(0).ravel(), offsets.std(0).ravel()]).astype(np.float32) / 0.05


class EmotionClassifier:
    """Softmax over the 8 emotions from pooled offsets."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    @classmethod
    def fit(cls, pairs: Sequence[EmotionPair], steps: int = 400, seed: int = 0) -> EmotionClassifier:
        """Train on true takes, neutral ones included."""
        rows, labels = [], []
        for pair in pairs:
            label = single_label(pair)
            if label is None:
                continue
            rows.append(pooled(pair.emotional))
            labels.append(label)
            if len(rows) % 7 == 0:  # as many neutral takes as of each emotion
                rows.append(pooled(pair.neutral))
                labels.append(NEUTRAL)
        torch.manual_seed(seed)
        x, y = torch.from_numpy(np.stack(rows)), torch.tensor(labels)
        network = nn.Sequential(
            nn.Linear(x.shape[1], 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, N_EMOTIONS)
        )
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
        for _ in range(steps):
            loss = nn.functional.cross_entropy(network(x + 0.05 * torch.randn_like(x)), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return cls(network)

    def probabilities(self, offsets: FloatArray) -> FloatArray:
        """[8] probabilities of a take [T, 68, 3]."""
        with torch.no_grad():
            return np.asarray(self.network(torch.from_numpy(pooled(offsets))).softmax(-1).numpy())

    def accuracy(self, pairs: Sequence[EmotionPair], emotional: Sequence[FloatArray]) -> float:
        """Share of the takes that have one emotion whose name is found."""
        hits = [
            int(self.probabilities(offsets).argmax()) == single_label(pair)
            for pair, offsets in zip(pairs, emotional, strict=True)
            if single_label(pair) is not None
        ]
        return float(np.mean(hits))
