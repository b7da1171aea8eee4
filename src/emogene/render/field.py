"""The head field: a conditioned hash-grid radiance field with deferred colour (paper 1.7, RAD-NeRF family).

Per frame a ``code`` [K, C] (expression, eyes, pose) and optionally a ``warp`` [K, G, G, G, 3]: the
displacement, in unit-cube coordinates, that takes an observed point to the neutral head (node [z, y, x] at
u = (x, y, z) / (G - 1)). Per sample: x' = clamp(u + warp(u)); h = MLP([encode(x'), code]) [16];
density = exp(clamp(h0, -15, 11)) per cube length. Per ray: the sums of w h_1..15 and the opacity go once,
with the direction's spherical harmonics, through the colour MLP (deferred, in training as in rendering).

    field = HeadField(FieldConfig())
    out = field.render_rays(rays_o [R,3], rays_d [R,3] unit, frame_index [R] int64, codes [K,C],
                            warps or None, step=1/96, jitter=torch.rand(R))
                                                                   -> RayOutput, differentiable in parameters
                                                                      and codes; not in rays and warps
    image = field.render_image(origin [3], directions [H,W,3], code [C], warp [G,G,G,3] or None,
                               step=1/64, stop=1e-2)              -> RayOutput with [H,W,...] tensors, no grad
    field.update_occupancy(codes [K,C], fraction=0.25)            every ~16 steps while training
    field.occupancy.restrict(allowed [64,64,64])                  once, from the person's mesh shell, optional

Rays are in unit-cube coordinates (``rays.image_rays``); group rays by frame, the kernels work frame by frame.
``backend``: "auto" takes the native kernels when the parameters are on a CPU and the library is there,
"native" or "torch" force one (see ``backend.choose``). The torch code here specifies the native one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emogene.render import backend as backends
from emogene.render.grid import FEATURES, encode, make_levels
from emogene.render.march import OccupancyGrid, Samples, march, observed_mask
from emogene.render.volume import STOP, RayOutput, accumulate, direction_basis, ray_weights

CHANNELS = 16
"""Outputs per ray: 3 colour + 13 decoder features."""
GEOMETRY = 16
"""Outputs per sample: log density + 15 blended features."""
LOG_DENSITY_RANGE = (-15.0, 11.0)
ROUND = 8
"""Samples per ray between early-stop checks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldConfig:
    """Sizes of the field. The native kernels want 16 levels and hidden 64; other sizes run in torch."""

    levels: int = 16
    log2_table: int = 15
    base: int = 16
    finest: int = 512
    hidden: int = 64
    code: int = 32
    occupancy: int = 64

    def __post_init__(self) -> None:
        if not 4 <= self.log2_table <= 22:
            raise ValueError(f"log2_table must be in 4..22, not {self.log2_table}")
        if not 1 <= self.base <= self.finest <= 4096:
            raise ValueError(f"need 1 <= base <= finest <= 4096, not {self.base}, {self.finest}")


