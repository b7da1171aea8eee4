"""Train Audio-to-Motion: `emogene train motion`.

The loss is the paper's (square error, velocity, KL, sync) on the decoded posterior sample, and again
without KL on the decode at temperature 0, so that the most likely motion is a good regression by itself;
correlation and spread of the mouth's measures keep the amplitude that a square error would shrink.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emogene.data.takes import Take
from emogene.data.windows import Batch, Windows
from emogene.geometry.landmarks import MOUTH
from emogene.motion.condition import Trunk
from emogene.motion.losses import (
    landmark_weights,
    measure_losses,
    mouth_measures,
    square_error,
    sync_loss,
    velocity_error,
)
from emogene.motion.model import MotionModel
from emogene.motion.sync import SHIPPED, SyncExpert, load_sync
from emogene.motion.vae import MotionConfig, MotionVae
from emogene.training.loop import Hooks, LoopConfig, train
from emogene.types import FloatArray

log = logging.getLogger(__name__)

MOUTH_COLUMNS = slice(3 * MOUTH.start, 3 * MOUTH.stop)


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionTraining:
    """Weights of the losses and sizes of the batches."""

    batch: int = 16
    frames: int = 80
    """Frames per window, a multiple of the latents' stride."""
    velocity: float = 1.0
    """Paper: 3 on 204 standardised numbers; velocities here are per frame of 40 ms."""
    kl: float = 0.12
    """Paper 0.4, on losses standardised differently. At 0.08 samples spread half as far as people move, which
    costs twice as much of what follows the sound."""
    regression: float = 1.0
    """The same errors on the decode at temperature 0; the paper has none (0)."""
    correlation: float = 0.3
    spread: float = 0.3
    """At 0.1 the mouth moves at .82 of s1's speed, at 0.3 at .88, and as well."""
    sync: float = 0.02
    """Weight of the sync expert (paper 0.01); needs an expert."""
    warmup_share: float = 0.2
    """KL rises over this share of the steps, so that the latent is used before it is priced."""
    real_share: float = 0.5
    """Of the spoken windows that are tracked people, where teachers or rules move other faces."""
    speaker_power: float = 0.5
    """How often a speaker is drawn, see ``data.windows.Windows``."""


def training_recipe(name: str) -> tuple[MotionTraining, LoopConfig]:
    """Loss weights and loop of a recipe of ``motion.vae.RECIPES``."""
    if name == "paper":
        losses = MotionTraining(
            batch=64, frames=200, velocity=3.0, kl=0.4, regression=0, correlation=0, spread=0, sync=0.01
        )
        loop = LoopConfig(
            steps=40_000, learning_rate=5e-4, schedule="exponential", warmup=1000, weight_decay=0.0
        )
        return losses, loop
    if name == "tiny":
        return MotionTraining(batch=4, frames=32), LoopConfig(steps=20, log_every=5, warmup=2)
    if name == "plain":
        return MotionTraining(spread=0.1), LoopConfig(
            steps=600, learning_rate=2e-3, warmup=50, validate_every=300
        )
    return MotionTraining(), LoopConfig(steps=1000, learning_rate=2e-3, warmup=100, validate_every=500)


def train_motion(
    run_dir: Path,
    takes: Sequence[Take],
    config: MotionConfig,
    training: MotionTraining,
    loop: LoopConfig,
    *,
    expert: SyncExpert | None = None,
    validate: Callable[[MotionModel], Mapping[str, float]] | None = None,
    preview: Callable[[MotionModel, Path], None] | None = None,
    start_from: MotionVae | None = None,
    voices: Mapping[str, FloatArray] | None = None,
) -> MotionModel:
    """Train a motion network and return it ready to speak; resumes in ``run_dir``.

    Args:
        run_dir: the run folder.
        takes: see ``data.takes``; their features must be the config's.
        config, training, loop: a recipe, see ``motion.vae.RECIPES`` and ``training_recipe``.
        expert: frozen judge of the sync loss; None leaves the loss out.
        validate: scores a model ("score": lower is better).
        preview: draws a model into a folder.
        start_from: a network to go on from.
        voices: mean features of other voices, see ``data.windows``.
    """
    windows = Windows(
        takes, voices=voices, real_share=training.real_share, speaker_power=training.speaker_power
    )
    config = replace(config, feature_dim=windows.feature_dim)
    torch.manual_seed(loop.seed)
    network = MotionVae(config)
    if start_from is not None:
        network.load_state_dict(start_from.state_dict())
        reference = float(start_from.scale[-1])
    else:
        reference = _standardise(network, windows)
    model = MotionModel(network, reference)
    step = MotionStep(network, windows, training, loop.steps, expert, reference)
    hooks = Hooks(
        validate=None if validate is None else lambda: validate(model),
        preview=None if preview is None else lambda folder: preview(model, folder),
        about={"stage": "motion", "recipe": config.recipe, "takes": len(takes), "losses": asdict(training)},
        config=asdict(config),
    )
    train(run_dir, network, step, loop, hooks)
    return model


