"""Volume rendering of packed samples, and the direction basis of the deferred colour.

Densities [M] and features [M, C] of samples sorted by ray -> weighted sums [R, C]. Weight of a sample:
w = T (1 - exp(-sigma step)) with T the transmittance before it (Max 1995; NeRF eq. 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STOP = 1e-4
"""In training a ray ends where transmittance has fallen to it; samples of no more weight get no gradient."""


@dataclass(frozen=True, slots=True)
class RayOutput:
    """What rays [R] see. Everything is premultiplied by opacity, so an empty ray is exactly zero.

    channels: [R, 16], 3 colour (0..opacity) and 13 free features for the decoder.
    opacity: [R] in [0, 1]. depth, depth_sq: [R] sums of w s and w s^2, where s is the signed distance
    along the ray past the point nearest to the cube's centre (cube lengths); divide by opacity for means.
    """

    channels: Tensor
    opacity: Tensor
    depth: Tensor
    depth_sq: Tensor

    @property
    def spread(self) -> Tensor:
        """Sum over sample pairs of w_i w_j (s_i - s_j)^2 / 2, [R]: zero for one sharp surface per ray."""
        return (self.opacity * self.depth_sq - self.depth**2).clamp(min=0.0)


def ray_weights(sigma: Tensor, ray: Tensor, n_rays: int, step: float) -> tuple[Tensor, Tensor]:
    """Weights [M] of samples of density ``sigma`` [M] per cube length, and transmittances [M] before them."""
    tau = (sigma * step).double()  # double: the running sum crosses all rays
    total = torch.cumsum(tau, dim=0)
    count = torch.bincount(ray, minlength=n_rays)
    first = torch.cumsum(count, dim=0) - count
    before = torch.cat([total.new_zeros(1), total])
    inside = before[:-1] - before[first[ray]]
    left = torch.exp(-inside)
    return (left * -torch.expm1(-tau)).float(), left.float()


def accumulate(values: Tensor, ray: Tensor, n_rays: int) -> Tensor:
    """Sum ``values`` [M, C] per ray -> [R, C]."""
    return values.new_zeros(n_rays, values.shape[1]).index_add_(0, ray, values)


def direction_basis(directions: Tensor) -> Tensor:
    """Real spherical harmonics up to degree 3 of unit directions [R, 3] -> [R, 16]."""
    x, y, z = directions.unbind(dim=1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        torch.full_like(x, 0.2821),
        -0.4886 * y,
        0.4886 * z,
        -0.4886 * x,
        1.0925 * x * y,
        -1.0925 * y * z,
        0.9462 * zz - 0.3154,
        -1.0925 * x * z,
        0.5463 * (xx - yy),
        -0.5900 * y * (3 * xx - yy),
        2.8906 * x * y * z,
        0.4570 * y * (1 - 5 * zz),
        0.3732 * z * (5 * zz - 3),
        0.4570 * x * (1 - 5 * zz),
        1.4453 * z * (xx - yy),
        -0.5900 * x * (xx - 3 * yy),
    ]
    return torch.stack(basis, dim=1)
