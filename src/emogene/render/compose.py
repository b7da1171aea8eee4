"""Head and torso laid together at low resolution by the native kernels, and where somebody is in the result.

Computes ``torso.Torso`` and ``model.layered`` of one frame, 5 x faster than in torch, straight into the
decoder's input. The torso's two small networks of the pose run in torch, for a batch of frames at once.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.render import backend as backends
from emogene.render.native import binding
from emogene.render.torso import MARGIN, N_JAW, REACH, Torso
from emogene.render.volume import RayOutput

FEATURES, HIDDEN, KNOTS, CHANNELS = 8, 48, 12, 16
"""Sizes of a torso that the kernel takes."""
CELL = 4
"""Edge of a cell in low pixels."""


@dataclass(frozen=True, slots=True)
class Bend:
    """What a frame's pose does to its torso.

    knots: [2, 12, 12] displacements before tanh. shade: [48] first layer's bias. shoulders: [6] affine map.
    """

    knots: Tensor
    shade: Tensor
    shoulders: Tensor


def bends(torso: Torso, pose: Tensor, code: Tensor, shoulders: Tensor) -> list[Bend]:
    """The torso's networks of the pose for frames: pose [B, 6], code [B, 32], shoulders [B, 6]."""
    condition = torch.cat([pose, code[:, :N_JAW], shoulders / torso.spread], 1)
    knots = torso.bend(condition).view(-1, 2, torso.config.knots, torso.config.knots)
    shades = torso.shade(condition) + torso.enter.bias
    parts = (knots.contiguous(), shades.contiguous(), shoulders.contiguous())
    return [Bend(*part) for part in zip(*parts, strict=True)]


class NativeComposer:
    """A torso ready for the kernel, for pictures of one size; keeps its places, so one thread at a time.

    place: [h w, 2] of the last frame on the torso's detail, in -1..1; None where there is none.
    """

    def __init__(self, torso: Torso, height: int, width: int, top: int) -> None:
        """Prepare.

        Args:
            torso: the trained torso.
            height, width: low-resolution size.
            top: first row in which there can be torso.
        """
        if not fits(torso):
            raise ValueError("the kernel takes a torso of 8 features, 48 hidden, 12 knots and 16 channels")
        loaded = backends.kernels()
        assert loaded is not None
        self._kernels, self._size, self._top = loaded, (height, width), top
        self._plane = torso.plane.detach()[0].permute(1, 2, 0).float().contiguous()
        self._enter = torso.enter.weight.detach().view(HIDDEN, -1).contiguous()
        self._leave = torso.leave.weight.detach().view(CHANNELS + 1, -1).contiguous()
        assert torso.leave.bias is not None
        self._leave_bias = torso.leave.bias.detach().contiguous()
        self.place = torch.zeros(height * width, 2) if torso.detail.numel() else None
        self._across_y = _spline(2 * height).T.contiguous()
        self._across_x = F.pad(_spline(2 * width), (0, -2 * width % 16)).contiguous()

    @staticmethod
    def available(torso: Torso) -> bool:
        """Whether this machine and torso can use the kernel."""
        return fits(torso) and backends.kernels() is not None

    def compose(self, head: RayOutput, bend: Bend, out: Tensor) -> None:
        """Fill ``out`` [rows, columns, stride], from one pixel inside on, with the 18 channels of a frame."""
        height, width = self._size
        tensors = {
            "channels": head.channels.contiguous(),
            "opacity": head.opacity.contiguous(),
            "plane": self._plane,
            "knots": bend.knots.contiguous(),
            "shoulders": bend.shoulders.contiguous(),
            "across_y": self._across_y,
            "across_x": self._across_x,
            "enter": self._enter,
            "shade": bend.shade.contiguous(),
            "leave": self._leave,
            "leave_bias": self._leave_bias,
            "out": out,
            "place": self.place,
        }
        composite = binding.CompositeStruct(
            height=height,
            width=width,
            top=self._top,
            plane_side=self._plane.shape[0],
            plane_scale=1.0 / MARGIN,
            reach=REACH,
            across_stride=self._across_x.shape[1],
            row_pixels=out.shape[1],
            stride=out.shape[2],
            **{name: binding.address(tensor) for name, tensor in tensors.items()},
        )
        self._kernels.call("eg_compose", binding.thread_count(), ctypes.byref(composite))


def fits(torso: Torso) -> bool:
    """Whether the torso has the sizes and place that the kernel is written for."""
    config = torso.config
    sizes = (config.features, config.hidden, config.knots, torso.channels)
    return sizes == (FEATURES, HIDDEN, KNOTS, CHANNELS) and torso.plane.device.type == "cpu"


@dataclass(frozen=True, slots=True)
class Cover:
    """Cells of 4 x 4 low pixels, row-major numbers, int32.

    made: within four pixels of somebody, so worth painting. hidden: those and their neighbours, which the
    decoder's hidden layers need. ring: the neighbours of hidden, read but not made.
    """

    made: Tensor
    hidden: Tensor
    ring: Tensor


def cover(picture: Tensor, height: int, width: int, faint: float) -> Cover:
    """Find where both alphas of a composite [rows, columns, stride] together exceed ``faint``."""
    loaded = backends.kernels()
    assert loaded is not None
    cells = -(-height // CELL) * -(-width // CELL)
    lists = [torch.empty(cells, dtype=torch.int32) for _ in range(3)]
    made, hidden, ring = (binding.address(item) for item in lists)
    coverage = binding.CoverageStruct(
        composite=binding.address(picture),
        height=height,
        width=width,
        row_pixels=picture.shape[1],
        stride=picture.shape[2],
        faint=faint,
        made=made,
        hidden=hidden,
        ring=ring,
    )
    loaded.library.eg_cover(ctypes.byref(coverage))
    counts = (coverage.n_made, coverage.n_hidden, coverage.n_ring)
    return Cover(*(item[:count] for item, count in zip(lists, counts, strict=True)))


def cover_mask(covered: Tensor) -> Tensor:
    """The torch twin of ``Cover.made``: covered [h, w] bool -> which pixels [h, w] are made."""
    height, width = covered.shape
    cells = F.max_pool2d(covered[None, None].float(), CELL, ceil_mode=True)
    near = F.max_pool2d(cells, 3, stride=1, padding=1)
    return near.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)[0, 0, :height, :width] > 0


def _spline(samples: int) -> Tensor:
    """[12, samples] weight of every knot at every sample: torch's bicubic look-up of unit vectors."""
    where = (torch.arange(samples) + 0.5) * (2.0 / samples) - 1.0
    grid = torch.stack([where, torch.zeros_like(where)], 1)[None, None]
    units = torch.eye(KNOTS)[None, :, None]
    return F.grid_sample(units, grid, mode="bicubic", padding_mode="border", align_corners=True)[0, :, 0]
