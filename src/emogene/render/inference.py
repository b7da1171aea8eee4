"""One frame at a time, as fast as this machine can: head over torso, decoded, over the background.

    drawer = Drawer(model, PixelGrid.of(model, "standard", 512), Canvas.of((512, 512), background))
    picture = drawer.draw(look)                                    # uint8 [512, 512, 3]

With kernels a frame is six calls: field, composite, cover, decoder, detail, bytes. Without them the same is
done in torch. A ``PixelGrid`` is what a quality means: how many rays, how finely sampled, decoded or not.
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
from emogene.render.decoder import SCALE, SHUFFLE
from emogene.render.detail import add_detail, coarse, surface_place
from emogene.render.enlarge import NativeDetail, Under
from emogene.render.lens import lenses, through
from emogene.render.model import PortraitModel, layered
from emogene.render.rays import camera_origin
from emogene.render.torso import picture_grid
from emogene.render.volume import RayOutput
from emogene.types import ByteArray, Camera, FloatArray

FAINT = 1 / 512
"""Both low-resolution alphas together above which somebody is in a low pixel."""


@dataclass(frozen=True)
class Look:
    """One frame before it is drawn.

    camera_from_head: [4, 4]. code: [1, 32]. warp: [G, G, G, 3]. features: [1, 6] of the head pose.
    shoulders: [1, 6] affine map of the torso. bend: what both make of the torso. mix: [1, boxes + 2] of the
    detail's pictures. glasses: [2, 4] of ``lens.lenses``; None: no eye is wider than the video's.
    """

    camera_from_head: FloatArray
    code: Tensor
    warp: Tensor
    features: Tensor
    shoulders: Tensor
    bend: Bend
    mix: Tensor
    glasses: Tensor | None = None


@dataclass(frozen=True)
class PixelGrid:
    """The rays of one quality.

    directions: [h, w, 3] unit, in the camera's space, through the middle of low pixels. top: first row that
    can hold torso. step, stop: of the rays (``HeadField.render_image``). draft: the decoder's flag. finer:
    [b h, b w, 3] where each low pixel is the mean of b x b rays; None: one ray is enough.
    """

    camera: Camera
    directions: Tensor
    top: int
    step: float
    stop: float
    draft: float
    finer: Tensor | None

    @classmethod
    def of(cls, model: PortraitModel, quality: str, size: int) -> PixelGrid:
        """The grid for pictures of edge ``size``: ``high`` sends a ray through every pixel."""
        config = model.config
        low = config.low // 2 if quality == "draft" else config.low
        camera = config.camera.resized(low, low)
        top = min(int(float(model.torso_top) * low), low - 1)
        block = min(max(-(-size // low), 2), SCALE) if quality == "high" else 1
        finer = _directions(config.camera.resized(block * low, block * low)) if block > 1 else None
        return cls(camera, _directions(camera), top, config.step, 1e-2, float(quality == "draft"), finer)

    @property
    def height(self) -> int:
        """Rows of rays."""
        return self.camera.height_px

    @property
    def width(self) -> int:
        """Columns of rays."""
        return self.camera.width_px

    def head(self, model: PortraitModel, look: Look, rays: tuple[Tensor, Tensor]) -> RayOutput:
        """What the field shows along ``rays``, [h, w, ...]: of many a low pixel, their mean."""
        origin, directions = rays
        if self.finer is not None:
            directions = through(self.finer, look.glasses) @ _rotation(look)
        seen = model.head.render_image(
            origin, directions, look.code[0], look.warp, step=self.step, stop=self.stop
        )
        return seen if self.finer is None else _block_means(seen, len(directions) // self.height)

    def rays(self, model: PortraitModel, look: Look) -> tuple[Tensor, Tensor]:
        """Origin [3] and unit directions [h, w, 3] in head space."""
        directions = through(self.directions, look.glasses) @ _rotation(look)
        return camera_origin(look.camera_from_head, model.config.box), directions

    def small(self, model: PortraitModel, look: Look) -> tuple[Tensor, Tensor]:
        """In torch: composite [1, 18, h, w], and places on the textures of head and torso [1, 4, h, w]."""
        origin, directions = rays = self.rays(model, look)
        head = self.head(model, look, rays)
        torso, alpha, torso_place = self.torso(model, look)
        place = surface_place(
            origin.expand_as(directions)[None],
            directions[None],
            head.opacity[None],
            head.depth[None],
            look.warp[None],
        )
        channels = head.channels.permute(2, 0, 1)[None]
        composite = layered(channels, head.opacity[None, None], torso, alpha)
        return composite, torch.cat([place, torso_place], 1)

    def torso(self, model: PortraitModel, look: Look) -> tuple[Tensor, Tensor, Tensor]:
        """Torso channels [1, 16, h, w], alpha [1, 1, h, w], place [1, 2, h, w]; made where torso can be."""
        xy = picture_grid(self.height, self.width)[:, 2 * self.top :].contiguous()
        channels, alpha, place = model.torso(look.features, look.code, look.shoulders, xy)
        above = (0, 0, self.top, 0)
        return F.pad(channels, above), F.pad(alpha, above), F.pad(place, above, mode="replicate")


def looks(
    model: PortraitModel,
    known: Tensor,
    eyes: Tensor,
    camera_from_head: FloatArray,
    shoulders: Tensor | None = None,
    *,
    offsets: Tensor | None = None,
    wide: bool = False,
) -> list[Look]:
    """What frames are drawn from.

    Args:
        model: the portrait.
        known: [B, WINDOW, 68, 3] windows of landmark offsets from neutral, for the networks.
        eyes: [B, 4] eye stream.
        camera_from_head: [B, 4, 4] head poses.
        shoulders: [B, 6] affine maps of the torso; None: they follow the head.
        offsets: [B, 68, 3] of the face that is drawn; None: the known one.
        wide: open eyes beyond the range of the video, too.
    """
    offsets = known[:, -1] if offsets is None else offsets
    features = model.pose_features(torch.from_numpy(camera_from_head))
    codes, warps = model.code(known, eyes, features), model.warp(offsets)
    mix = model.detail.mix(offsets, model.neutral, eyes)
    if shoulders is None:
        shoulders = model.torso.following(features)
    bent = bends(model.torso, features, codes, shoulders)
    glasses: list[Tensor | None] = [None] * len(known)
    if wide:
        glasses = lenses(model.neutral + offsets, eyes, model.code.eye_high[:2], camera_from_head)
    return [
        Look(
            camera_from_head=pose,
            code=codes[index : index + 1],
            warp=warps[index],
            features=features[index : index + 1],
            shoulders=shoulders[index : index + 1],
            bend=bent[index],
            mix=mix[index : index + 1],
            glasses=glasses[index],
        )
        for index, pose in enumerate(camera_from_head)
    ]


class Drawer:
    """Draws frames of one model on one canvas; keeps its buffers, so one thread at a time."""

    def __init__(self, model: PortraitModel, grid: PixelGrid, canvas: Canvas) -> None:
        self._model, self._grid, self._canvas = model, grid, canvas
        self._dtype = decoder_dtype()
        self._decoder: NativeDecoder | None = None
        self._composer: NativeComposer | None = None
        if (
            NativeDecoder.available(model.decoder)
            and NativeComposer.available(model.torso)
            and NativeDetail.available(model.detail)
        ):
            self._decoder = NativeDecoder(model.decoder)
            self._composer = NativeComposer(model.torso, grid.height, grid.width, grid.top)
            torso = model.torso.fine_picture(coarse=bool(grid.draft)) if model.config.decoder.torso else None
            self._detail = NativeDetail(coarse(model.detail) if grid.draft else model.detail, torso)
        else:
            decoder = copy.deepcopy(model.decoder).to(self._dtype)
            self._torch_decoder = decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def draw(self, look: Look) -> ByteArray:
        """The picture, uint8 (see ``Canvas``)."""
        if self._decoder is None or self._composer is None:
            return self._draw_in_torch(look)
        model, grid = self._model, self._grid
        rays = grid.rays(model, look)
        head = grid.head(model, look, rays)
        picture = self._decoder.input(grid.height, grid.width)
        self._composer.compose(head, look.bend, picture)
        where = cover(picture, grid.height, grid.width, FAINT)
        decoded = self._decoder.run(grid.height, grid.width, look.code[0], grid.draft, where)
        under = None if self._composer.place is None else Under(picture, self._composer.place)
        enlarged = self._detail.enlarge(decoded, head, *rays, look.warp, look.mix[0], under)
        if self._canvas.size == (SCALE * grid.height, SCALE * grid.width):
            return paint(enlarged, self._canvas)
        if self._canvas.size == (SCALE // 2 * grid.height, SCALE // 2 * grid.width):
            return finish(enlarged.halved(), self._canvas)
        return finish(enlarged.planes(), self._canvas)

    def _draw_in_torch(self, look: Look) -> ByteArray:
        model, grid = self._model, self._grid
        composite, place = grid.small(model, look)
        made = cover_mask(composite[0, -2:].sum(0) > FAINT)
        small = composite.to(self._dtype).contiguous(memory_format=torch.channels_last)
        code = look.code.to(self._dtype)
        decoded, gains = (part.float() for part in self._torch_decoder(small, code, grid.draft))
        decoded = torch.where(_repeated(made, SHUFFLE), decoded, 0.0)
        gains = torch.where(made, gains, 0.0)
        detail = model.fine(place, SCALE, look.mix, coarse=bool(grid.draft))
        pixels = add_detail(decoded, gains, detail)[0]
        return finish(torch.where(_repeated(made, SCALE), pixels, 0.0), self._canvas)


def _repeated(mask: Tensor, times: int) -> Tensor:
    return mask.repeat_interleave(times, 0).repeat_interleave(times, 1)


def _directions(camera: Camera) -> Tensor:
    """Unit directions [h, w, 3] through pixel centres, in the camera's space."""
    y, x = np.meshgrid(np.arange(camera.height_px) + 0.5, np.arange(camera.width_px) + 0.5, indexing="ij")
    offsets = np.stack([x - camera.cx_px, y - camera.cy_px, np.full_like(x, camera.focal_px)], -1)
    offsets /= np.linalg.norm(offsets, axis=-1, keepdims=True)
    return torch.from_numpy(offsets.astype(np.float32))


def _rotation(look: Look) -> Tensor:
    return torch.from_numpy(np.asarray(look.camera_from_head[:3, :3], np.float32))


def _block_means(seen: RayOutput, block: int) -> RayOutput:
    """Everything a ray sees is premultiplied, so what a low pixel sees is the plain mean of its rays."""

    def mean(values: Tensor) -> Tensor:
        # Torch's own mean over two axes took 11 ms of a frame, its pooling 5; these sums take .7.
        total = torch.zeros_like(values[::block, ::block])
        for row in range(block):
            for column in range(block):
                total += values[row::block, column::block]
        return total / block**2

    return RayOutput(mean(seen.channels), mean(seen.opacity), mean(seen.depth), mean(seen.depth_sq))


def decoder_dtype() -> torch.dtype:
    """bfloat16 where the processor has a matrix unit for it; elsewhere it is slower than float32."""
    has_matrix_unit = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.bfloat16 if has_matrix_unit else torch.float32
