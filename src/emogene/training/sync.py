"""Train the sync expert: `emogene train sync`.

A batch holds several windows of each of several takes, so that the negatives are other times of the same
clip (hard: same voice, same mouth) as well as other clips; recipe ``paper`` judges pairs instead. Few people
are seen, so every take is given another face as far as that goes without a video: turned, stretched, moved
and scaled a little, as heads, jaws and trackers differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from emogene.data.takes import Take
from emogene.data.windows import Windows
from emogene.geometry.landmarks import MOUTH
from emogene.motion.sync import SyncConfig, SyncExpert
from emogene.training.loop import Hooks, LoopConfig, train
from emogene.types import FloatArray

LOUDNESS_BEL = 6.0
"""Range of loudness 0..1 in ``features.prosody``."""
SPOKEN_BEL = 2.5
QUIET = 0.2
"""Loudness (-48 dB of full scale) below which nobody speaks, however quiet the rest."""
MOUTH_COLUMNS = slice(3 * MOUTH.start, 3 * MOUTH.stop)


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncTraining:
    """Batches and noise."""

    batch: int = 24
    frames: int = 64
    windows: int = 8
    """Windows per take in a batch."""
    motion_noise: float = 0.05
    """On the landmarks, in units of their deviation."""
    shift: float = 0.15
    """Constant displacement of every point through a take, in the same units."""
    gain: float = 0.25
    """Deviation of the logarithm of the movement's size."""
    stretch: float = 0.3
    """The same of each axis of its own: mouths are wide or narrow."""
    turn: float = 0.1
    """Deviation of a rotation of the movement about each axis, rad: the canonical head is never exact."""
    real_share: float = 0.85
    """Of the windows, where there are synthetic takes too."""


PLAIN = SyncTraining(shift=0.0, stretch=0.0, turn=0.0, gain=0.2)
"""Faces as they are, but for the noise and the size."""


def training_recipe(name: str) -> tuple[SyncTraining, LoopConfig]:
    """Batches and loop of a recipe: tiny, standard or paper."""
    if name == "paper":
        loop = LoopConfig(steps=40_000, learning_rate=5e-4, schedule="exponential", warmup=1000)
        return replace(PLAIN, batch=256, windows=4), loop
    if name == "tiny":
        return SyncTraining(batch=6, frames=48), LoopConfig(steps=20, log_every=5, warmup=2)
    return SyncTraining(), LoopConfig(steps=700, learning_rate=2e-3)


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
    spoken = [take for take in takes if take.speaker]
    windows = Windows(spoken, jitter=0.0, gain=training.gain, real_share=training.real_share)
    torch.manual_seed(loop.seed)
    expert = SyncExpert(replace(config, feature_dim=windows.feature_dim))
    mean, std = windows.feature_statistics()
    expert.mean.copy_(torch.from_numpy(mean))
    expert.std.copy_(torch.from_numpy(std))
    expert.scale.fill_(windows.reference_amplitude)

    def step(index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        batch = windows.sample(rng, training.batch, training.frames)
        motion = other_faces(batch.offsets[..., MOUTH_COLUMNS].numpy(), training, float(expert.scale), rng)
        speech = expert.speech(batch.features)
        mouth = expert.mouth(torch.from_numpy(motion))
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


def other_faces(
    motion: FloatArray, training: SyncTraining, unit: float, rng: np.random.Generator
) -> FloatArray:
    """Mouth points [B, T, 60] as other heads and trackers would have given them."""
    moved = motion.reshape(*motion.shape[:2], -1, 3)
    moved = moved - moved.mean(1, keepdims=True)
    turns = Rotation.from_rotvec(training.turn * rng.standard_normal((len(moved), 3))).as_matrix()
    stretch = np.exp(training.stretch * rng.standard_normal((len(moved), 1, 3)))
    moved = np.einsum("btpc,bkc->btpk", moved, (turns * stretch).astype(np.float32))
    moved += training.shift * unit * rng.standard_normal((len(moved), 1, *moved.shape[2:]), np.float32)
    moved += training.motion_noise * unit * rng.standard_normal(moved.shape, np.float32)
    return np.asarray(moved.reshape(motion.shape), np.float32)


def _moments(
    prosody: Tensor, mask: Tensor, count: int, window: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(take, first frame) of up to ``count`` windows per take that hold speech, 2 frames apart or more.

    Speech is what ``evaluate.sync`` calls so: mean power within 25 dB of the loud frames.
    """
    power = 10 ** (LOUDNESS_BEL * prosody[..., 2].reshape(len(prosody), -1, 2)).mean(-1)
    n = power.shape[1] - window + 1
    least = 10**-SPOKEN_BEL * power.quantile(0.95, dim=1, keepdim=True)
    least = least.clamp(min=10 ** (LOUDNESS_BEL * QUIET))
    spoken = (power.unfold(1, window, 1).mean(-1) > least) & (mask.unfold(1, window, 1).amin(-1) > 0)
    rows, columns = [], []
    for take in range(len(power)):
        free = spoken[take].numpy().copy()
        for first in rng.permutation(n):
            if free[first]:
                rows.append(take)
                columns.append(int(first))
                free[max(0, first - 1) : first + 2] = False
                if rows.count(take) == count:
                    break
    return torch.tensor(rows), torch.tensor(columns)
