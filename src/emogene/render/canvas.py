"""The last step of a frame: premultiplied pixels to bytes, over a background or with alpha.

``paint`` takes what the native decoder made and writes only the cells that hold somebody; ``finish`` takes
any [4, H, W] and does the same in torch, at any size. Both follow one rule: what is nearly clear is clear,
what is nearly solid is solid, and no channel is brighter than its alpha allows.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.render import backend as backends
from emogene.render.convolve import Decoded
from emogene.render.decoder import SCALE
from emogene.render.native import binding
from emogene.types import ByteArray

CLEAR = 0.02
"""Alpha below which a pixel is taken as background; as far from one it is solid."""
KINDS = ("rgb", "rgba", "planes")
LUMA = (0.2126, 0.7152, 0.0722)
"""BT.709."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What pictures are painted on.

    kind: "rgb" over the background, "rgba" with straight alpha, "planes" for 4:2:0 video (BT.709, limited
    range: Y [h, w], then U and V [h / 2, w / 2], as one array [3 h / 2, w]) over the background.
    empty: the picture without anybody. background: uint8 [h, w, 3]. blocks: uint8 [h / 4, w / 4, 3, 16] the
    same as the kernel reads it. Both are empty arrays for rgba.
    """

    kind: str
    size: tuple[int, int]
    empty: ByteArray
    background: ByteArray
    blocks: ByteArray

    @classmethod
    def of(cls, size: int, background: ByteArray | None, *, planes: bool = False) -> Canvas:
        """A square canvas: rgba without a background [size, size, 3], else rgb, or planes when asked for."""
        if background is None:
            nothing = np.zeros(0, np.uint8)
            return cls("rgba", (size, size), np.zeros((size, size, 4), np.uint8), nothing, nothing)
        background = np.ascontiguousarray(background)
        low = size // SCALE
        cut = background[: low * SCALE, : low * SCALE].reshape(low, SCALE, low, SCALE, 3)
        blocks = np.ascontiguousarray(cut.transpose(0, 2, 4, 1, 3)).reshape(low, low, 3, SCALE**2)
        kind, empty = ("planes", to_planes(background)) if planes else ("rgb", background)
        return cls(kind, (size, size), empty, background, blocks)


def paint(decoded: Decoded, canvas: Canvas, place: tuple[int, int] = (0, 0)) -> ByteArray:
    """Paint on a copy of the canvas by the native kernel; ``place``: top and left in low pixels."""
    out = canvas.empty.copy()
    picture = binding.PictureStruct(
        decoded=binding.address(decoded.pixels),
        height=decoded.height,
        width=decoded.width,
        row_pixels=decoded.pixels.shape[1],
        channels=decoded.pixels.shape[2],
        cells=binding.address(decoded.cells),
        n_cells=-1 if decoded.cells is None else len(decoded.cells),
        top=place[0],
        left=place[1],
        out_height=canvas.size[0],
        out_width=canvas.size[1],
        background=canvas.blocks.ctypes.data,
        out=out.ctypes.data,
        clear=CLEAR,
        kind=KINDS.index(canvas.kind),
    )
    loaded = backends.kernels()
    assert loaded is not None
    loaded.call("eg_paint", binding.thread_count(), ctypes.byref(picture))
    return out


def finish(pixels: Tensor, canvas: Canvas) -> ByteArray:
    """Premultiplied rgb and alpha [4, H, W] of any size -> bytes on the canvas, in torch."""
    pixels = _resized(pixels, canvas.size)
    alpha = ((pixels[3:] - CLEAR) / (1 - 2 * CLEAR)).clamp(0.0, 1.0)
    colour = torch.minimum(pixels[:3], alpha).clamp(min=0.0)
    if canvas.kind == "rgba":
        straight = torch.cat([colour / alpha.clamp(min=1 / 64), alpha])
        return _bytes(straight * 255.0)
    behind = torch.from_numpy(canvas.background).permute(2, 0, 1).float()
    rgb = _bytes(colour * 255.0 + (1.0 - alpha) * behind)
    return to_planes(rgb) if canvas.kind == "planes" else rgb


def to_planes(rgb: ByteArray) -> ByteArray:
    """rgb [h, w, 3] -> Y, U and V of 4:2:0 video, BT.709 in limited range, as one array [3 h / 2, w]."""
    height, width = rgb.shape[:2]
    values = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).float()
    luma = (values * torch.tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    half = F.avg_pool2d(torch.cat([values, luma])[None], 2)[0]
    blue, red = ((half[k] - half[3]) / (2 - 2 * LUMA[k]) * (224 / 255) + 128.5 for k in (2, 0))
    planes = [luma.flatten() * (219 / 255) + 16.5, blue.flatten(), red.flatten()]
    return torch.cat(planes).to(torch.uint8).view(height * 3 // 2, width).numpy()


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    height = pixels.shape[1]
    if pixels.shape[1:] == size:
        return pixels
    if height % size[0] == 0:
        return F.avg_pool2d(pixels[None], height // size[0])[0]
    return F.interpolate(
        pixels[None], size, mode="bilinear", antialias=height > size[0], align_corners=False
    )[0]


def _bytes(values: Tensor) -> ByteArray:
    """[C, H, W] in 0..255 -> uint8 [H, W, C]."""
    rounded = values.permute(1, 2, 0).add(0.5).clamp_(0.0, 255.0)
    return rounded.contiguous().to(torch.uint8).numpy()
