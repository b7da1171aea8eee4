"""The sync expert: does this mouth belong to this sound, and by how many frames is it off?

features [T50, F] and landmarks (or offsets) [T, 68, 3] -> embeddings per window of 10 frames, [N, E] each,
compared by cosine. It guides the motion network, corrects the A/V offset of recordings, and is the
LSE-like metric (confidence and distance of SyncNet, Chung & Zisserman 2016, on landmarks as in GeneFace).
Only the mouth's movement about the clip's mean is seen, so identity and neutral shape play no part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.geometry.landmarks import MOUTH
from emogene.io.files import atomic_folder, write_json
from emogene.motion.weights import load_weights, make_config, read_config, save_weights
from emogene.types import FloatArray

SYNC_FORMAT = 1
SHIPPED = Path(__file__).parents[1] / "weights" / "sync"
MOUTH_INPUTS = 3 * (MOUTH.stop - MOUTH.start)
MAX_OFFSET = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncConfig:
    """Sizes of the sync expert."""

    features: str = "emogene"
    feature_dim: int = 512
    window: int = 10
    """Frames per window; the paper's expert sees 5."""
    hidden: int = 128
    embedding: int = 64
    loss: Literal["contrastive", "pairs"] = "contrastive"
    """contrastive: every other window of the batch is a negative; pairs: the paper's binary cross-entropy."""
    dropout: float = 0.4
    """Between the layers of both towers."""
    speech_dropout: float = 0.5
    """Of the speech features: a few voices are learned by heart otherwise."""
    mouth_dropout: float = 0.2
    """Of the mouth's coordinates."""


def tiny() -> SyncConfig:
    """For tests."""
    return SyncConfig(
        feature_dim=8, hidden=24, embedding=16, dropout=0.0, speech_dropout=0.0, mouth_dropout=0.0
    )


def standard() -> SyncConfig:
    """What ships."""
    return SyncConfig()


def paper() -> SyncConfig:
    """GeneFace++ and EmoGene: HuBERT, 5 frames, 512-d embedding, binary cross-entropy on pairs."""
    return SyncConfig(
        features="hubert",
        feature_dim=1024,
        window=5,
        hidden=256,
        embedding=512,
        loss="pairs",
        dropout=0.0,
        speech_dropout=0.0,
        mouth_dropout=0.0,
    )


RECIPES = {"tiny": tiny, "standard": standard, "paper": paper}


class _Tower(nn.Module):
    """[B, T, D] -> unit embeddings [B, T - window + 1, E]: a window's view as one valid convolution."""

    def __init__(self, inputs: int, config: SyncConfig, input_dropout: float) -> None:
        super().__init__()
        c = config
        self.input_dropout = nn.Dropout(input_dropout)
        self.enter = nn.Linear(inputs, c.hidden)
        self.near = nn.Conv1d(c.hidden, c.hidden, 3)
        self.far = nn.Conv1d(c.hidden, c.embedding, c.window - 2)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.enter(self.input_dropout(x))).transpose(1, 2)
        h = self.dropout(F.gelu(self.near(h)))
        return F.normalize(self.far(h).transpose(1, 2), dim=-1)


