"""Train Motion-to-Emotion on aligned pairs: ``emogene train emotion --recipe standard|paper|tiny``.

Standard: windows of 2.6 s, a style encoder that reads what the neutral take cannot tell (how this speaker
smiles), so that the network learns the average performance at style 0 and the spread around it. Paper: as
published, frame 0 of each clip at the label's full strength, plain MSE.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emogene.emotion import losses
from emogene.emotion import model as recipes
from emogene.emotion.apply import EmotionModel
from emogene.emotion.model import EmotionConfig, EmotionNet, PaperNet, build
from emogene.errors import UserError
from emogene.geometry.landmarks import BROWS, JAW
from emogene.training.emotion_pairs import (
    EmotionPair,
    gaze_table,
    head_style_table,
    read_pairs,
    split_pairs,
)
from emogene.training.loop import Hooks, LoopConfig, train
from emogene.types import N_EMOTIONS, N_LANDMARKS, FloatArray

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmotionTraining:
    """A run: network, schedule, batches, losses."""

    model: EmotionConfig = field(default_factory=EmotionConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    batch: int = 32
    window: int = 56
    """Frames per window."""
    velocity: float = 1.0
    closure: float = 0.3
    eyes: float = 1.0
    kl: float = 0.002
    plain_share: float = 0.5
    """Of the windows trained with style 0, so that the average performance is learned too."""


def standard() -> EmotionTraining:
    """What makes the shipped weights."""
    loop = LoopConfig(steps=2200, learning_rate=2e-3, warmup=200, validate_every=1000, checkpoint_every=500)
    return EmotionTraining(model=recipes.standard(), loop=loop)


def paper() -> EmotionTraining:
    """EmoGene's schedule: Adam 5e-4, warm-up 1000, exponential decay, 40 000 steps of 32 frames."""
    loop = LoopConfig(
        steps=40_000, learning_rate=5e-4, warmup=1000, schedule="exponential", weight_decay=0.0,
        log_every=500, validate_every=10_000, checkpoint_every=10_000,
    )  # fmt: skip
    return EmotionTraining(model=recipes.paper(), loop=loop)


def tiny() -> EmotionTraining:
    """Test size."""
    loop = LoopConfig(steps=30, learning_rate=5e-3, warmup=5, log_every=10, validate_every=0)
    return EmotionTraining(model=recipes.tiny(), loop=loop, batch=4, window=24)


RECIPES: Mapping[str, Callable[[], EmotionTraining]] = {"standard": standard, "paper": paper, "tiny": tiny}


def train_emotion(
    data: Path,
    run_dir: Path,
    recipe: str = "standard",
    *,
    steps: int | None = None,
    seed: int = 0,
    max_minutes: float = 0.0,
    start: EmotionModel | None = None,
) -> dict[str, float]:
    """Train on the pairs below ``data``; resumes; leaves the model in ``run_dir/model``.

    ``start``: a model of the same recipe to go on from, with a third of the learning rate.

    Returns:
        Losses and held-out scores: ``error_ratio`` is the squared error over that of changing nothing.
    """
    if recipe not in RECIPES:
        raise UserError(f"unknown recipe {recipe!r} of emotion; choose one of {', '.join(RECIPES)}")
    config = RECIPES[recipe]()
    rate = config.loop.learning_rate / (1 if start is None else 3)
    loop = replace(
        config.loop,
        seed=seed,
        max_minutes=max_minutes,
        steps=steps or config.loop.steps,
        learning_rate=rate,
    )
    config = replace(config, loop=loop)
    training, held = split_pairs(read_pairs(data))
    torch.manual_seed(seed)
    network = build(config.model)
    if start is not None:
        network.load_state_dict(start.network.state_dict())
    network.head_style.copy_(torch.from_numpy(head_style_table(training)))
    network.gaze.copy_(torch.from_numpy(gaze_table(training)))
    if isinstance(network, EmotionNet):
        network.set_bounds(*_true_frames(training))
    trainer = _Trainer(network, config)
    step = _paper_step if isinstance(network, PaperNet) else _standard_step
    sampler = _Sampler(training, config)
    hooks = Hooks(
        validate=lambda: _validate(network, held or training),
        about={"stage": "emotion", "recipe": recipe, "data": str(data), "pairs": len(training)},
        config=asdict(config.model),
    )
    scores = train(run_dir, trainer, lambda _, rng: step(trainer, sampler, rng), loop, hooks)
    EmotionModel(network).save(run_dir / "model")
    return scores


