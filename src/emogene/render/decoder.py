"""Decoder: composite of head and torso -> rgb and alpha at twice its size, and gains of detail.

All convolutions run at low resolution (a convolution at the full one is bound by memory, 45 % slower at
equal arithmetic), PixelShuffle makes the pixels. The last convolution also sees the input and starts as
bilinear interpolation of its colour, so the network only ever learns what interpolation misses.
Colour is premultiplied by alpha: an empty picture is exactly zero and the background comes afterwards.

composite [B, 18, h, w] (16 channels premultiplied, head alpha, torso alpha), code [B, 32]
    -> picture [B, 4, 2h, 2w], gains of the detail layers, then of the torso's detail [B, layers + 1, h, w]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.render.code import CODE

SCALE = 4
"""Edge of the portrait relative to the feature picture."""
SHUFFLE = 2
"""Edge of the decoder's picture relative to the feature picture; detail makes the rest."""
CHANNELS = 16
INPUTS = CHANNELS + 2
THIN = 1 / 256
"""Opacity of the head (or torso) up to which a low pixel shows none of its detail."""
FIRST_GAIN = 1.6
"""Gain that the first layer of detail starts with: a mean over frames has lost a third of its contrast."""
PIXELS = 4 * SHUFFLE**2
"""Outputs per low pixel that are shuffled into rgb and alpha."""
OUTPUTS = PIXELS + 16
"""A multiple of 16, as the kernels want it; between the layers' gains and the torso's nothing is read."""
TORSO_GAIN = OUTPUTS - 1


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of the decoder."""

    width: int = 64
    depth: int = 3
    """Residual convolutions between the first and the last."""
    layers: int = 2
    """Detail layers (``detail.py``) that a gain per pixel is made for."""
    torso: bool = False
    """Whether the torso's detail (``torso.Torso.fine``) has a gain too; portraits made earlier have none."""


class Decoder(nn.Module):
    """Residual convolutions at low resolution and one PixelShuffle."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = nn.Conv2d(INPUTS, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(config.depth))
        self.leave = nn.Conv2d(width + INPUTS, OUTPUTS, 3, padding=1)
        # One row of biases per layer from the frame code and the scale flag.
        self.modulate = nn.Linear(CODE + 1, width * (config.depth + 1))
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        with torch.no_grad():
            # The pixels of a block start alike: no screen-door pattern has to be unlearned.
            picture = self.leave.weight[:PIXELS]
            alike = picture.view(4, SHUFFLE**2, *picture.shape[1:])[:, :1] * 0.02
            picture.copy_(alike.expand(-1, SHUFFLE**2, -1, -1, -1).reshape(picture.shape))
            assert self.leave.bias is not None
            self.leave.bias.zero_()
            _write_bilinear(picture[:, width:])
            # The first layer of detail starts fully seen everywhere, the others wait for a use.
            for gain in (PIXELS, TORSO_GAIN):
                self.leave.weight[gain].zero_()
                self.leave.bias[gain] = FIRST_GAIN

    def forward(self, composite: Tensor, code: Tensor, draft: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            composite: [B, 18, h, w] premultiplied.
            code: [B, 32] frame code.
            draft: 1 for the coarse grid of the draft quality, 0 for the standard one; a number or [B, 1].

        Returns:
            picture [B, 4, 2h, 2w]: premultiplied rgb and alpha, not clamped; gains [B, layers, h, w] (one
            more with ``config.torso``) of the detail that is to be added (``detail.add_detail``).
        """
        flag = torch.as_tensor(draft, dtype=code.dtype, device=code.device).expand(len(code), 1)
        bias = self.modulate(torch.cat([code, flag], 1).to(self.modulate.weight.dtype))
        biases = bias.view(len(code), len(self.blocks) + 1, -1, 1, 1)
        # Shoulders go on beyond the picture: next to nothing, their last pixels would be a quarter clear.
        wide = F.pad(composite, (1, 1, 1, 1), mode="replicate")
        entered = F.conv2d(wide, self.enter.weight, self.enter.bias)
        hidden = F.leaky_relu(entered + biases[:, 0], 0.1)
        for index, block in enumerate(self.blocks):
            hidden = hidden + F.leaky_relu(block(hidden) + biases[:, index + 1], 0.1)
        both = torch.cat([F.pad(hidden, (1, 1, 1, 1)), wide], 1)
        out = F.conv2d(both, self.leave.weight, self.leave.bias)
        reach = (composite[:, CHANNELS:] - THIN).clamp(min=0.0)
        gains = out[:, PIXELS : PIXELS + self.config.layers] * reach[:, :1]
        if self.config.torso:
            gains = torch.cat([gains, out[:, TORSO_GAIN:] * reach[:, 1:]], 1)
        return F.pixel_shuffle(out[:, :PIXELS], SHUFFLE), gains


def _write_bilinear(weight: Tensor) -> None:
    """Set [4 s^2, 18, 3, 3] to bilinear interpolation of rgb and of the sum of both alphas."""
    weight.zero_()
    for y in range(SHUFFLE):
        for x in range(SHUFFLE):
            kernel = torch.outer(_tent(y), _tent(x))
            for channel in range(3):
                weight[channel * SHUFFLE**2 + y * SHUFFLE + x, channel] = kernel
            for alpha in (CHANNELS, CHANNELS + 1):
                weight[3 * SHUFFLE**2 + y * SHUFFLE + x, alpha] = kernel


def _tent(phase: int) -> Tensor:
    """Weights of the previous, this and the next low pixel for one of the pixels inside it."""
    offset = (phase + 0.5) / SHUFFLE - 0.5
    return torch.tensor([max(-offset, 0.0), 1.0 - abs(offset), max(offset, 0.0)])