class HeadField(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: FieldConfig | None = None, backend: str = "auto", seed: int = 0) -> None:
        super().__init__()
        self.config = config or FieldConfig()
        self.backend = backend
        self.levels = make_levels(
            self.config.levels, self.config.log2_table, self.config.base, self.config.finest
        )
        hidden, encoded = self.config.hidden, self.config.levels * FEATURES
        self.table = nn.Parameter(torch.empty(self.levels[-1].offset + self.levels[-1].rows, FEATURES))
        self.layer1 = nn.Linear(encoded + self.config.code, hidden)
        self.layer2 = nn.Linear(hidden, hidden)
        self.layer3 = nn.Linear(hidden, GEOMETRY)
        self.colour1 = nn.Linear(GEOMETRY + 16, hidden)
        self.colour2 = nn.Linear(hidden, CHANNELS)
        self.occupancy = OccupancyGrid(self.config.occupancy)
        self.native_memory: backends.FieldMemory | None = None
        self._reset(torch.Generator().manual_seed(seed))

    def train(self, mode: bool = True) -> HeadField:
        """As for every module; what the kernels remember of the parameters is dropped."""
        self.native_memory = None
        return super().train(mode)

    @torch.no_grad()
    def _reset(self, generator: torch.Generator) -> None:
        self.table.uniform_(-1e-4, 1e-4, generator=generator)
        for layer, gain in [
            (self.layer1, 0.7),
            (self.layer2, 0.7),
            (self.layer3, 0.35),
            (self.colour1, 0.7),
            (self.colour2, 0.7),
        ]:
            bound = gain * math.sqrt(6.0 / layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()

    def render_rays(
        self,
        rays_o: Tensor,
        rays_d: Tensor,
        frame_index: Tensor,
        codes: Tensor,
        warps: Tensor | None = None,
        *,
        step: float = 1 / 96,
        jitter: Tensor | None = None,
        stop: float = STOP,
    ) -> RayOutput:
        """Render rays [R, 3] of frames ``frame_index`` [R] into ``codes`` and ``warps``.

        ``step``: sample distance in cube lengths; ``jitter`` [R] in [0, 1): offset of the first sample in
        steps, 0.5 when None. ``stop``: a ray ends where its transmittance has fallen to it, and samples of no
        more weight get no gradient; 0 leaves nothing out.
        """
        if jitter is None:
            jitter = torch.full((len(rays_o),), 0.5, device=rays_o.device)
        bias = codes @ self.layer1.weight[:, self._encoded :].T + self.layer1.bias
        if self._native():
            rays = backends.RayInputs(rays_o, rays_d, jitter, frame_index, warps, step, stop)
            sums = backends.native_ray_sums(self, rays, bias)
        else:
            sums = self._ray_sums(rays_o, rays_d, frame_index, bias, warps, step, jitter, stop)
        return self._shade(sums, rays_d)

    @torch.no_grad()
    def render_image(
        self,
        origin: Tensor,
        directions: Tensor,
        code: Tensor,
        warp: Tensor | None = None,
        *,
        step: float = 1 / 64,
        stop: float = 1e-2,
    ) -> RayOutput:
        """Render all pixels of one frame; rays end where transmittance falls below ``stop``."""
        height, width = directions.shape[:2]
        bias = code @ self.layer1.weight[:, self._encoded :].T + self.layer1.bias
        if self._native():
            flat = backends.native_image(self, origin, directions, bias, warp, step, stop)
        else:
            flat = self._image(origin, directions.reshape(-1, 3), bias, warp, step, stop)
        shape = (height, width)
        return RayOutput(
            flat.channels.reshape(*shape, CHANNELS),
            flat.opacity.reshape(shape),
            flat.depth.reshape(shape),
            flat.depth_sq.reshape(shape),
        )

    @torch.no_grad()
    def density(self, points: Tensor, code: Tensor) -> Tensor:
        """Density [M] per cube length at neutral-head points [M, 3] under one code."""
        bias = code @ self.layer1.weight[:, self._encoded :].T + self.layer1.bias
        if self._native():
            return backends.native_density(self, points, bias)
        return _density(self._geometry_of(points, bias)) if len(points) else points.new_zeros(0)

    @torch.no_grad()
    def update_occupancy(
        self, codes: Tensor, fraction: float = 0.25, generator: torch.Generator | None = None
    ) -> None:
        """Query a random ``fraction`` of the cells under one random code of [K, C]."""
        index, points = self.occupancy.candidates(fraction, generator)
        pick = int(torch.randint(len(codes), (1,), generator=generator))
        self.occupancy.observe(index, self.density(points, codes[pick]))

    @property
    def _encoded(self) -> int:
        return self.config.levels * FEATURES

    def _native(self) -> bool:
        return backends.choose(self.backend, self) == "native"

    def _geometry(self, points: Tensor, bias: Tensor) -> Tensor:
        """Neutral-head points [M, 3] and first-layer bias [64] or [M, 64] -> h [M, 16]."""
        encoded = encode(points, self.table, self.levels)
        hidden = torch.relu(encoded @ self.layer1.weight[:, : self._encoded].T + bias)
        result: Tensor = self.layer3(torch.relu(self.layer2(hidden)))
        return result

    def _ray_sums(
        self,
        rays_o: Tensor,
        rays_d: Tensor,
        frame_index: Tensor,
        bias: Tensor,
        warps: Tensor | None,
        step: float,
        jitter: Tensor,
        stop: float,
    ) -> Tensor:
        """Sums [R, 18] along rays: opacity, w h_1..15, w s, w s^2."""
        sums = rays_o.new_zeros(len(rays_o), GEOMETRY + 2)
        for frame in torch.unique(frame_index).tolist():
            rays = (frame_index == frame).nonzero()[:, 0]
            warp = None if warps is None else warps[frame]
            samples = march(rays_o[rays], rays_d[rays], jitter[rays], step, self.occupancy, warp)
            part = self._integrate(samples, bias[frame], len(rays), step, stop)
            sums = sums.index_add(0, rays, part)
        return sums

    def _integrate(
        self, samples: Samples, bias: Tensor, n_rays: int, step: float, stop: float = 0.0
    ) -> Tensor:
        """Sums [R, 18]; what is behind ``stop`` or weighs less is looked at without a gradient first."""
        if len(samples.ray) == 0:
            return bias.new_zeros(n_rays, GEOMETRY + 2)
        points, ray, past_center = samples.points, samples.ray, samples.past_center
        with torch.no_grad():
            geometry = self._geometry_of(points, bias)
            weights, left = ray_weights(_density(geometry), ray, n_rays, step)
            used = (left > stop).nonzero()[:, 0]
            points, ray, past_center, geometry = points[used], ray[used], past_center[used], geometry[used]
            matter = (weights[used] > stop).nonzero()[:, 0]
        if torch.is_grad_enabled():
            geometry = geometry.index_copy(0, matter, self._geometry_of(points[matter], bias))
        weights = ray_weights(_density(geometry), ray, n_rays, step)[0][:, None]
        s = past_center[:, None]
        blended = torch.cat([torch.ones_like(s), geometry[:, 1:], s, s * s], dim=1)
        return accumulate(weights * blended, ray, n_rays)

    def _geometry_of(self, points: Tensor, bias: Tensor) -> Tensor:
        """``_geometry`` in pieces that stay in the cache."""
        return torch.cat([self._geometry(part, bias) for part in torch.split(points, 8192)])

    def _shade(self, sums: Tensor, rays_d: Tensor) -> RayOutput:
        """Deferred colour: sums [R, 18] and directions [R, 3] -> channels."""
        opacity = sums[:, 0]
        basis = direction_basis(rays_d.clamp(-1, 1).nan_to_num(0.0))  # an empty ray may carry any direction
        hidden = torch.relu(self.colour1(torch.cat([sums[:, :GEOMETRY], basis], dim=1)))
        raw = self.colour2(hidden)
        channels = torch.cat([torch.sigmoid(raw[:, :3]), raw[:, 3:]], dim=1) * opacity[:, None]
        return RayOutput(channels, opacity, sums[:, GEOMETRY], sums[:, GEOMETRY + 1])

    def _image(
        self, origin: Tensor, directions: Tensor, bias: Tensor, warp: Tensor | None, step: float, stop: float
    ) -> RayOutput:
        """All rays in rounds of a few samples; rays whose transmittance is spent leave."""
        n_rays = len(directions)
        rays_o = origin.expand(n_rays, 3)
        mask = observed_mask(self.occupancy.cells, warp)
        jitter = directions.new_full((n_rays,), 0.5)
        samples = march(rays_o, directions, jitter, step, self.occupancy, warp, mask)
        count = torch.bincount(samples.ray, minlength=n_rays)
        rank = torch.arange(len(samples.ray), device=count.device)
        rank = rank - (torch.cumsum(count, 0) - count)[samples.ray]
        sums = directions.new_zeros(n_rays, GEOMETRY + 2)
        for first in range(0, int(count.max()) if n_rays else 0, ROUND):
            open_rays = 1.0 - sums[:, 0] > stop
            chosen = ((rank >= first) & (rank < first + ROUND) & open_rays[samples.ray]).nonzero()[:, 0]
            if len(chosen) == 0:
                break
            part = Samples(samples.points[chosen], samples.ray[chosen], samples.past_center[chosen])
            sums += (1.0 - sums[:, :1]) * self._integrate(part, bias, n_rays, step)
        hit = (sums[:, 0] > 0).nonzero()[:, 0]
        shaded = self._shade(sums[hit], directions[hit])
        channels = directions.new_zeros(n_rays, CHANNELS).index_copy_(0, hit, shaded.channels)
        return RayOutput(channels, sums[:, 0], sums[:, GEOMETRY], sums[:, GEOMETRY + 1])


def _density(geometry: Tensor) -> Tensor:
    """Density [M] per cube length of h [M, 16]."""
    return torch.exp(geometry[:, 0].clamp(*LOG_DENSITY_RANGE))
