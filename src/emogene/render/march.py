"""Where to sample a ray: box, landmark-driven warp, occupancy. Rays [R, 3] -> packed samples.

A candidate at distance t = t_near + step (k + jitter) is kept when its WARPED position lies in an occupied
cell. Occupancy thus lives in the neutral head, shared by all frames, and needs no idea of expressions. For
whole images a coarse mask of the OBSERVED cube, pulled back through the one warp, drops most candidates
before the warp is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.render.grid import BELOW_ONE, sanitize

COARSE = 32
"""Cells per axis of the observed-space mask that ``render_image`` uses."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Packed samples of many rays, sorted by ray and distance.

    points: [M, 3] warped unit-cube positions; ray: [M] int64 ray index; past_center: [M] signed distance
    along the ray past the point nearest to the cube's centre, in cube lengths.
    """

    points: Tensor
    ray: Tensor
    past_center: Tensor


class OccupancyGrid(nn.Module):
    """Which cells of the neutral head may hold density: cells [G, G, G] uint8, indexed [z, y, x].

    ``density`` is a decaying maximum of what the field answered; ``allowed`` limits the search (for example
    to a shell around the face mesh), all ones when nothing is known.
    """

    def __init__(self, resolution: int = 64, threshold: float = 0.5, decay: float = 0.95) -> None:
        super().__init__()
        self.resolution, self.threshold, self.decay = resolution, threshold, decay
        shape = (resolution, resolution, resolution)
        self.register_buffer("cells", torch.ones(shape, dtype=torch.uint8))
        self.register_buffer("density", torch.zeros(shape))
        self.register_buffer("allowed", torch.ones(shape, dtype=torch.uint8))
        self.cells: Tensor
        self.density: Tensor
        self.allowed: Tensor

    @torch.no_grad()
    def restrict(self, allowed: Tensor) -> None:
        """Limit occupancy to ``allowed`` [G, G, G] (bool or uint8)."""
        self.allowed.copy_(allowed.to(torch.uint8))
        self.cells.mul_(self.allowed)

    @torch.no_grad()
    def candidates(self, fraction: float, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Random allowed cells (flat index [M]) and one random point [M, 3] in each."""
        index = self.allowed.reshape(-1).nonzero()[:, 0]
        count = max(1, int(len(index) * fraction))
        if fraction < 1.0:
            index = index[
                torch.randperm(len(index), generator=generator, device="cpu")[:count].to(index.device)
            ]
        side = self.resolution
        corner = torch.stack([index % side, index // side % side, index // (side * side)], dim=1)
        jitter = torch.rand(corner.shape, generator=generator).to(index.device)
        return index, (corner + jitter) / side

    @torch.no_grad()
    def observe(self, index: Tensor, density: Tensor) -> None:
        """Fold measured densities (per cube length) in and refresh which cells are occupied."""
        flat = self.density.view(-1)
        flat[index] = torch.maximum(flat[index] * self.decay, torch.nan_to_num(density))
        inside = self.allowed > 0
        mean = float(self.density[inside].mean()) if bool(inside.any()) else 0.0
        self.cells.copy_((self.density > min(mean, self.threshold)) & inside)

    def occupied(self, points: Tensor) -> Tensor:
        """Boolean [M]: is the cell of each sanitized point [M, 3] occupied."""
        cell = (points * self.resolution).long()
        flat = cell[:, 0] + self.resolution * (cell[:, 1] + self.resolution * cell[:, 2])
        return self.cells.reshape(-1)[flat] > 0


def warp_points(points: Tensor, warp: Tensor | None) -> Tensor:
    """Move observed points [M, 3] to the neutral head by one warp [G, G, G, 3]; then sanitize.

    Node [z, y, x] of the warp sits at u = (x, y, z) / (G - 1); trilinear in between.
    """
    if warp is None:
        return sanitize(points)
    grid = sanitize(points)[None, None, None] * 2 - 1
    moved = F.grid_sample(warp.permute(3, 0, 1, 2)[None], grid, align_corners=True, padding_mode="border")
    return sanitize(points + moved[0, :, 0, 0].T)


def cube_interval(rays_o: Tensor, rays_d: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [R] at which rays enter (not before 0) and leave the unit cube."""
    direction = torch.where(rays_d.abs() < 1e-9, torch.full_like(rays_d, 1e-9), rays_d)
    first, second = -rays_o / direction, (1.0 - rays_o) / direction
    near = torch.minimum(first, second).amax(dim=1).clamp(min=0.0)
    return near, torch.maximum(first, second).amin(dim=1)


def center_distance(rays_o: Tensor, rays_d: Tensor) -> Tensor:
    """Distance [R] along unit rays to the point nearest to the cube's centre."""
    return ((0.5 - rays_o) * rays_d).sum(dim=1)


def observed_mask(cells: Tensor, warp: Tensor | None) -> Tensor:
    """Observed-space cells [32, 32, 32] from which a warped point may reach an occupied cell."""
    wide = widened(cells)
    axis = (torch.arange(COARSE, device=cells.device) + 0.5) / COARSE
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = warp_points(torch.stack([x, y, z], dim=-1).reshape(-1, 3), warp)
    index = (points * cells.shape[0]).long()
    return wide[index[:, 2], index[:, 1], index[:, 0]].reshape(COARSE, COARSE, COARSE)


def widened(cells: Tensor) -> Tensor:
    """Cells [bool] that half a coarse cell, under a warp of slope up to one, can carry to occupied ones."""
    reach = max(1, round(cells.shape[0] / COARSE)) + 1
    wide = (cells > 0)[None].float()
    for _ in range(3):  # one axis at a time: a box maximum is separable
        shape = wide.shape
        wide = F.max_pool1d(wide.reshape(-1, 1, shape[-1]), 2 * reach + 1, stride=1, padding=reach)
        wide = wide.reshape(shape).permute(0, 3, 1, 2)
    return wide[0] > 0


@torch.no_grad()
def march(
    rays_o: Tensor,
    rays_d: Tensor,
    jitter: Tensor,
    step: float,
    occupancy: OccupancyGrid,
    warp: Tensor | None,
    mask: Tensor | None = None,
) -> Samples:
    """Sample rays [R, 3] of ONE frame; ``jitter`` [R] in [0, 1) shifts the first sample."""
    near, far = cube_interval(rays_o, rays_d)
    length = far - near
    far = torch.where(length < 2.0, far, near)  # longer than the cube's diagonal, or NaN: a broken ray
    length = (far - near).nan_to_num(0.0)
    count = max(0, int(torch.ceil(length.max() / step))) if len(length) else 0
    t = near[:, None] + step * (torch.arange(count, device=near.device) + jitter[:, None])
    ray, k = (t < far[:, None]).nonzero(as_tuple=True)
    if mask is not None:
        ray, k = _inside_mask(ray, k, t, rays_o, rays_d, mask)
    distance = t[ray, k]
    points = warp_points(rays_o[ray] + distance[:, None] * rays_d[ray], warp)
    keep = occupancy.occupied(points)
    ray, distance = ray[keep], distance[keep]
    return Samples(points[keep], ray, distance - center_distance(rays_o, rays_d)[ray])


def _inside_mask(
    ray: Tensor, k: Tensor, t: Tensor, rays_o: Tensor, rays_d: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    flat = mask.reshape(-1)
    scale = COARSE * BELOW_ONE
    distance = t[ray, k]
    index = torch.zeros_like(ray, dtype=torch.int32)
    for axis, stride in enumerate((1, COARSE, COARSE * COARSE)):
        coordinate = (rays_o[:, axis][ray] + distance * rays_d[:, axis][ray]) * scale
        index += coordinate.int().clamp_(0, COARSE - 1) * stride
    keep = flat[index.long()]
    return ray[keep], k[keep]
