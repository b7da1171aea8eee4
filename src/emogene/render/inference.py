"""One frame at a time, as fast as this machine can: head over torso, decoded, over the background.

    drawer = Drawer(model, PixelGrid.of(model, "standard", 512), Canvas.of((512, 512), background))
    picture = drawer.draw(look)                                    # uint8 [512, 512, 3]

With kernels a frame is five calls: field, composite, cover, decoder, bytes. Without them the same is done in
torch. A ``PixelGrid`` is what a quality means: how many rays, how finely sampled, decoded or not.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.render.canvas import Canvas, finish, paint
from emogene.render.compose import Bend, NativeComposer, bends, cover, cover_mask
from emogene.render.convolve import NativeDecoder
from emogene.render.decoder import SCALE
from emogene.render.model import PortraitModel, layered
from emogene.render.rays import camera_origin
from emogene.render.torso import picture_grid
from emogene.render.volume import RayOutput
from emogene.types import ByteArray, Camera, FloatArray

FAINT = 1 / 512
"""Both low-resolution alphas together above which somebody is in a low pixel."""


@dataclass(frozen=True)
class Look:
    """One frame before it is drawn: head pose [4, 4], code [1, 32], warp grid, pose features [1, 6]."""

    camera_from_head: FloatArray
    code: Tensor
    warp: Tensor
    features: Tensor
    bend: Bend


@dataclass(frozen=True)
class PixelGrid:
    """The rays of one quality.

    directions: [h, w, 3] unit, in the camera's space. top: first row that can hold torso. step, stop: of
    the rays (``HeadField.render_image``). draft: the decoder's flag. decoded: False when rays are pixels.
    """

    camera: Camera
    directions: Tensor
    top: int
    step: float
    stop: float
    draft: float
    decoded: bool

    @classmethod
    def of(cls, model: PortraitModel, quality: str, size: int) -> PixelGrid:
        """The grid for pictures of edge ``size``: ``high`` has a ray per pixel and no decoder."""
        config, high = model.config, quality == "high"
        low = size if high else config.low // 2 if quality == "draft" else config.low
        camera = config.camera.resized(low, low)
        y, x = np.meshgrid(np.arange(low) + 0.5, np.arange(low) + 0.5, indexing="ij")
        offsets = np.stack([x - camera.cx_px, y - camera.cy_px, np.full_like(x, camera.focal_px)], -1)
        offsets /= np.linalg.norm(offsets, axis=-1, keepdims=True)
        top = min(int(float(model.torso_top) * low), low - 1)
        directions = torch.from_numpy(offsets.astype(np.float32))
        return cls(camera, directions, top, config.step, 1e-2, float(quality == "draft"), not high)

    @property
    def height(self) -> int:
        """Rows of rays."""
        return self.camera.height_px

    @property
    def width(self) -> int:
        """Columns of rays."""
        return self.camera.width_px

    def head(self, model: PortraitModel, look: Look) -> RayOutput:
        """What the field shows, [h, w, ...]."""
        rotation = torch.from_numpy(np.asarray(look.camera_from_head[:3, :3], np.float32))
        directions = self.directions @ rotation
        origin = camera_origin(look.camera_from_head, model.config.box)
        return model.head.render_image(
            origin, directions, look.code[0], look.warp, step=self.step, stop=self.stop
        )

    def torso(self, model: PortraitModel, look: Look) -> tuple[Tensor, Tensor]:
        """Torso channels [1, 16, h, w] and alpha [1, 1, h, w] in torch, computed where torso can be."""
        xy = picture_grid(self.height, self.width)[:, 2 * self.top :].contiguous()
        latent = torch.zeros(1, model.config.torso.latents)
        channels, alpha = model.torso(look.features, look.code, latent, xy)
        return F.pad(channels, (0, 0, self.top, 0)), F.pad(alpha, (0, 0, self.top, 0))


def looks(model: PortraitModel, codes: Tensor, warps: Tensor, camera_from_head: FloatArray) -> list[Look]:
    """What frames are drawn from: codes [B, 32], warps [B, G, G, G, 3], poses [B, 4, 4]."""
    features = model.pose_features(torch.from_numpy(camera_from_head))
    bent = bends(model.torso, features, codes, torch.zeros(len(codes), model.config.torso.latents))
    return [
        Look(pose, codes[index : index + 1], warps[index], features[index : index + 1], bent[index])
        for index, pose in enumerate(camera_from_head)
    ]


class Drawer:
    """Draws frames of one model on one canvas; keeps its buffers, so one thread at a time."""

    def __init__(self, model: PortraitModel, grid: PixelGrid, canvas: Canvas) -> None:
        self._model, self._grid, self._canvas = model, grid, canvas
        self._dtype = decoder_dtype()
        self._decoder: NativeDecoder | None = None
        self._composer: NativeComposer | None = None
        if NativeDecoder.available(model.decoder) and NativeComposer.available(model.torso):
            self._decoder = NativeDecoder(model.decoder)
            self._composer = NativeComposer(model.torso, grid.height, grid.width, grid.top)
        else:
            decoder = copy.deepcopy(model.decoder).to(self._dtype)
            self._torch_decoder = decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def draw(self, look: Look) -> ByteArray:
        """The picture, uint8 (see ``Canvas``)."""
        head = self._grid.head(self._model, look)
        if self._decoder is None or self._composer is None:
            return self._draw_in_torch(head, look)
        height, width = self._grid.height, self._grid.width
        picture = self._decoder.input(height, width)
        self._composer.compose(head, look.bend, picture)
        if not self._grid.decoded:
            return finish(_pixels(picture[1 : 1 + height, 1 : 1 + width]), self._canvas)
        where = cover(picture, height, width, FAINT)
        decoded = self._decoder.run(height, width, look.code[0], self._grid.draft, where)
        if self._canvas.size == (SCALE * height, SCALE * width):
            return paint(decoded, self._canvas)
        return finish(decoded.planes()[:4], self._canvas)

    def _draw_in_torch(self, head: RayOutput, look: Look) -> ByteArray:
        torso, alpha = self._grid.torso(self._model, look)
        channels, opacity = head.channels.permute(2, 0, 1)[None], head.opacity[None, None]
        composite = layered(channels, opacity, torso, alpha)
        if not self._grid.decoded:
            return finish(_pixels(composite[0].permute(1, 2, 0)), self._canvas)
        made = cover_mask(composite[0, -2:].sum(0) > FAINT)
        small = composite.to(self._dtype).contiguous(memory_format=torch.channels_last)
        decoded = self._torch_decoder(small, look.code.to(self._dtype), self._grid.draft)[0].float()
        held = made.repeat_interleave(SCALE, 0).repeat_interleave(SCALE, 1)
        return finish(torch.where(held, decoded, 0.0), self._canvas)


def _pixels(composite: Tensor) -> Tensor:
    """Composite [h, w, 18 or more] whose rays are pixels -> rgb and alpha [4, h, w], premultiplied."""
    rgba = torch.cat([composite[..., :3], composite[..., 16:18].sum(-1, keepdim=True)], -1)
    return rgba.permute(2, 0, 1)


def decoder_dtype() -> torch.dtype:
    """bfloat16 where the processor has a matrix unit for it; elsewhere it is slower than float32."""
    has_matrix_unit = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.bfloat16 if has_matrix_unit else torch.float32
