"""Train the sync expert: `emogene train sync`.

A batch holds several windows of each of several takes, so that the negatives are other times of the same
clip (hard: same voice, same mouth) as well as other clips; recipe ``paper`` judges pairs instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emogene.data.takes import Take
from emogene.data.windows import Windows
from emogene.geometry.landmarks import MOUTH
from emogene.motion.sync import SyncConfig, SyncExpert
from emogene.training.loop import Hooks, LoopConfig, train

MOUTH_COLUMNS = slice(3 * MOUTH.start, 3 * MOUTH.stop)


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncTraining:
    """Batches and noise."""

    batch: int = 24
    frames: int = 64
    windows: int = 6
    """Windows per take in a batch."""
    motion_noise: float = 0.05
    """On the landmarks, in units of their deviation."""


def training_recipe(name: str) -> tuple[SyncTraining, LoopConfig]:
    """Batches and loop of a recipe: tiny, standard or paper."""
    if name == "paper":
        loop = LoopConfig(steps=40_000, learning_rate=5e-4, schedule="exponential", warmup=1000)
        return SyncTraining(batch=256, windows=4), loop
    if name == "tiny":
        return SyncTraining(batch=6, frames=48), LoopConfig(steps=20, log_every=5, warmup=2)
    return SyncTraining(), LoopConfig(steps=1500, learning_rate=2e-3, validate_every=500)


def train_sync(
    run_dir: Path,
    takes: Sequence[Take],
    config: SyncConfig,
    training: SyncTraining,
    loop: LoopConfig,
    *,
    validate: Callable[[SyncExpert], Mapping[str, float]] | None = None,
) -> SyncExpert:
    """Train a sync expert; resumes in ``run_dir``. Arguments as of ``training.motion.train_motion``."""
    # A silent take has no moment that could be told from another.
    windows = Windows([take for take in takes if take.speaker], jitter=0.0)
    torch.manual_seed(loop.seed)
    expert = SyncExpert(replace(config, feature_dim=windows.feature_dim))
    mean, std = windows.feature_statistics()
    expert.mean.copy_(torch.from_numpy(mean))
    expert.std.copy_(torch.from_numpy(std))
    expert.scale.fill_(windows.reference_amplitude)

    def step(index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        batch = windows.sample(rng, training.batch, training.frames)
        motion = batch.offsets[..., MOUTH_COLUMNS]
        noise = torch.from_numpy(rng.standard_normal(motion.shape, dtype=np.float32))
        speech = expert.speech(batch.features)
        mouth = expert.mouth(motion + training.motion_noise * expert.scale * noise)
        rows, columns = _moments(batch.prosody, batch.mask, training.windows, config.window, rng)
        speech, mouth = speech[rows, columns], mouth[rows, columns]
        with torch.no_grad():
            hits = (speech @ mouth.T).argmax(1) == torch.arange(len(speech))
        return {"loss": expert.loss(speech, mouth), "retrieval": hits.float().mean()}

    hooks = Hooks(
        validate=None if validate is None else lambda: validate(expert),
        about={"stage": "sync", "takes": len(takes), "batches": asdict(training)},
        config=asdict(expert.config),
    )
    train(run_dir, expert, step, loop, hooks)
    return expert.eval()


def _moments(
    prosody: Tensor, mask: Tensor, count: int, window: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(take, first frame) of up to ``count`` windows per take that hold speech, 2 frames apart or more."""
    loud = prosody[..., 2].reshape(len(prosody), -1, 2).mean(-1)
    n = loud.shape[1] - window + 1
    spoken = (loud.unfold(1, window, 1).mean(-1) > 0.5 * loud.amax(1, keepdim=True)) & (
        mask.unfold(1, window, 1).amin(-1) > 0
    )
    rows, columns = [], []
    for take in range(len(loud)):
        free = spoken[take].numpy().copy()
        for first in rng.permutation(n):
            if free[first]:
                rows.append(take)
                columns.append(int(first))
                free[max(0, first - 1) : first + 2] = False
                if rows.count(take) == count:
                    break
    return torch.tensor(rows), torch.tensor(columns)
