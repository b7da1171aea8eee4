"""Motion-to-Emotion networks: neutral offsets [B, T, 68, 3] + weights [B, T, 8] -> what the emotion adds.

``EmotionNet`` (recipes ``standard``, ``tiny``) is temporal: it sees six frames to either side, so it knows a
lip closure from a pause. Its output is a sum over emotions of dose x displacement, hence exactly zero at
neutral, growing with the dose, and a mixture of its parts for a mixture. ``PaperNet`` (recipe ``paper``) is
the landmark deformation model of EmoGene 3.3: frame by frame, one label, displacement x delta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from emogene.types import N_EMOTIONS, N_LANDMARKS, NEUTRAL

READ_POINTS = (*range(4, 13), *range(17, 27), *range(48, 68))
"""Landmarks the temporal network looks at: jaw, brows, mouth. Lids carry blinks, the nose nothing."""
N_BROW_INPUTS = slice(9, 19)
"""Places of the brows among READ_POINTS."""
_ACTIVE = tuple(index for index in range(N_EMOTIONS) if index != NEUTRAL)
_OUTPUT_SCALE = 0.05
"""Typical displacement in canonical units, so that weights are about 1."""
_INPUT_SCALE = 0.05
_LARGEST_INPUT = 6.0
"""In units of the input scale: a mouth wide open is about 4."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmotionConfig:
    """Sizes of an emotion network."""

    kind: Literal["temporal", "paper"] = "temporal"
    width: int = 96
    """Channels of the trunk."""
    blocks: int = 2
    """Residual convolutions behind the first one; each kernel of 5 sees two frames further to both sides."""
    rank: int = 24
    """Displacement fields per emotion."""
    style_dim: int = 8
    """Numbers that tell one performance from another."""

    def __post_init__(self) -> None:
        if self.kind not in ("temporal", "paper"):
            raise ValueError(f"kind must be temporal or paper, not {self.kind!r}")
        for name in ("width", "rank", "style_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.blocks <= 2:
            raise ValueError(f"blocks must be 0 to 2 (six frames of look-ahead), not {self.blocks}")


def standard() -> EmotionConfig:
    """The network that ships."""
    return EmotionConfig()


def tiny() -> EmotionConfig:
    """The same at test size."""
    return EmotionConfig(width=16, blocks=1, rank=4, style_dim=2)


def paper() -> EmotionConfig:
    """EmoGene's deformation model: 220-256-256-204 with a label embedding of 16."""
    return EmotionConfig(kind="paper", width=256)


class EmotionNet(nn.Module):
    """Temporal residual model with continuous doses."""

    def __init__(self, config: EmotionConfig) -> None:
        super().__init__()
        self.config = config
        channels = 3 * len(READ_POINTS) + len(_ACTIVE)
        self.first = nn.Conv1d(channels, config.width, 5, padding=2, padding_mode="replicate")
        self.blocks = nn.ModuleList(_Block(config.width) for _ in range(config.blocks))
        self.style = nn.Linear(config.style_dim, 2 * config.width)
        self.coefficients = nn.Linear(config.width, len(_ACTIVE) * config.rank)
        n_outputs = 3 * N_LANDMARKS + 2
        self.mean = nn.Parameter(torch.zeros(len(_ACTIVE), n_outputs))
        self.fields = nn.Parameter(torch.randn(len(_ACTIVE), config.rank, n_outputs) * 0.1)
        self.low: Tensor
        self.high: Tensor
        """[7, 206] bounds of the output per dose: whatever the input, no face leaves what training showed."""
        self.register_buffer("low", torch.full((len(_ACTIVE), n_outputs), -1.0))
        self.register_buffer("high", torch.full((len(_ACTIVE), n_outputs), 1.0))
        self.head_style: Tensor
        """[8, 4] head tilt (pitch, yaw, roll, rad) and change of the head's amplitude at dose 1."""
        self.register_buffer("head_style", torch.zeros(N_EMOTIONS, 4))
        self.gaze: Tensor
        """[8, 2] turn of the eyes (yaw to the person's left, pitch up, rad) at dose 1."""
        self.register_buffer("gaze", torch.zeros(N_EMOTIONS, 2))
        nn.init.zeros_(self.style.weight)
        nn.init.zeros_(self.style.bias)

    @property
    def look_ahead_frames(self) -> int:
        """Frames before and behind that an output frame depends on."""
        return 2 + 2 * len(self.blocks)

    def forward(self, offsets: Tensor, weights: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Return the displacement [B, T, 68, 3] and the change of eye openness [B, T, 2].

        Args:
            offsets: [B, T, 68, 3] neutral motion, canonical units.
            weights: [B, T, 8]; neutral's column is ignored.
            style: [B, style_dim] the performance; 0 is the average one.
        """
        doses = weights[..., _ACTIVE]
        seen = offsets[..., READ_POINTS, :].flatten(-2) / _INPUT_SCALE
        # Real trackers lose a face now and then: no input may be far from all that was learned from.
        seen = _LARGEST_INPUT * torch.tanh(seen / _LARGEST_INPUT)
        # Beyond dose 1 the face exaggerates in a straight line: the trunk never saw more.
        hidden = self.first(torch.cat([seen, doses.clamp(max=1.0)], -1).transpose(1, 2))
        for block in self.blocks:
            hidden = block(hidden)
        gain, shift = self.style(style)[:, None].chunk(2, -1)
        hidden = functional.gelu(hidden.transpose(1, 2)) * (1.0 + gain) + shift
        coefficients: Tensor = (
            self.coefficients(hidden).view(*doses.shape, self.config.rank) * doses[..., None]
        )
        output = doses @ self.mean + torch.einsum("bter,erd->btd", coefficients, self.fields)
        output = output * self.scale
        if not self.training:
            output = torch.minimum(torch.maximum(output, doses @ self.low), doses @ self.high)
        return output[..., : 3 * N_LANDMARKS].reshape(offsets.shape), output[..., 3 * N_LANDMARKS :]

    @property
    def scale(self) -> Tensor:
        """[206] typical size of each output: displacements, then openness."""
        return torch.cat([torch.full((3 * N_LANDMARKS,), _OUTPUT_SCALE), torch.full((2,), 0.3)])

    def set_bounds(self, displacement: Tensor, eyes: Tensor, weights: Tensor, margin: float = 0.25) -> None:
        """Take the bounds from true frames: displacement [N, 68, 3], eyes [N, 2], weights [N, 8].

        Frames of one emotion count, in proportion to their dose; ``margin`` widens the range seen.
        """
        outputs = torch.cat([displacement.flatten(1), eyes], 1)
        for row, emotion in enumerate(_ACTIVE):
            dose = weights[:, emotion]
            pure = (dose > 0.5) & (dose > 0.95 * weights[:, _ACTIVE].sum(1))
            if not bool(pure.any()):
                continue
            per_dose = outputs[pure] / dose[pure, None]
            low, high = per_dose.amin(0).clamp(max=0.0), per_dose.amax(0).clamp(min=0.0)
            self.low[row], self.high[row] = low * (1 + margin), high * (1 + margin)


class _Block(nn.Module):
    """x + conv(gelu(x)) over time, replicate padding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 5, padding=2, padding_mode="replicate")

    def forward(self, hidden: Tensor) -> Tensor:
        moved: Tensor = self.conv(functional.gelu(hidden))
        return hidden + moved


class PaperNet(nn.Module):
    """EmoGene 3.3: Embedding(8, 16) and FC 220-256-256-204, one frame at a time, l + delta * displacement.

    The label is the strongest emotion and delta its dose. The published code leaves neutral's embedding
    untrained; with delta 0 at neutral that does not show.
    """

    def __init__(self, config: EmotionConfig) -> None:
        super().__init__()
        self.config = config
        self.label = nn.Embedding(N_EMOTIONS, 16)
        self.layers = nn.Sequential(
            nn.Linear(3 * N_LANDMARKS + 16, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, 3 * N_LANDMARKS),
        )
        self.head_style: Tensor
        self.gaze: Tensor
        self.register_buffer("head_style", torch.zeros(N_EMOTIONS, 4))
        self.register_buffer("gaze", torch.zeros(N_EMOTIONS, 2))

    @property
    def look_ahead_frames(self) -> int:
        """The published model has no time."""
        return 0

    def forward(self, offsets: Tensor, weights: Tensor, style: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the displacement [B, T, 68, 3] and zeros [B, T, 2] (the paper has no eye stream)."""
        doses = weights.clone()
        doses[..., NEUTRAL] = 0.0
        delta, label = doses.max(-1, keepdim=True)
        moved = delta * self.layers(torch.cat([offsets.flatten(-2), self.label(label[..., 0])], -1))
        return moved.reshape(offsets.shape), torch.zeros_like(offsets[..., :2, 0])


def build(config: EmotionConfig) -> EmotionNet | PaperNet:
    """Make the network a configuration describes, untrained."""
    return PaperNet(config) if config.kind == "paper" else EmotionNet(config)
