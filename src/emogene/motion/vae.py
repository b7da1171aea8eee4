"""The Audio-to-Motion network: a conditional VAE with a flow prior over landmark motion (paper: 3.1).

g = condition(speech)                      [B, T, C]
training:   z ~ encoder(motion, g)         [B, K, D], one latent per ``stride`` frames (160 ms)
synthesis:  z = flow^-1(temperature * noise, g)
both:       motion = decoder(z, g)         [B, T, 204], standardised landmark offsets

Recipe ``paper`` is the published system (GeneFace++'s FVAE, which EmoGene uses). Recipe ``standard``
keeps its parts but is causal but for a bounded look-ahead, hears through a stronger trunk, and decodes
a regression of the trunk plus what the latent adds, so that temperature 0 is a good regressor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from emogene.motion.condition import PitchContour, Trunk
from emogene.motion.layers import Flow, TimeConv, WaveNet
from emogene.types import N_LANDMARKS

OUTPUTS = 3 * N_LANDMARKS


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionConfig:
    """Sizes of the motion network."""

    recipe: Literal["paper", "standard"] = "standard"
    features: str = "whisper"
    """Name of the speech features it is trained on."""
    feature_dim: int = 512
    channels: int = 160
    """Width of the conditioning g."""
    hidden: int = 96
    """Width of encoder and decoder."""
    latent: int = 16
    """Numbers per latent; 0: no latent at all, a plain regression (recipe ``plain``)."""
    kernel: int = 5
    encoder_layers: int = 2
    decoder_layers: int = 2
    flow_couplings: int = 4
    flow_hidden: int = 48
    flow_layers: int = 1
    stride: int = 4
    """Frames per latent."""
    look_ahead: int = 6
    """Frames; 6 = 240 ms. Recipe ``paper`` ignores it: its convolutions are symmetric."""
    dropout: float = 0.2
    use_prosody: bool = True
    moments: tuple[int, ...] = ()
    """How many frames ago the readout hears as well; only in models fitted to a person (training.adapt)."""

    def __post_init__(self) -> None:
        if not 0 <= self.look_ahead <= 6:
            raise ValueError(f"look_ahead must be 0..6 frames (240 ms), not {self.look_ahead}")
        if self.latent % 2:
            raise ValueError(f"latent must be even (the flow splits it), not {self.latent}")
        if not self.latent and self.recipe == "paper":
            raise ValueError("recipe paper is a VAE and needs a latent; use recipe standard")


def tiny() -> MotionConfig:
    """For tests: everything, small."""
    return MotionConfig(feature_dim=8, channels=16, hidden=16, latent=4, encoder_layers=1, decoder_layers=1)


def standard() -> MotionConfig:
    """What ships: whisper features, 240 ms look-ahead."""
    return MotionConfig()


def paper() -> MotionConfig:
    """The published widths: HuBERT 1024, g 128, hidden 256, latent 16; WaveNets of 8, 4 and 4 x 4 layers."""
    return MotionConfig(
        recipe="paper",
        features="hubert",
        feature_dim=1024,
        channels=128,
        hidden=256,
        encoder_layers=8,
        decoder_layers=4,
        flow_hidden=64,
        flow_layers=4,
        dropout=0.0,
    )


def plain() -> MotionConfig:
    """Trunk and linear readout, one motion per sound: several of them make a teacher (training.teachers)."""
    return MotionConfig(latent=0)


RECIPES = {"tiny": tiny, "standard": standard, "paper": paper, "plain": plain}


@dataclass(frozen=True)
class Posterior:
    """Diagonal Gaussian over latents, each [B, K, D]: a sample, its mean and log standard deviation."""

    z: Tensor
    mean: Tensor
    log_std: Tensor


class MotionVae(nn.Module):
    """The network. Speech in, standardised offsets [B, T, 204] out; T must be a multiple of ``stride``."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = c = config
        symmetric = c.recipe == "paper"
        self.condition = (
            PitchContour(c.feature_dim, c.channels)
            if symmetric
            else Trunk(c.feature_dim, c.channels, c.look_ahead, c.dropout, c.use_prosody)
        )
        if c.latent:
            self._build_variation(symmetric)
        self.regress = None if symmetric else nn.Linear(c.channels, OUTPUTS)
        self.recall = nn.Linear(len(c.moments) * c.channels, OUTPUTS, bias=False) if c.moments else None
        self.mean = nn.Buffer(torch.zeros(OUTPUTS))
        self.scale = nn.Buffer(torch.ones(OUTPUTS))

    def _build_variation(self, symmetric: bool) -> None:
        """Encoder, flow prior and decoder: what speech leaves open."""
        c = self.config
        right = (c.kernel - 1) // 2 if symmetric else 0
        # Stride-4 view of g: published k8 s4 p2 sees frames 4k-2..4k+5; the streaming one ends at 4k.
        self.squeeze = TimeConv(
            c.channels, c.channels, 2 * c.stride, stride=c.stride, right=5 if symmetric else 0
        )
        self.enter = TimeConv(OUTPUTS, c.hidden, 2 * c.stride, stride=c.stride, right=5)
        self.encoder = WaveNet(
            c.hidden, c.channels, kernel=c.kernel, layers=c.encoder_layers, right=(c.kernel - 1) // 2
        )
        self.moments = nn.Linear(c.hidden, 2 * c.latent)
        self.flow = Flow(
            c.latent,
            c.channels,
            couplings=c.flow_couplings,
            hidden=c.flow_hidden,
            kernel=3,
            layers=c.flow_layers,
            right=1 if symmetric else 0,
        )
        self.expand = nn.Linear(c.latent, c.stride * c.hidden)
        self.decoder = WaveNet(c.hidden, c.channels, kernel=c.kernel, layers=c.decoder_layers, right=right)
        self.leave = nn.Linear(c.hidden, OUTPUTS)

    @property
    def look_ahead_frames(self) -> int:
        """Future frames that an output frame depends on."""
        c = self.config
        if c.recipe == "standard":
            return self.condition.look_ahead
        reach = (c.kernel - 1) // 2 * c.decoder_layers
        return self.condition.look_ahead + reach + c.stride * (self.flow.context + 2)

    @property
    def context_frames(self) -> int:
        """Past frames that an output frame depends on, rounded up to whole latents."""
        past = max(self.config.moments, default=0)
        if self.config.latent:
            past = max(past, self.decoder.context + self.config.stride * (self.flow.context + 3))
        past += self.condition.context
        return -(-past // self.config.stride) * self.config.stride

    def encode(self, motion: Tensor, g: Tensor) -> Posterior:
        """Standardised motion [B, T, 204] -> posterior over its latents."""
        x = self.encoder(self.enter(motion), self.squeeze(g))
        mean, log_std = self.moments(x).float().chunk(2, dim=-1)
        log_std = log_std.clamp(-6, 3)
        return Posterior(mean + torch.randn_like(mean) * log_std.exp(), mean, log_std)

    def prior(self, noise: Tensor, g: Tensor) -> Tensor:
        """Standard normal noise [B, K, D], scaled by the temperature -> latents."""
        if not self.config.latent:
            return noise
        z: Tensor = self.flow.inverse(noise, self.squeeze(g))
        return z

    def decode(self, z: Tensor, g: Tensor) -> Tensor:
        """Latents [B, K, D] -> standardised motion [B, T, 204]."""
        likely: Tensor | None = None if self.regress is None else self.regress(g)
        if likely is not None and self.recall is not None:
            likely = likely + self.recall(self.heard_before(g))
        if likely is not None and not self.config.latent:
            return likely
        # One latent becomes ``stride`` frames: a transposed convolution whose kernel is its stride.
        frames = self.expand(z).reshape(len(z), -1, self.config.hidden)
        y: Tensor = self.leave(self.decoder(frames, g))
        return y if likely is None else y + likely

    def heard_before(self, g: Tensor) -> Tensor:
        """g [B, T, C] of each of the config's moments, side by side; the first stands for those before."""
        longest = max(self.config.moments)
        padded = torch.cat([g[:, :1].expand(-1, longest, -1), g], dim=1)
        steps = g.shape[1]
        return torch.cat([padded[:, longest - m : longest - m + steps] for m in self.config.moments], dim=-1)

    def divergence(self, posterior: Posterior, g: Tensor) -> Tensor:
        """Monte-Carlo KL: mean over latents of log q(z | motion) - log p(flow(z)) [nats per number]."""
        u = self.flow(posterior.z, self.squeeze(g))
        log_q = -posterior.log_std - 0.5 * ((posterior.z - posterior.mean) / posterior.log_std.exp()) ** 2
        kl: Tensor = (log_q + 0.5 * u**2).mean()
        return kl
