"""Building blocks of the motion model: convolutions over time that state how far ahead they look.

Letters: B batch, C channels, T frames, K latents (one per ``stride`` frames). Everything is [B, C, T].
``right`` is the number of future steps a convolution sees; 0 is causal. A stack's look-ahead is the sum
of its layers', which is what makes the streamed result equal to the offline one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class TimeConv(nn.Conv1d):
    """Convolution over time with output as long as the input (divided by ``stride``) and chosen look-ahead.

    Output k sees inputs from ``stride k + right - (kernel - 1) dilation`` to ``stride k + right``.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        right: int = 0,
        dilation: int = 1,
        stride: int = 1,
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, dilation=dilation)
        span = (kernel - 1) * dilation
        if not 0 <= right <= span:
            raise ValueError(f"right must be within 0..{span}, not {right}")
        # A strided convolution must not run past the last whole group of frames.
        self.pads = (span - right, max(0, right - (stride - 1)) if stride > 1 else right)
        self.context = span - right

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, T]: unlike group norm over time it can be streamed."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ResidualConv(nn.Module):
    """x + dropout(GELU(norm(conv(x)))), the layer of the regression trunk."""

    def __init__(self, channels: int, *, dilation: int, right: int, dropout: float) -> None:
        super().__init__()
        self.conv = TimeConv(channels, channels, 3, dilation=dilation, right=right)
        self.norm = ChannelNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(F.gelu(self.norm(self.conv(x))))
        return x + y


class WaveNet(nn.Module):
    """Gated convolutions with 1x1 conditioning, residual and skip paths (van den Oord et al. 2016).

    As in the paper's FVAE every layer has dilation 1.
    """

    def __init__(
        self, channels: int, cond_channels: int, *, kernel: int, layers: int, right: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.channels = channels
        self.convs = nn.ModuleList(
            weight_norm(TimeConv(channels, 2 * channels, kernel, right=right)) for _ in range(layers)
        )
        self.cond = weight_norm(nn.Conv1d(cond_channels, 2 * channels * layers, 1))
        self.outs = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels if last else 2 * channels, 1))
            for last in [False] * (layers - 1) + [True]
        )
        self.dropout = nn.Dropout(dropout)
        self.context = layers * (kernel - 1 - right)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        skip: Tensor = torch.zeros_like(x)
        conds = self.cond(cond).chunk(len(self.convs), dim=1)
        for conv, out, layer_cond in zip(self.convs, self.outs, conds, strict=True):
            signal, gate = (self.dropout(conv(x)) + layer_cond).chunk(2, dim=1)
            y: Tensor = out(torch.tanh(signal) * torch.sigmoid(gate))
            if y.shape[1] == self.channels:
                skip = skip + y
                break
            residual, more = y.chunk(2, dim=1)
            x, skip = x + residual, skip + more
        return skip


class Coupling(nn.Module):
    """Mean-only affine coupling: half of the latent shifts the other half; volume-preserving."""

    def __init__(
        self, latent: int, cond_channels: int, *, hidden: int, kernel: int, layers: int, right: int
    ) -> None:
        super().__init__()
        self.split = latent // 2
        self.before = nn.Conv1d(self.split, hidden, 1)
        self.wavenet = WaveNet(hidden, cond_channels, kernel=kernel, layers=layers, right=right)
        self.after = nn.Conv1d(hidden, latent - self.split, 1)
        # The flow starts as the identity.
        for parameter in self.after.parameters():
            nn.init.zeros_(parameter)

    def forward(self, z: Tensor, cond: Tensor, *, inverse: bool = False) -> Tensor:
        still, moved = z[:, : self.split], z[:, self.split :]
        shift = self.after(self.wavenet(self.before(still), cond))
        return torch.cat([still, moved - shift if inverse else moved + shift], dim=1)


class Flow(nn.Module):
    """Couplings with channel flips between: maps a posterior sample to the standard normal prior."""

    def __init__(
        self,
        latent: int,
        cond_channels: int,
        *,
        couplings: int,
        hidden: int,
        kernel: int,
        layers: int,
        right: int,
    ) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(
            Coupling(latent, cond_channels, hidden=hidden, kernel=kernel, layers=layers, right=right)
            for _ in range(couplings)
        )
        self.context = couplings * layers * (kernel - 1 - right)

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        """Posterior sample [B, D, K] -> prior space."""
        for coupling in self.couplings:
            z = coupling(z, cond).flip(1)
        return z

    def inverse(self, noise: Tensor, cond: Tensor) -> Tensor:
        """Prior sample [B, D, K] -> latent for the decoder."""
        for coupling in reversed(self.couplings):
            noise = coupling(noise.flip(1), cond, inverse=True)
        return noise
