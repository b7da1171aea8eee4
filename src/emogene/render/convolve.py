"""The decoder by native kernels: Winograd convolutions where somebody is, nothing elsewhere.

Computes what ``decoder.Decoder`` computes, 3 to 6 x faster than its convolutions in torch; in half precision
where the processor multiplies that twice as fast (66 dB against float32), else in single. Inference only;
weights are transformed once, when it is made.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.render import backend as backends
from emogene.render.compose import CELL, Cover
from emogene.render.decoder import INPUTS, SCALE, Decoder
from emogene.render.native import binding

MOST_CHANNELS = 128
PADDED_INPUTS = (INPUTS + 15) // 16 * 16
WINOGRAD = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
"""G of F(4 x 4, 3 x 3): a kernel g becomes G g G^T."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Raw output [rows + border, columns + border, channels] of a picture of height x width low pixels.

    cells: numbers of the 4 x 4 pixels that hold anything (``compose.Cover.made``); None: all.
    """

    pixels: Tensor
    height: int
    width: int
    cells: Tensor | None = None

    def planes(self, scale: int = SCALE) -> Tensor:
        """[planes, scale height, scale width] of pixels kept as scale x scale per low pixel."""
        inner = self.low()
        planes = inner.shape[0] // scale**2
        return F.pixel_shuffle(inner[None, : planes * scale**2], scale)[0]

    def halved(self) -> Tensor:
        """[planes, 2 height, 2 width]: means of 2 x 2 pixels, taken before anything is moved (13 ms -> 3)."""
        inner = self._held()
        fours = inner.view(self.height, self.width, -1, SCALE // 2, 2, SCALE // 2, 2)
        means = (fours[..., 0, :, 0] + fours[..., 0, :, 1] + fours[..., 1, :, 0] + fours[..., 1, :, 1]) / 4
        planes = means.shape[2]
        return means.permute(2, 0, 3, 1, 4).reshape(planes, 2 * self.height, 2 * self.width)

    def low(self) -> Tensor:
        """[channels, height, width]; zero outside the cells."""
        return self._held().permute(2, 0, 1)

    def _held(self) -> Tensor:
        """[height, width, channels]; zero outside the cells."""
        inner = self.pixels[1 : 1 + self.height, 1 : 1 + self.width]
        if self.cells is not None:
            columns = -(-self.width // CELL)
            held = torch.zeros(-(-self.height // CELL) * columns)
            held[self.cells.long()] = 1.0
            held = held.view(-1, columns).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
            inner = torch.where(held[: self.height, : self.width, None] > 0, inner, 0.0)
        return inner


class NativeDecoder:
    """A decoder ready for the kernels; keeps its pictures between calls, so one thread at a time."""

    def __init__(self, decoder: Decoder) -> None:
        width = decoder.config.width
        if not fits(decoder):
            raise ValueError(f"the kernels decode with a multiple of 16 channels up to 128, not {width}")
        self._decoder = decoder
        self._convolutions = [module for module in decoder.blocks if isinstance(module, torch.nn.Conv2d)]
        loaded = backends.kernels()
        assert loaded is not None
        self._kernels = loaded
        self._enter = packed(loaded, decoder.enter.weight, [INPUTS])
        self._blocks = [packed(loaded, block.weight, [width]) for block in self._convolutions]
        self._leave = packed(loaded, decoder.leave.weight, [width, INPUTS])
        self._pictures: tuple[Tensor, ...] = ()

    @staticmethod
    def available(decoder: Decoder) -> bool:
        """Whether this machine and decoder can use the kernels."""
        return fits(decoder) and backends.kernels() is not None

    @torch.no_grad()
    def decode(self, composite: Tensor, code: Tensor, draft: float = 0.0) -> Decoded:
        """composite [18, h, w] and code [32] -> raw pixels; valid until the next call."""
        height, width = composite.shape[1:]
        picture = self.input(height, width)
        picture[1 : 1 + height, 1 : 1 + width, :INPUTS] = composite.permute(1, 2, 0)
        return self.run(height, width, code, draft)

    def input(self, height: int, width: int) -> Tensor:
        """The picture [rows, columns, 32] to fill, from one pixel inside on, before ``run``."""
        rows, columns = (CELL * -(-size // CELL) + 2 for size in (height, width))
        return self._buffers(rows, columns)[0]

    @torch.no_grad()
    def run(
        self, height: int, width: int, code: Tensor, draft: float = 0.0, cover: Cover | None = None
    ) -> Decoded:
        """Decode what ``input`` was filled with, only where ``cover`` says; valid until the next call."""
        inputs, first, second, pixels = self._pictures
        replicate_border(inputs, height, width)
        pixels.zero_()  # enlarging reads a little beyond the cells
        columns = inputs.shape[1]
        flag = torch.tensor([draft])
        biases = self._decoder.modulate(torch.cat([code, flag])).view(len(self._convolutions) + 1, -1)
        own = [self._decoder.enter.bias, *(block.bias for block in self._convolutions)]
        keep = [bias + other for bias, other in zip(biases, own, strict=True) if other is not None]
        hidden_cells = None if cover is None else cover.hidden
        if cover is not None:
            for picture in (first, second):  # what another frame left there would change the rounding
                self._clear(picture, cover.ring, width)
        size = (height, width, columns)
        layers = [_layer([(inputs, INPUTS)], self._enter, keep[0], first, size, hidden_cells, hidden=True)]
        used = self._decoder.config.width
        for weight, bias in zip(self._blocks, keep[1:], strict=True):
            layer = _layer([(first, used)], weight, bias, second, size, hidden_cells, hidden=True)
            layer.residual = 1
            layers.append(layer)
            first, second = second, first
        assert self._decoder.leave.bias is not None
        keep.append(self._decoder.leave.bias.detach().contiguous())
        made = None if cover is None else cover.made
        layers.append(_layer([(first, used), (inputs, INPUTS)], self._leave, keep[-1], pixels, size, made))
        array = (binding.ConvolutionStruct * len(layers))(*layers)
        self._kernels.call(
            "eg_convolve", binding.thread_count(), ctypes.byref(array), ctypes.c_int64(len(layers))
        )
        return Decoded(pixels, height, width, made)

    def _clear(self, picture: Tensor, cells: Tensor, width: int) -> None:
        sizes = (ctypes.c_int64(size) for size in picture.shape[1:])
        places = (ctypes.c_void_p(cells.data_ptr()), ctypes.c_int64(len(cells)), ctypes.c_int64(width))
        self._kernels.library.eg_clear(ctypes.c_void_p(picture.data_ptr()), *sizes, *places)

    def _buffers(self, rows: int, columns: int) -> tuple[Tensor, ...]:
        """Zero-bordered pictures for the input, two layers and the result; remade when the size changes.

        Layers never write outside the picture's true height and width, so the excess is cleared when a
        smaller picture follows in buffers of the same size.
        """
        if not self._pictures or self._pictures[0].shape[:2] != (rows, columns):
            width = self._decoder.config.width
            sizes = (PADDED_INPUTS, width, width, self._decoder.leave.out_channels)
            self._pictures = tuple(torch.zeros(rows, columns, channels) for channels in sizes)
        for picture in self._pictures:
            picture[-5:].zero_()
            picture[:, -5:].zero_()
        return self._pictures


def replicate_border(picture: Tensor, height: int, width: int) -> None:
    """Let the outermost pixels of a picture [rows, columns, C] go on into the border of one around it."""
    picture[0], picture[1 + height] = picture[1], picture[height]
    picture[:, 0], picture[:, 1 + width] = picture[:, 1], picture[:, width]


def fits(decoder: Decoder) -> bool:
    """Whether the decoder has a shape and place the kernels can take."""
    widths = (decoder.config.width, decoder.leave.out_channels)
    sizes = all(width % 16 == 0 and width <= MOST_CHANNELS for width in widths)
    return decoder.enter.weight.device.type == "cpu" and sizes


def transformed(weight: Tensor, groups: list[int]) -> Tensor:
    """[O, C, 3, 3] -> [36, inputs, O]; the channels of each group of C padded to a multiple of 16."""
    matrix = torch.tensor(WINOGRAD, dtype=torch.float64)
    spread = torch.einsum("ab,oibc,dc->adio", matrix, weight.detach().double(), matrix).flatten(0, 1)
    parts = [F.pad(part, (0, 0, 0, -part.shape[1] % 16)) for part in torch.split(spread, groups, dim=1)]
    return torch.cat(parts, dim=1).float().contiguous()


def packed(loaded: binding.Kernels, weight: Tensor, groups: list[int]) -> Tensor:
    """``transformed`` in the number format that the instruction set multiplies in."""
    spread = transformed(weight, groups)
    result = torch.empty_like(spread)
    sizes = (ctypes.c_int64(size) for size in spread.shape[1:])
    loaded.call(
        "eg_pack_weights", ctypes.c_void_p(spread.data_ptr()), *sizes, ctypes.c_void_p(result.data_ptr())
    )
    return result


def _layer(
    sources: list[tuple[Tensor, int]],
    weight: Tensor,
    bias: Tensor,
    out: Tensor,
    size: tuple[int, int, int],
    cells: Tensor | None = None,
    hidden: bool = False,
) -> binding.ConvolutionStruct:
    pair = [*sources, (None, 0)][:2]
    height, width, row_pixels = size
    return binding.ConvolutionStruct(
        in_=(ctypes.c_void_p * 2)(*(binding.address(source) for source, _ in pair)),
        stride=(ctypes.c_int64 * 2)(*(0 if source is None else source.shape[2] for source, _ in pair)),
        used=(ctypes.c_int64 * 2)(*(used for _, used in pair)),
        height=height,
        width=width,
        row_pixels=row_pixels,
        outputs=out.shape[2],
        weight=binding.address(weight),
        bias=binding.address(bias),
        out=binding.address(out),
        hidden=int(hidden),
        cells=binding.address(cells),
        n_cells=-1 if cells is None else len(cells),
    )
