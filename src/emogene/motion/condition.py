"""What the motion VAE hears: speech features, pitch and amplitude -> one conditioning vector per frame.

features [B, 2T, F] and prosody [B, 2T, 3] at 50 Hz, mouth_amp [B] -> g [B, T, C] at 25 fps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.motion.layers import ChannelDropout, ResidualConv, TimeConv

PITCH_BINS = 256
PITCH_LOW_HZ, PITCH_HIGH_HZ = 50.0, 1100.0
MEDIAN_PITCH_HZ = 160.0
"""Stands for every speaker's median when relative pitch is turned into the paper's absolute bins."""


class Trunk(nn.Module):
    """Recipe ``standard``: the pair of feature frames of each video frame through residual convolutions.

    The first layers share out the look-ahead, the rest are causal; strong enough to be a regressor by
    itself, which is what the decoder does at temperature 0. Speech animated by rules moves differently
    from tracked people: a flag in training tells them apart, and real motion is what comes out by default.
    """

    def __init__(
        self, feature_dim: int, channels: int, look_ahead: int, dropout: float, use_prosody: bool = True
    ) -> None:
        super().__init__()
        inputs = 2 * (feature_dim + (3 if use_prosody else 0))
        self.use_prosody = use_prosody
        self.mean = nn.Buffer(torch.zeros(feature_dim))
        self.std = nn.Buffer(torch.ones(feature_dim))
        self.enter = nn.Linear(inputs, channels)
        self.amplitude = nn.Parameter(0.1 * torch.randn(channels))
        self.synthetic = nn.Parameter(torch.zeros(channels))
        self.dropout = ChannelDropout(dropout)
        plan = _share_look_ahead(look_ahead)
        self.layers = nn.ModuleList(
            ResidualConv(channels, dilation=dilation, right=right, dropout=dropout)
            for dilation, right in plan
        )
        self.look_ahead = sum(right for _, right in plan)
        self.context = sum(2 * dilation - right for dilation, right in plan)

    def forward(
        self, features: Tensor, prosody: Tensor, mouth_amp: Tensor, synthetic: Tensor | None = None
    ) -> Tensor:
        x = self.dropout((features - self.mean) / self.std)
        if self.use_prosody:
            x = torch.cat([x, prosody], dim=-1)
        batch, steps, width = x.shape
        x = self.enter(x.reshape(batch, steps // 2, 2 * width))
        # The logarithm makes "twice" and "half" equal steps of the same vector.
        x = x + mouth_amp.clamp_min(0.05).log()[:, None, None] * self.amplitude
        if synthetic is not None:
            x = x + synthetic[:, None, None] * self.synthetic
        hidden: Tensor = F.gelu(x, approximate="tanh")
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


def _share_look_ahead(look_ahead: int) -> list[tuple[int, int]]:
    """(dilation, right) of six layers: symmetric while the look-ahead lasts, then causal."""
    plan = []
    for dilation in (1, 1, 2, 2, 4, 4):
        right = min(dilation, look_ahead)
        look_ahead -= right
        plan.append((dilation, right))
    return plan


class PitchContour(nn.Module):
    """Recipe ``paper``: HuBERT, coarse pitch and blink, each through its own layers, joined to one g.

    Widths of GeneFace++/EmoGene (see the VAE's docstring); the 50 Hz streams are cut to 25 fps by taking
    every second frame. ``mouth_amp`` is a learned vector times the scalar.
    """

    def __init__(self, feature_dim: int, channels: int, width: int = 128) -> None:
        super().__init__()

        def stack(channels_in: int) -> nn.Sequential:
            return nn.Sequential(
                TimeConv(channels_in, width, 3, right=1),
                _BatchNorm(width),
                nn.GELU(),
                TimeConv(width, width, 3, right=1),
            )

        self.speech = stack(feature_dim)
        self.pitch_embedding = nn.Embedding(300, width)
        self.pitch = stack(width)
        self.blink_embedding = nn.Embedding(2, width)
        self.amplitude = nn.Parameter(torch.randn(width))
        self.join = nn.Linear(4 * width, channels)
        self.look_ahead = 2
        self.context = 2

    def forward(
        self,
        features: Tensor,
        prosody: Tensor,
        mouth_amp: Tensor,
        synthetic: Tensor | None = None,
        blink: Tensor | None = None,
    ) -> Tensor:
        speech = self.speech(features[:, ::2])
        coarse = coarse_pitch(prosody[:, ::2])
        pitch = self.pitch(self.pitch_embedding(coarse))
        if blink is None:
            blink = torch.zeros_like(coarse)
        lids = self.blink_embedding(blink)
        amplitude = (mouth_amp[:, None] * self.amplitude)[:, None].expand_as(speech)
        joined: Tensor = self.join(torch.cat([speech, pitch, lids, amplitude], dim=-1))
        return joined


class _BatchNorm(nn.BatchNorm1d):
    """Batch norm of [B, T, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def coarse_pitch(prosody: Tensor) -> Tensor:
    """Relative log2 pitch and voicing [..., 3] -> mel-scaled bins 1..255, 0 where unvoiced."""
    f0_hz = MEDIAN_PITCH_HZ * torch.exp2(prosody[..., 0])
    low, high = _mel(torch.tensor(PITCH_LOW_HZ)), _mel(torch.tensor(PITCH_HIGH_HZ))
    bins = 1 + (_mel(f0_hz) - low) / (high - low) * (PITCH_BINS - 2)
    bins = bins.clamp(1, PITCH_BINS - 1).round().long()
    return torch.where(prosody[..., 1] > 0.5, bins, torch.zeros_like(bins))


def _mel(f_hz: Tensor) -> Tensor:
    return 1127 * torch.log1p(f_hz / 700)