STANDS_FOR = {"whisper": "emogene"}
"""Features -> those that were made to take their place: an expert on these understands them."""


def fitting_expert(path: Path | None, features: str) -> SyncExpert | None:
    """The sync expert at ``path``; None: the shipped one, or none where it hears other features."""
    if path is not None:
        return load_sync(path)
    if not (SHIPPED / "config.json").exists():
        return None
    expert = load_sync()
    return expert if expert.config.features in (features, STANDS_FOR.get(features)) else None


def _standardise(network: MotionVae, windows: Windows) -> float:
    """Set the statistics of input and output from the data; returns the reference amplitude."""
    reference = windows.reference_amplitude
    mean, std = windows.feature_statistics()
    if network.config.recipe == "paper":
        offsets = np.concatenate([take.offsets.reshape(len(take.offsets), -1) for take in windows.takes])
        network.mean.copy_(torch.from_numpy(offsets.astype(np.float32).mean(0)))
        network.scale.copy_(torch.from_numpy(offsets.astype(np.float32).std(0) + 1e-4))
    elif isinstance(network.condition, Trunk):
        # One scale for all: zero stays the neutral face and an error is an error of millimetres.
        network.scale.fill_(reference)
        network.condition.mean.copy_(torch.from_numpy(mean))
        network.condition.std.copy_(torch.from_numpy(std))
    return reference


class MotionStep:
    """One training step: draws a batch and computes its losses."""

    def __init__(
        self,
        network: MotionVae,
        windows: Windows,
        training: MotionTraining,
        steps: int,
        expert: SyncExpert | None,
        reference: float,
    ) -> None:
        self.network, self.windows, self.training = network, windows, training
        self.rising = max(1.0, training.warmup_share * steps)
        self.expert = None if expert is None else expert.eval().requires_grad_(False)
        self.weights = landmark_weights(paper=network.config.recipe == "paper")
        self.reference = reference

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        batch = self.windows.sample(rng, self.training.batch, self.training.frames)
        return self.losses(batch, kl_share=min(1.0, index / self.rising))

    def losses(self, batch: Batch, kl_share: float = 1.0) -> dict[str, Tensor]:
        """All losses of a batch; "loss" is their weighted sum."""
        t, network = self.training, self.network
        features = batch.features
        if isinstance(network.condition, Trunk) and network.training and self.windows.jitter:
            features = features + self.windows.jitter * network.condition.std * torch.randn_like(features)
        true = (batch.offsets - network.mean) / network.scale
        g = network.condition(features, batch.prosody, batch.mouth_amp / self.reference, batch.synthetic)
        loss, judged, result = torch.zeros(()), true, dict[str, Tensor]()
        if network.config.latent:
            posterior = network.encode(true, g)
            judged = network.decode(posterior.z, g)
            result["mse"] = square_error(judged, true, self.weights, batch.mask)
            result["velocity"] = velocity_error(judged, true, self.weights, batch.mask)
            result["kl"] = network.divergence(posterior, g)
            loss = result["mse"] + t.velocity * result["velocity"] + kl_share * t.kl * result["kl"]
        if t.regression:
            silent = true.new_zeros(len(true), true.shape[1] // network.config.stride, network.config.latent)
            judged = network.decode(network.prior(silent, g), g)
            result["mse_cold"] = square_error(judged, true, self.weights, batch.mask)
            result["velocity_cold"] = velocity_error(judged, true, self.weights, batch.mask)
            loss = loss + t.regression * (result["mse_cold"] + t.velocity * result["velocity_cold"])
        if t.correlation or t.spread:
            result["correlation"], result["spread"] = measure_losses(
                mouth_measures(judged), mouth_measures(true), batch.mask
            )
            loss = loss + t.correlation * result["correlation"] + t.spread * result["spread"]
        if self.expert is not None and t.sync:
            motion = (judged * network.scale + network.mean)[..., MOUTH_COLUMNS]
            result["sync"] = sync_loss(self.expert.speech(batch.features), self.expert.mouth(motion))
            loss = loss + t.sync * result["sync"]
        return {"loss": loss, **result}