def _true_frames(pairs: list[EmotionPair]) -> tuple[Tensor, Tensor, Tensor]:
    """Every third frame without a blink: displacement [N, 68, 3], openness change [N, 2], weights [N, 8]."""
    rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for pair in pairs:
        awake = np.flatnonzero(pair.eyes_neutral.min(-1) > 0.8)[::3]
        opened = pair.eyes_emotional[awake] / pair.eyes_neutral[awake] - 1.0
        rows.append(((pair.emotional - pair.neutral)[awake], opened, pair.weights[awake]))
    moved, eyes, weights = (torch.from_numpy(np.concatenate(column)) for column in zip(*rows, strict=True))
    return moved, eyes, weights


class _Trainer(nn.Module):
    """The network and, while training, the encoder that reads a performance's style."""

    def __init__(self, network: EmotionNet | PaperNet, config: EmotionTraining) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.encoder = StyleEncoder(config.model.style_dim) if isinstance(network, EmotionNet) else None


class StyleEncoder(nn.Module):
    """Displacement [B, T, 68, 3] and weights [B, T, 8] -> mean and log-variance [B, Z] of the style."""

    def __init__(self, style_dim: int, width: int = 64) -> None:
        super().__init__()
        self.frame = nn.Linear(3 * N_LANDMARKS + N_EMOTIONS, width)
        self.out = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2 * style_dim))

    def forward(self, displacement: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over time, weighting frames by how much emotion they show."""
        seen = torch.cat([displacement.flatten(-2) / 0.05, weights], -1)
        share = weights.sum(-1, keepdim=True) + 1e-3
        pooled = (torch.nn.functional.gelu(self.frame(seen)) * share).sum(1) / share.sum(1)
        mean, log_variance = self.out(pooled).chunk(2, -1)
        return mean, log_variance.clamp(-6, 2)


@dataclass(frozen=True)
class _Batch:
    """Windows: offsets [B, T, 68, 3], weights [B, T, 8], openness [B, T, 2], faces [B, 1, 68, 3]."""

    neutral: Tensor
    emotional: Tensor
    weights: Tensor
    eyes_neutral: Tensor
    eyes_emotional: Tensor
    face: Tensor


class _Sampler:
    """Random windows of random pairs."""

    def __init__(self, pairs: list[EmotionPair], config: EmotionTraining) -> None:
        self.pairs = [pair for pair in pairs if len(pair) >= config.window]
        self.config = config
        self.first = _stack([_window(pair, slice(0, 1)) for pair in pairs])
        if not self.pairs and config.model.kind != "paper":
            raise UserError(f"no pair is {config.window} frames long; build a corpus with longer sentences")

    def windows(self, rng: np.random.Generator) -> _Batch:
        """Draw a batch; each window as likely as the pair is long."""
        rows = []
        for index in rng.integers(len(self.pairs), size=self.config.batch):
            pair = self.pairs[index]
            start = int(rng.integers(len(pair) - self.config.window + 1))
            rows.append(_window(pair, slice(start, start + self.config.window)))
        return _stack(rows)

    def first_frames(self, rng: np.random.Generator) -> _Batch:
        """Frame 0 of random pairs, one frame long, doses overwritten by the bare label."""
        chosen = torch.from_numpy(rng.integers(len(self.first.neutral), size=self.config.batch))
        batch = _Batch(*(getattr(self.first, item.name)[chosen] for item in fields(_Batch)))
        label = batch.weights.argmax(-1)
        return replace(batch, weights=torch.nn.functional.one_hot(label, N_EMOTIONS).float())


def _window(pair: EmotionPair, frames: slice) -> tuple[FloatArray, ...]:
    face = pair.neutral_cano[None]
    arrays = (pair.neutral, pair.emotional, pair.weights, pair.eyes_neutral, pair.eyes_emotional)
    return (*(array[frames] for array in arrays), face)


def _stack(rows: list[tuple[FloatArray, ...]]) -> _Batch:
    return _Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def _standard_step(trainer: _Trainer, sampler: _Sampler, rng: np.random.Generator) -> dict[str, Tensor]:
    config, network, encoder = trainer.config, trainer.network, trainer.encoder
    assert encoder is not None
    batch = sampler.windows(rng)
    displacement = batch.emotional - batch.neutral
    mean, log_variance = encoder(displacement, batch.weights)
    noise = torch.from_numpy(rng.standard_normal(mean.shape).astype(np.float32))
    styled = torch.from_numpy((rng.random((len(mean), 1)) >= config.plain_share).astype(np.float32))
    style = styled * (mean + noise * (0.5 * log_variance).exp())
    neutral = _varied(batch.neutral, rng)
    moved, eyes = network(_as_seen(neutral, rng), batch.weights, style)
    known = losses.known_points(batch.eyes_neutral)
    awake = (batch.eyes_neutral.amin(-1, keepdim=True) > 0.8).float()
    eyes_goal = batch.eyes_emotional / batch.eyes_neutral.clamp(min=0.5) - 1.0
    parts = {
        "shape": losses.displacement_loss(moved, displacement, known),
        "velocity": losses.velocity_loss(moved, displacement, known),
        "closure": losses.closure_loss(
            batch.face + neutral + moved, batch.face + neutral + displacement, batch.face + neutral
        ),
        "eyes": ((eyes - eyes_goal).square() * awake).mean() / 0.1**2,
        "kl": losses.kl_to_standard_normal(mean, log_variance),
    }
    loss = (
        parts["shape"]
        + config.velocity * parts["velocity"]
        + config.closure * parts["closure"]
        + config.eyes * 0.1 * parts["eyes"]
        + config.kl * parts["kl"]
    )
    return {"loss": loss, **parts}


def _varied(neutral: Tensor, rng: np.random.Generator) -> Tensor:
    """Other amplitudes of speech than the corpus's."""
    scale = torch.from_numpy(np.exp(rng.normal(0, 0.2, (len(neutral), 1, 1, 1))).astype(np.float32))
    return neutral * scale


def _as_seen(neutral: Tensor, rng: np.random.Generator) -> Tensor:
    """What the network sees of it: a neutral face that is not quite right, noise, a jaw or brows at rest."""

    def noise(deviation: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(0, deviation, shape).astype(np.float32))

    size = float(rng.choice([0.003, 0.012]))
    seen = neutral + noise(0.002, *neutral.shape) + noise(size, len(neutral), 1, N_LANDMARKS, 3)
    soft = torch.from_numpy((rng.random((len(seen), 1, 1, 1)) < 0.3).astype(np.float32))
    padded = torch.cat([seen[:, :1], seen, seen[:, -1:]], 1)
    smooth = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    seen = soft * smooth + (1.0 - soft) * seen
    moving = torch.ones(len(seen), 1, N_LANDMARKS, 1)
    for group in (BROWS, JAW):
        moving[torch.from_numpy(rng.random(len(seen)) < 0.3), :, group] = 0.0
    return seen * moving


def _paper_step(trainer: _Trainer, sampler: _Sampler, rng: np.random.Generator) -> dict[str, Tensor]:
    batch = sampler.first_frames(rng)
    moved, _ = trainer.network(batch.neutral, batch.weights, None)
    # Millimetre-like units: the plain MSE of canonical units is too small for Adam's epsilon.
    return {"loss": ((batch.neutral + moved - batch.emotional) / 0.05).square().mean()}


def _validate(network: EmotionNet | PaperNet, pairs: list[EmotionPair]) -> dict[str, float]:
    """Squared error over that of the neutral copy, over all points known, average performance."""
    error = baseline = 0.0
    for pair in pairs[:: max(1, len(pairs) // 60)]:
        batch = _stack([_window(pair, slice(None))])
        moved, _ = network(batch.neutral, batch.weights, torch.zeros(1, network.config.style_dim))
        truth, known = batch.emotional - batch.neutral, losses.known_points(batch.eyes_neutral)
        error += float(losses.displacement_loss(moved, truth, known))
        baseline += float(losses.displacement_loss(torch.zeros_like(truth), truth, known))
    ratio = error / max(baseline, 1e-9)
    return {"score": ratio, "error_ratio": ratio}
