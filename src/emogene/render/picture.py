"""The small picture of one frame, from which the decoder makes the large one: head over torso, and where the
head's surface lies on its detail textures.

    grid = PixelGrid.of(model, low=128)
    small = grid.render(model, look)          # composite [1, 18, h, w], place [1, 2, h, w]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.render.detail import surface_place
from emogene.render.model import PortraitModel, layered
from emogene.render.rays import camera_origin, pixel_directions
from emogene.render.torso import picture_grid
from emogene.types import Camera, FloatArray


@dataclass(frozen=True)
class Look:
    """One frame before it is drawn.

    camera_from_head: [4, 4]. code: [1, 32]. warp: [G, G, G, 3]. features: [1, 6] of the head pose.
    shoulders: [1, 6] affine map of the torso.
    """

    camera_from_head: FloatArray
    code: Tensor
    warp: Tensor
    features: Tensor
    shoulders: Tensor


@dataclass(frozen=True)
class Small:
    """A small picture: composite [1, 18, h, w] and texture coordinates of the head's surface [1, 2, h, w]."""

    composite: Tensor
    place: Tensor


@dataclass(frozen=True)
class PixelGrid:
    """The pixels of a small picture; torso is computed only from row ``top`` on."""

    camera: Camera
    pixels: FloatArray
    top: int
    xy: Tensor
    step: float
    stop: float

    @classmethod
    def of(cls, model: PortraitModel, low: int, *, fineness: float = 1.0, stop: float = 1e-2) -> PixelGrid:
        """The grid of ``low`` x ``low`` pixels.

        Args:
            model: whose camera it is.
            low: edge in pixels.
            fineness: how much more often than usual rays are sampled.
            stop: transmittance below which a ray ends.
        """
        camera = model.config.camera.resized(low, low)
        y, x = np.meshgrid(np.arange(low), np.arange(low), indexing="ij")
        pixels = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32) + 0.5
        top = min(int(float(model.torso_top) * low), low - 1)
        xy = picture_grid(low, low)[:, 2 * top :].contiguous()
        return cls(camera, pixels, top, xy, model.config.step / fineness, stop)

    def render(self, model: PortraitModel, look: Look) -> Small:
        """Draw one frame."""
        with torch.inference_mode():
            channels, alpha = model.torso(look.features, look.code, look.shoulders, self.xy)
            torso, alpha = (F.pad(layer, (0, 0, self.top, 0)) for layer in (channels, alpha))
            height, width = self.camera.height_px, self.camera.width_px
            rays_d = pixel_directions(self.camera, look.camera_from_head, self.pixels).view(height, width, 3)
            origin = camera_origin(look.camera_from_head, model.config.box)
            seen = model.head.render_image(
                origin, rays_d, look.code[0], look.warp, step=self.step, stop=self.stop
            )
            place = surface_place(
                origin.expand(1, height, width, 3),
                rays_d[None],
                seen.opacity[None],
                seen.depth[None],
                look.warp[None],
            )
            head = seen.channels.permute(2, 0, 1)[None]
            return Small(layered(head, seen.opacity[None, None], torso, alpha), place)
