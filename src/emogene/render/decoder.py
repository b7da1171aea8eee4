"""Decoder: low-resolution composite of head and torso -> rgb and alpha at four times its size.

All convolutions run at low resolution (a convolution at the full one is bound by memory, 45 % slower at
equal arithmetic), PixelShuffle makes the pixels. The last convolution also sees the input and starts as
bilinear interpolation of its colour, so the network only ever learns what interpolation misses.
Colour is premultiplied by alpha: an empty picture is exactly zero and the background comes afterwards.

composite [B, 18, h, w] (16 channels premultiplied, head alpha, torso alpha), code [B, 32] -> [B, 4, 4h, 4w]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.render.code import CODE

SCALE = 4
CHANNELS = 16
INPUTS = CHANNELS + 2


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of the decoder."""

    width: int = 64
    depth: int = 3
    """Residual convolutions between the first and the last."""


class Decoder(nn.Module):
    """Residual convolutions at low resolution and one PixelShuffle."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = nn.Conv2d(INPUTS, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(config.depth))
        self.leave = nn.Conv2d(width + INPUTS, 4 * SCALE**2, 3, padding=1)
        # One row of biases per layer from the frame code and the scale flag.
        self.modulate = nn.Linear(CODE + 1, width * (config.depth + 1))
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        with torch.no_grad():
            # The four by four pixels of a block start alike: no screen-door pattern has to be unlearned.
            alike = self.leave.weight.view(4, SCALE**2, *self.leave.weight.shape[1:])[:, :1] * 0.1
            self.leave.weight.copy_(alike.expand(-1, SCALE**2, -1, -1, -1).reshape(self.leave.weight.shape))
            assert self.leave.bias is not None
            self.leave.bias.zero_()
            _write_bilinear(self.leave.weight[:, width:])

    def forward(self, composite: Tensor, code: Tensor, draft: Tensor | float = 0.0) -> Tensor:
        """Decode.

        Args:
            composite: [B, 18, h, w] premultiplied.
            code: [B, 32] frame code.
            draft: 1 for the coarse grid of the draft quality, 0 for the standard one; a number or [B, 1].

        Returns:
            [B, 4, 4h, 4w]: premultiplied rgb and alpha, not clamped.
        """
        flag = torch.as_tensor(draft, dtype=code.dtype, device=code.device).expand(len(code), 1)
        bias = self.modulate(torch.cat([code, flag], 1).to(self.modulate.weight.dtype))
        biases = bias.view(len(code), len(self.blocks) + 1, -1, 1, 1)
        hidden = F.leaky_relu(self.enter(composite) + biases[:, 0], 0.1)
        for index, block in enumerate(self.blocks):
            hidden = hidden + F.leaky_relu(block(hidden) + biases[:, index + 1], 0.1)
        return F.pixel_shuffle(self.leave(torch.cat([hidden, composite], 1)), SCALE)


def _write_bilinear(weight: Tensor) -> None:
    """Set [4 s^2, 18, 3, 3] to bilinear interpolation of rgb and of the sum of both alphas."""
    weight.zero_()
    for y in range(SCALE):
        for x in range(SCALE):
            kernel = torch.outer(_tent(y), _tent(x))
            for channel in range(3):
                weight[channel * SCALE**2 + y * SCALE + x, channel] = kernel
            for alpha in (CHANNELS, CHANNELS + 1):
                weight[3 * SCALE**2 + y * SCALE + x, alpha] = kernel


def _tent(phase: int) -> Tensor:
    """Weights of the previous, this and the next low pixel for one of the four pixels inside it."""
    offset = (phase + 0.5) / SCALE - 0.5
    return torch.tensor([max(-offset, 0.0), 1.0 - abs(offset), max(offset, 0.0)])
