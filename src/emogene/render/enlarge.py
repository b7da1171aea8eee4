"""The decoder's picture enlarged, with detail over it, by the native kernel: what ``detail.py`` computes.

The texture is kept as bf16 pairs (values differ by 2^-9), one gather for two channels.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.render import backend as backends
from emogene.render.convolve import Decoded
from emogene.render.decoder import PIXELS, SCALE, THIN
from emogene.render.detail import Detail, way_shares
from emogene.render.native import binding
from emogene.render.volume import RayOutput

MOST_LAYERS = 4
FAINT = (1 / 256, 1 / 16)
"""Change of an amount, and of an iris' place in texels, that is not drawn anew."""


@dataclass(frozen=True, slots=True)
class Under:
    """What a frame's torso is drawn from.

    composite: [rows, columns, stride] that the decoder took. place: [h w, 2] of ``NativeComposer``.
    """

    composite: Tensor
    place: Tensor


class NativeDetail:
    """Detail textures ready for the kernel; keeps its buffers, so one thread at a time."""

    def __init__(self, detail: Detail, torso: Tensor | None = None) -> None:
        """Prepare the head's detail and the torso's [3, rows, columns]; None: it has none."""
        loaded = backends.kernels()
        assert loaded is not None
        self._torso = None if torso is None else packed_texture(torso.detach())
        self._kernels, self._layers = loaded, detail.config.layers
        self._side = detail.config.texels
        self._texture = packed_texture(detail.texture.detach()[0])
        self._boxes = detail.config.boxes
        self._pictures = [
            (
                detail.texture.detach()[0, :, y : y + height, x : x + width].clone(),
                [*(detail.halfway[stage].detach() for stage in detail.stages(index)), other.detach()],
            )
            for index, ((x, y, width, height), other) in enumerate(
                zip(self._boxes, detail.other, strict=False)
            )
        ]
        self._irises = [iris.detach()[None] for iris in detail.iris]
        self._iris_fade = detail.config.iris_fade
        self._shown = [(-1.0, 0.0, 0.0)] * len(self._pictures)
        self._buffers: tuple[Tensor, ...] = ()

    @staticmethod
    def available(detail: Detail) -> bool:
        """Whether this machine and texture can use the kernel."""
        cpu = detail.texture.device.type == "cpu"
        return cpu and detail.config.layers <= MOST_LAYERS and backends.kernels() is not None

    def enlarge(
        self,
        decoded: Decoded,
        head: RayOutput,
        origin: Tensor,
        rays_d: Tensor,
        warp: Tensor,
        mix: Tensor | None = None,
        under: Under | None = None,
    ) -> Decoded:
        """Make four times the size of it.

        Args:
            decoded: picture of 2 x 2 pixels per low pixel and gains (``NativeDecoder.run``).
            head: what the field shows, [h, w, ...].
            origin: [3] of the rays, unit-cube coordinates.
            rays_d: [h, w, 3] unit directions.
            warp: [G, G, G, 3].
            mix: [boxes + 2] of a frame (``Detail.mix``); None: the usual picture as it is.
            under: the torso, where it has detail.

        Returns:
            4 planes of 4 x 4 pixels per low pixel; valid until the next call.
        """
        if mix is not None:
            self._mix(mix.tolist())
        height, width = decoded.height, decoded.width
        rows, columns, channels = decoded.pixels.shape
        if not self._buffers or self._buffers[0].shape[:2] != (rows, columns):
            shapes = ((rows, columns, 4 * SCALE**2), (height * width, 3), (height * width, 2))
            self._buffers = tuple(torch.zeros(shape) for shape in shapes)
        out, surface, place = self._buffers
        tensors = {
            "decoded": decoded.pixels,
            "cells": decoded.cells,
            "origin": origin.contiguous(),
            "directions": rays_d.contiguous(),
            "opacity": head.opacity.contiguous(),
            "depth": head.depth.contiguous(),
            "warp": warp.contiguous(),
            "texture": self._texture,
            "surface": surface,
            "place": place,
            "out": out,
        }
        if self._torso is not None and under is not None:
            tensors |= {"torso": self._torso, "torso_place": under.place, "composite": under.composite}
            torso_rows, torso_columns, stride = *self._torso.shape[:2], under.composite.shape[2]
        else:
            torso_rows = torso_columns = stride = 0
        enlargement = binding.EnlargementStruct(
            height=height,
            width=width,
            row_pixels=columns,
            channels=channels,
            layers=self._layers,
            n_cells=-1 if decoded.cells is None else len(decoded.cells),
            warp_side=warp.shape[0],
            side=self._side,
            thin=THIN,
            torso_rows=torso_rows,
            torso_columns=torso_columns,
            stride=stride,
            **{name: binding.address(tensor) for name, tensor in tensors.items()},
        )
        assert channels >= PIXELS + self._layers + 1
        self._kernels.call("eg_enlarge", binding.thread_count(), ctypes.byref(enlargement))
        return Decoded(out, height, width, decoded.cells)

    def _mix(self, mix: list[float]) -> None:
        """Write the mixture of the pictures into the texture, where it changed."""
        across, down = mix[len(self._pictures) :]
        for index, (first, way) in enumerate(self._pictures):
            has_iris = index < len(self._irises)
            wanted = (mix[index], across, down) if has_iris else (mix[index], 0.0, 0.0)
            amount, *places = (abs(a - b) for a, b in zip(wanted, self._shown[index], strict=True))
            if amount < FAINT[0] and max(places) < FAINT[1]:
                continue
            x, y, width, height = self._boxes[index]
            mixed = first.clone()
            for picture, share in zip(way, way_shares(torch.tensor(mix[index]), len(way)), strict=True):
                if share > 0:
                    mixed[:3] += share * picture
            if has_iris and mix[index] < 1:
                left_open = (1 - mix[index]) ** self._iris_fade
                mixed[:3] += left_open * _moved(self._irises[index], across, down)
            self._texture[y : y + height, x : x + width] = packed_texture(mixed)
            self._shown[index] = wanted


def _moved(picture: Tensor, across: float, down: float) -> Tensor:
    """A picture [1, 3, h, w] moved by texels, [3, h, w]; nothing comes in from beyond its edge."""
    height, width = picture.shape[2:]
    shift = torch.tensor([[[1.0, 0.0, -2 * across / width], [0.0, 1.0, -2 * down / height]]])
    at = F.affine_grid(shift, [1, 3, height, width], align_corners=False)
    # The kernel interpolates once more: linear twice would blur.
    return F.grid_sample(picture, at, mode="bicubic", padding_mode="zeros", align_corners=False)[0]


def packed_texture(texture: Tensor) -> Tensor:
    """[3 layers, S, S] -> int32 [S, S, pairs]: two bf16 channels each, the even one in the lower half."""
    channels = texture.permute(1, 2, 0).float()
    channels = F.pad(channels, (0, channels.shape[2] % 2))
    if channels.shape[2] == 0:
        return torch.zeros(*channels.shape[:2], 1, dtype=torch.int32)
    halves = channels.to(torch.bfloat16).contiguous().view(torch.int16)
    return halves.view(torch.int32).contiguous()