class SyncExpert(nn.Module):
    """Two towers into one space. Motion is in units of ``scale`` about the clip's mean."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.config = config
        self.speech_tower = _Tower(2 * config.feature_dim, config, config.speech_dropout)
        self.mouth_tower = _Tower(2 * MOUTH_INPUTS, config, config.mouth_dropout)
        self.log_temperature = nn.Parameter(torch.tensor(2.5))
        self.mean = nn.Buffer(torch.zeros(config.feature_dim))
        self.std = nn.Buffer(torch.ones(config.feature_dim))
        self.scale = nn.Buffer(torch.ones(()))

    def speech(self, features: Tensor) -> Tensor:
        """Features [B, 2T, F] -> [B, T - window + 1, E]."""
        x = (features - self.mean) / self.std
        tower: Tensor = self.speech_tower(x.reshape(len(x), -1, 2 * x.shape[-1]))
        return tower

    def mouth(self, motion: Tensor) -> Tensor:
        """Mouth points [B, T, 60] (any constant added) -> [B, T - window + 1, E]."""
        x = (motion - motion.mean(1, keepdim=True)) / self.scale
        velocity = F.pad(x.diff(dim=1), (0, 0, 1, 0))
        tower: Tensor = self.mouth_tower(torch.cat([x, 3 * velocity], dim=-1))
        return tower

    def loss(self, speech: Tensor, mouth: Tensor) -> Tensor:
        """Embeddings [M, E] of windows that belong together row by row -> training loss."""
        logits = speech @ mouth.T * self.log_temperature.exp().clamp(max=40)
        if self.config.loss == "contrastive":
            target = torch.arange(len(logits))
            return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
        # The paper's balance: as many positives as negatives.
        cosine = (speech @ mouth.T).add(1).div(2).clamp(1e-4, 1 - 1e-4)
        positive = cosine.diagonal()
        negative = cosine.roll(1, dims=1).diagonal()
        return -0.5 * (positive.log().mean() + (1 - negative).log().mean())

    @torch.inference_mode()
    def similarity(self, features: FloatArray, landmarks: FloatArray) -> FloatArray:
        """Cosine [N, N] of every window of the sound (rows) with every window of the mouth (columns)."""
        n = min(len(landmarks), len(features) // 2)
        if n < self.config.window:
            raise ValueError(f"the sync expert needs {self.config.window} frames, not {n}")
        speech = self.speech(torch.from_numpy(np.asarray(features[: 2 * n], np.float32))[None])[0]
        points = np.asarray(landmarks[:n, MOUTH], np.float32).reshape(n, -1)
        mouth = self.mouth(torch.from_numpy(points)[None])[0]
        return np.asarray((speech @ mouth.T).numpy(), np.float32)

    def score(
        self, features: FloatArray, landmarks: FloatArray, active: FloatArray | None = None
    ) -> tuple[float, int]:
        """How sure the expert is, and where it places the mouth.

        Args:
            features: [T50, F] of the sound.
            landmarks: [T, 68, 3] landmarks or offsets.
            active: [T] only windows whose first frame is non-zero count (leave out silence).

        Returns:
            confidence: mean cosine at the best offset minus the median over all offsets (SyncNet's LSE-C).
            offset: frames by which the mouth is late (negative: early), within 15.
        """
        confidence, offset = self.place(features, landmarks, active)
        return confidence, round(offset)

    def place(
        self, features: FloatArray, landmarks: FloatArray, active: FloatArray | None = None
    ) -> tuple[float, float]:
        """As ``score``, with the offset to a fraction of a frame.

        Recordings are cut where a picture begins, not where a sound does: GRID's own sentences are apart by
        up to half a frame. A parabola through the best mean and its neighbours finds them to .1 frame.
        """
        means = self.offset_curve(self.similarity(features, landmarks), active)
        best = int(np.argmax(means))
        offset = float(best - (len(means) - 1) // 2)
        if 0 < best < len(means) - 1:
            before, here, after = (float(mean) for mean in means[best - 1 : best + 2])
            offset += 0.5 * (before - after) / min(before - 2 * here + after, -1e-6)
        return float(means[best] - np.median(means)), offset

    @staticmethod
    def offset_curve(similarity: FloatArray, active: FloatArray | None = None) -> FloatArray:
        """Mean similarity of sound window j with mouth window j + d, for d = -15..15 (or fewer)."""
        n = len(similarity)
        rows = np.arange(n)
        keep = np.ones(n, bool) if active is None else np.asarray(active[:n]) > 0
        if not keep.any():
            keep[:] = True
        reach = min(MAX_OFFSET, n // 2)
        curve = []
        for d in range(-reach, reach + 1):
            inside = rows[(rows + d >= 0) & (rows + d < n) & keep]
            curve.append(similarity[inside, inside + d].mean() if len(inside) else -1.0)
        return np.asarray(curve, np.float32)

    def save(self, folder: Path, **about: object) -> None:
        """Write config.json and model.safetensors."""
        content = {"type": "sync", "format_version": SYNC_FORMAT, "config": asdict(self.config)}
        with atomic_folder(folder) as temporary:
            write_json(temporary / "config.json", content | about)
            save_weights(temporary / "model.safetensors", self)


def load_sync(path: Path | None = None) -> SyncExpert:
    """Open a sync expert's folder; None: the one that ships."""
    folder = SHIPPED if path is None else Path(path)
    content = read_config(folder, "sync", SYNC_FORMAT)
    expert = SyncExpert(make_config(SyncConfig, content["config"], folder))
    load_weights(folder / "model.safetensors", expert)
    return expert.eval()
