"""Multi-resolution hash encoding: points [M, 3] in the unit cube -> features [M, levels * 2].

The torch twin of the native encoder and its specification. Level ``l`` is a lattice of ``resolution + 1``
nodes per axis; nodes are stored densely while they fit the table and by the xor hash of Instant-NGP
(Mueller et al. 2022) beyond. Two features per level, trilinear interpolation, no gradient to the points
(the warp that moves them is a fixed function of the landmarks).

One ``embedding_bag`` per level does the eight look-ups and their weighted sum in one pass (8 x faster
than indexing); its stock backward is slow, so the scatter is written out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HASH_Y = 2654435761
HASH_Z = 805459861
FEATURES = 2
BELOW_ONE = 1.0 - 2.0**-20
"""Largest coordinate: keeps the upper lattice node in range at any resolution up to 2^19."""


@dataclass(frozen=True, slots=True)
class Level:
    """One lattice: cells per axis, first row in the table, rows, and whether rows are dense."""

    resolution: int
    offset: int
    rows: int
    dense: bool


def make_levels(n_levels: int, log2_table: int, base: int, finest: int) -> tuple[Level, ...]:
    """Lay out ``n_levels`` lattices of geometrically growing resolution in one table."""
    growth = (finest / base) ** (1.0 / max(n_levels - 1, 1))
    levels, offset = [], 0
    for index in range(n_levels):
        resolution = int(base * growth**index + 1e-6)
        nodes = (resolution + 1) ** 3
        dense = nodes <= 2**log2_table
        rows = (nodes + 15) // 16 * 16 if dense else 2**log2_table
        levels.append(Level(resolution, offset, rows, dense))
        offset += rows
    return tuple(levels)


def sanitize(points: Tensor) -> Tensor:
    """Clamp coordinates to [0, 1); NaN becomes 0, so that no index ever leaves the table."""
    return torch.where(points > 0, points, torch.zeros_like(points)).clamp(max=BELOW_ONE)


def encode(points: Tensor, table: Tensor, levels: tuple[Level, ...]) -> Tensor:
    """Look ``points`` [M, 3] up in ``table`` [rows, 2]; differentiable with respect to the table."""
    points = sanitize(points.detach())
    return torch.cat([_Lookup.apply(points, table, level) for level in levels], dim=1)  # type: ignore[no-untyped-call]


def _corners(points: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    """Table rows [M, 8] (relative to the level) and trilinear weights [M, 8] of the cell corners."""
    scaled = points * level.resolution
    cell = scaled.int()
    high = scaled - cell
    low = 1.0 - high
    x0, y0, z0 = cell.unbind(1)
    if level.dense:
        side = level.resolution + 1
        x = torch.stack([x0, x0 + 1], 1)
        y = torch.stack([y0, y0 + 1], 1) * side
        z = torch.stack([z0, z0 + 1], 1) * (side * side)
        rows = z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]
    else:
        mask = level.rows - 1  # the low bits of a product need only the low bits of its factors
        x = torch.stack([x0, x0 + 1], 1)
        y = torch.stack([y0, y0 + 1], 1) * (HASH_Y & mask)
        z = torch.stack([z0, z0 + 1], 1) * (HASH_Z & mask)
        rows = (z[:, :, None, None] ^ y[:, None, :, None] ^ x[:, None, None, :]) & mask
    wx, wy, wz = (torch.stack([low[:, axis], high[:, axis]], 1) for axis in range(3))
    weights = wz[:, :, None, None] * wy[:, None, :, None] * wx[:, None, None, :]
    return rows.reshape(-1, 8), weights.reshape(-1, 8)


class _Lookup(torch.autograd.Function):
    """Interpolated look-up of one level; the corners are recomputed in backward instead of kept."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, level: Level) -> Tensor:
        ctx.save_for_backward(points)
        ctx.level, ctx.table_shape = level, table.shape
        rows, weights = _corners(points, level)
        part = table[level.offset : level.offset + level.rows]
        return F.embedding_bag(rows, part, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        (points,) = ctx.saved_tensors
        level = ctx.level
        rows, weights = _corners(points, level)
        flat = rows.reshape(-1).long()
        result = grad.new_zeros(ctx.table_shape)
        part = result[level.offset : level.offset + level.rows]
        for feature in range(FEATURES):
            share = (weights * grad[:, feature, None]).reshape(-1)
            part[:, feature] = grad.new_zeros(level.rows).scatter_add_(0, flat, share)
        return None, result, None
