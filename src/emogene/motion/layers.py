"""Building blocks of the motion model: convolutions over time that state how far ahead they look.

Letters: B batch, T frames, K latents (one per ``stride`` frames), C channels. Everything is [B, T, C], and a
convolution is a matrix product over neighbouring frames: on CPUs that is several times faster than
conv1d, above all in bfloat16.
``right`` is the number of future steps a convolution sees; 0 is causal. A stack's look-ahead is the sum
of its layers', which is what makes the streamed result equal to the offline one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class TimeConv(nn.Linear):
    """Convolution over time with output as long as the input (divided by ``stride``) and chosen look-ahead.

    Output k sees inputs from ``stride k + right - (kernel - 1) dilation`` to ``stride k + right``, zero
    beyond the ends. The weight is [C_out, kernel C_in], the earliest frame first.
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
        super().__init__(kernel * channels_in, channels_out)
        self.span = (kernel - 1) * dilation
        if not 0 <= right <= self.span:
            raise ValueError(f"right must be within 0..{self.span}, not {right}")
        self.kernel, self.dilation, self.stride = kernel, dilation, stride
        # A strided convolution does not run past the last whole group of frames.
        self.pads = (0, 0, self.span - right, max(0, right - (stride - 1)))
        self.context = self.span - right

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.pads)
        n = (x.shape[1] - self.span - 1) // self.stride + 1
        reach = (n - 1) * self.stride + 1
        starts = (tap * self.dilation for tap in range(self.kernel))
        return super().forward(torch.cat([x[:, s : s + reach : self.stride] for s in starts], dim=-1))


class ChannelDropout(nn.Dropout):
    """Dropout of whole channels of a window: cheaper than per number, and as good on smooth sequences."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2]) >= self.p
        return x * (kept / (1 - self.p))


class ResidualConv(nn.Module):
    """x + dropout(GELU(norm(conv(x)))), the layer of the regression trunk.

    The norm is over channels, frame by frame: statistics over time could not be streamed.
    """

    def __init__(self, channels: int, *, dilation: int, right: int, dropout: float) -> None:
        super().__init__()
        self.conv = TimeConv(channels, channels, 3, dilation=dilation, right=right)
        self.norm = nn.LayerNorm(channels)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(F.gelu(self.norm(self.conv(x)), approximate="tanh"))
        return x + y


class WaveNet(nn.Module):
    """Gated convolutions with 1x1 conditioning, residual and skip paths (van den Oord et al. 2016).

    As in the paper's FVAE every layer has dilation 1.
    """

    def __init__(self, channels: int, cond_channels: int, *, kernel: int, layers: int, right: int) -> None:
        super().__init__()
        self.channels = channels
        self.convs = nn.ModuleList(
            weight_norm(TimeConv(channels, 2 * channels, kernel, right=right)) for _ in range(layers)
        )
        self.cond = weight_norm(nn.Linear(cond_channels, 2 * channels * layers))
        self.outs = nn.ModuleList(
            weight_norm(nn.Linear(channels, channels if last else 2 * channels))
            for last in [False] * (layers - 1) + [True]
        )
        self.context = layers * (kernel - 1 - right)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        skip: Tensor = torch.zeros_like(x)
        conds = self.cond(cond).chunk(len(self.convs), dim=-1)
        for conv, out, layer_cond in zip(self.convs, self.outs, conds, strict=True):
            signal, gate = (conv(x) + layer_cond).chunk(2, dim=-1)
            y: Tensor = out(torch.tanh(signal) * torch.sigmoid(gate))
            if y.shape[-1] == self.channels:
                skip = skip + y
                break
            residual, more = y.chunk(2, dim=-1)
            x, skip = x + residual, skip + more
        return skip


class Coupling(nn.Module):
    """Mean-only affine coupling: half of the latent shifts the other half; volume-preserving."""

    def __init__(
        self, latent: int, cond_channels: int, *, hidden: int, kernel: int, layers: int, right: int
    ) -> None:
        super().__init__()
        self.split = latent // 2
        self.before = nn.Linear(self.split, hidden)
        self.wavenet = WaveNet(hidden, cond_channels, kernel=kernel, layers=layers, right=right)
        self.after = nn.Linear(hidden, latent - self.split)
        # The flow starts as the identity.
        for parameter in self.after.parameters():
            nn.init.zeros_(parameter)

    def forward(self, z: Tensor, cond: Tensor, *, inverse: bool = False) -> Tensor:
        still, moved = z[..., : self.split], z[..., self.split :]
        shift = self.after(self.wavenet(self.before(still), cond))
        return torch.cat([still, moved - shift if inverse else moved + shift], dim=-1)


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
        """Posterior sample [B, K, D] -> prior space."""
        for coupling in self.couplings:
            z = coupling(z, cond).flip(-1)
        return z

    def inverse(self, noise: Tensor, cond: Tensor) -> Tensor:
        """Prior sample [B, K, D] -> latent for the decoder."""
        for coupling in reversed(self.couplings):
            noise = coupling(noise.flip(-1), cond, inverse=True)
        return noise
