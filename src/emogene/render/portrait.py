"""Portrait: a trained renderer of one person, from landmarks and head pose to pictures with alpha.

    portrait = Portrait.load(folder)
    for image in portrait.render(motion, pose, size=512, quality="standard"):   # uint8 [H, W, 4]
        ...

Per frame: code and warp from the landmarks, the head field on a small pixel grid, the torso behind it,
the decoder to four times that size, then rgba (straight alpha) or, when a background is given, rgb over it.

Quality: ``draft`` decodes 64 -> 256 pixels, ``standard`` 128 -> 512, ``high`` the same with rays sampled
twice as finely and followed to the end.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from emogene.errors import FormatError, UserError
from emogene.io.files import atomic_path, check_format_version, read_json, write_json
from emogene.io.images import read_rgb, resize, write_rgb
from emogene.io.tensors import load_arrays
from emogene.render.code import windows
from emogene.render.convolve import NativeDecoder, paint
from emogene.render.decoder import SCALE
from emogene.render.model import PortraitConfig, PortraitModel, layered
from emogene.render.rays import camera_origin, pixel_directions
from emogene.render.torso import picture_grid
from emogene.types import ByteArray, Camera, FloatArray, HeadPose, Motion

PORTRAIT_FORMAT = 1
QUALITIES = ("draft", "standard", "high")
BATCH = 8
"""Frames whose codes, warps and torsos are made together."""
TRAINING_ONLY = ("torso.latent", "head.occupancy.density", "head.occupancy.allowed")
CLEAR = 0.02
"""Alpha below which a pixel is taken as background; as far from one it is solid."""
EDGE = 4
"""Low pixels kept around the person when the decoder's input is cut out: its receptive field."""


@dataclass(frozen=True)
class Portrait:
    """A person's trained renderer and the background they were filmed against."""

    model: PortraitModel
    background: ByteArray

    @property
    def camera(self) -> Camera:
        """The view at full size."""
        return self.model.config.camera

    @classmethod
    def load(cls, folder: Path) -> Portrait:
        """Open a portrait folder."""
        folder = Path(folder)
        header = read_json(folder / "config.json")
        check_format_version(header, PORTRAIT_FORMAT, folder / "config.json")
        config = PortraitConfig.from_json(header["portrait"])
        arrays = load_arrays(folder / "model.safetensors")
        if "neutral" not in arrays:
            raise FormatError(f"{folder} holds no portrait; create or copy the avatar again")
        model = PortraitModel(config, arrays["neutral"].astype(np.float32))
        state = {name: torch.from_numpy(_wide(array)) for name, array in arrays.items()}
        own = model.state_dict()
        # Per-frame latents are not kept: their mean is folded in when the portrait is saved.
        needed = [name for name in own if own[name].numel() and name not in TRAINING_ONLY]
        missing = [name for name in needed if name not in state]
        if missing:
            raise FormatError(f"{folder} lacks {missing[0]}; create or copy the avatar again")
        model.code.appearance = torch.nn.Parameter(state["code.appearance"])
        model.load_state_dict({name: state.get(name, own[name]) for name in own})
        return cls(model.eval(), read_rgb(folder / "background.png"))

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors (half precision) and background.png."""
        folder = Path(folder)
        state: dict[str, Tensor] = {}
        for name, tensor in self.model.state_dict().items():
            value = tensor.detach().cpu()
            if name == "code.appearance":
                value = self.model.code.mean_appearance().detach().cpu()
            if value.numel() == 0 or name in TRAINING_ONLY:
                continue
            small = value.is_floating_point() and value.numel() > 8192
            state[name] = value.to(torch.float16).contiguous() if small else value.contiguous().clone()
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / "model.safetensors") as temporary:
            save_file(state, temporary)
        write_rgb(folder / "background.png", self.background)
        header = {"format_version": PORTRAIT_FORMAT, "portrait": self.model.config.to_json()}
        write_json(folder / "config.json", header)

    def render(
        self,
        motion: Motion,
        pose: HeadPose,
        size: int = 512,
        quality: str = "standard",
        *,
        background: ByteArray | None = None,
        history: int = 0,
    ) -> Iterator[ByteArray]:
        """Render every frame.

        Args:
            motion: landmarks and eyes, canonical.
            pose: camera_from_head of the same frames.
            size: edge of the pictures in pixels.
            quality: one of QUALITIES.
            background: [size, size, 3] rgb to lay the person over; None: give alpha instead.
            history: frames at the start that are not rendered: they only fill the landmark window.

        Yields:
            uint8 [size, size, 4] rgba with straight alpha, or [size, size, 3] rgb.
        """
        if quality not in QUALITIES:
            raise UserError(f"quality must be one of {', '.join(QUALITIES)}, not {quality!r}")
        if len(motion) != len(pose):
            raise ValueError(f"motion has {len(motion)} frames, pose {len(pose)}")
        behind = None if background is None else resize(background, size, size)
        grid = _Grid.of(self.model, quality)
        offsets = windows(torch.from_numpy(motion.landmarks_cano) - self.model.neutral)
        eyes = torch.from_numpy(motion.eyes)
        with _Painters(self.model, grid, size, behind) as painters:
            for start in range(history, len(motion), BATCH):
                part = slice(start, start + BATCH)
                yield from painters.paint(self._looks(offsets[part], eyes[part], pose[part]))

    def render_last(
        self,
        motion: Motion,
        pose: HeadPose,
        size: int = 512,
        quality: str = "standard",
        *,
        background: ByteArray | None = None,
    ) -> ByteArray:
        """Render only the last frame; those before it are its landmark window."""
        offsets = windows(torch.from_numpy(motion.landmarks_cano) - self.model.neutral)[-1:]
        behind = None if background is None else resize(background, size, size)
        grid = _Grid.of(self.model, quality)
        eyes = torch.from_numpy(motion.eyes[-1:])
        return _paint(
            self.model, _Inference(self.model), grid, self._looks(offsets, eyes, pose[-1:])[0], size, behind
        )

    def _looks(self, offsets: Tensor, eyes: Tensor, pose: HeadPose) -> list[_Look]:
        """What each frame of a batch is drawn from."""
        model = self.model
        with torch.inference_mode():
            codes = model.code(offsets, eyes)
            warps = model.warp(offsets[:, -1])
            features = model.pose_features(torch.from_numpy(pose.camera_from_head))
        return [
            _Look(camera_from_head, codes[index : index + 1], warps[index], features[index : index + 1])
            for index, camera_from_head in enumerate(pose.camera_from_head)
        ]


@dataclass(frozen=True)
class _Look:
    """One frame before it is drawn: head pose [4, 4], code [1, 32], warp grid, pose features [1, 6]."""

    camera_from_head: FloatArray
    code: Tensor
    warp: Tensor
    features: Tensor


class _Painters:
    """Threads that draw whole frames, each on one core: twice as fast on two cores as two threads a frame."""

    def __init__(self, model: PortraitModel, grid: _Grid, size: int, background: ByteArray | None) -> None:
        self._model, self._grid, self._size, self._background = model, grid, size, background
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(
            torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> _Painters:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def paint(self, looks: Sequence[_Look]) -> Iterator[ByteArray]:
        """Pictures in order."""
        return self._pool.map(self._one, looks)

    def _one(self, look: _Look) -> ByteArray:
        if not hasattr(self._own, "decoder"):
            self._own.decoder = _Inference(self._model)
        return _paint(self._model, self._own.decoder, self._grid, look, self._size, self._background)


def _paint(
    model: PortraitModel,
    decoder: _Inference,
    grid: _Grid,
    look: _Look,
    size: int,
    background: ByteArray | None,
) -> ByteArray:
    """Head over torso at low resolution, decoded and finished."""
    with torch.inference_mode():
        latent = torch.zeros(1, model.config.torso.latents)
        torso, alpha = grid.torso(model, look.features, look.code, latent)
        head, opacity = grid.head(model, look.camera_from_head, look.code[0], look.warp)
        composite = layered(head, opacity, torso, alpha)
        return decoder.picture(composite, look.code, grid.draft, size, background)


@dataclass(frozen=True)
class _Grid:
    """The low-resolution pixel grid of one quality."""

    camera: Camera
    pixels: FloatArray
    top: int
    xy: Tensor
    step: float
    stop: float
    draft: float

    @classmethod
    def of(cls, model: PortraitModel, quality: str) -> _Grid:
        config = model.config
        low = config.low // 2 if quality == "draft" else config.low
        camera = config.camera.resized(low, low)
        y, x = np.meshgrid(np.arange(low), np.arange(low), indexing="ij")
        pixels = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32) + 0.5
        step = config.step * (0.5 if quality == "high" else 1.0)
        stop = 1e-3 if quality == "high" else 1e-2
        top = min(int(float(model.torso_top) * low), low - 1)
        xy = picture_grid(low, low)[:, 2 * top :].contiguous()
        return cls(camera, pixels, top, xy, step, stop, float(quality == "draft"))

    def torso(
        self, model: PortraitModel, pose: Tensor, code: Tensor, latent: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Torso channels [1, 16, h, w] and alpha [1, 1, h, w], computed where torso can be."""
        channels, alpha = model.torso(pose, code, latent, self.xy)
        return F.pad(channels, (0, 0, self.top, 0)), F.pad(alpha, (0, 0, self.top, 0))

    def head(
        self, model: PortraitModel, camera_from_head: FloatArray, code: Tensor, warp: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Field channels [1, 16, h, w] and opacity [1, 1, h, w] of one frame."""
        height, width = self.camera.height_px, self.camera.width_px
        directions = pixel_directions(self.camera, camera_from_head, self.pixels).view(height, width, 3)
        origin = camera_origin(camera_from_head, model.config.box)
        seen = model.head.render_image(origin, directions, code, warp, step=self.step, stop=self.stop)
        return seen.channels.permute(2, 0, 1)[None], seen.opacity[None, None]


def decoder_dtype() -> torch.dtype:
    """bfloat16 where the processor has a matrix unit for it; elsewhere it is slower than float32."""
    has_matrix_unit = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.bfloat16 if has_matrix_unit else torch.float32


class _Inference:
    """The decoder in its fastest form, run only where the person is; pictures of one frame at a time."""

    def __init__(self, model: PortraitModel) -> None:
        self._dtype = decoder_dtype()
        self._native: NativeDecoder | None = None
        if self._dtype == torch.float32 and NativeDecoder.available(model.decoder):
            self._native = NativeDecoder(model.decoder)
        decoder = copy.deepcopy(model.decoder).to(self._dtype)
        self._decoder = decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def picture(
        self, composite: Tensor, code: Tensor, draft: float, size: int, background: ByteArray | None
    ) -> ByteArray:
        """Decode [1, 18, h, w] and finish it as uint8 [size, size, 3 or 4]."""
        height, width = composite.shape[2:]
        top, bottom, left, right = _extent(composite[0, -2:].sum(0) > 1 / 512)
        cut = composite[:, :, top:bottom, left:right]
        whole = size == SCALE * height == SCALE * width
        if self._native is not None:
            decoded = self._native.decode(cut[0], code[0], draft)
            if whole:
                return paint(decoded, (top, left), (size, size), CLEAR, background)
            pixels = decoded.planes().permute(1, 2, 0)
        else:
            cut = cut.to(self._dtype).contiguous(memory_format=torch.channels_last)
            pixels = self._decoder(cut, code.to(self._dtype), draft)[0].permute(1, 2, 0).float()
        drawn = Decoded(pixels.contiguous(), SCALE * top, SCALE * left, SCALE * height, SCALE * width)
        return drawn.resized(size).picture(background)


def _extent(covered: Tensor) -> tuple[int, int, int, int]:
    """Rows and columns (from, to) of the set pixels [h, w] and EDGE more."""
    height, width = covered.shape
    rows, columns = covered.any(1).nonzero()[:, 0], covered.any(0).nonzero()[:, 0]
    if len(rows) == 0:
        return 0, min(2 * EDGE, height), 0, min(2 * EDGE, width)
    top, left = max(int(rows[0]) - EDGE, 0), max(int(columns[0]) - EDGE, 0)
    return top, min(int(rows[-1]) + 1 + EDGE, height), left, min(int(columns[-1]) + 1 + EDGE, width)


@dataclass(frozen=True)
class Decoded:
    """Premultiplied rgb and alpha [h, w, 4] at (top, left) of an otherwise empty height x width picture."""

    pixels: Tensor
    top: int
    left: int
    height: int
    width: int

    def resized(self, size: int) -> Decoded:
        """The whole picture at another size."""
        if self.height == size:
            return self
        full = torch.zeros(1, self.height, self.width, 4)
        full[0, self.top : self.top + len(self.pixels), self.left : self.left + self.pixels.shape[1]] = (
            self.pixels
        )
        planes = full.permute(0, 3, 1, 2)
        if self.height % size == 0:
            planes = F.avg_pool2d(planes, self.height // size)
        else:
            smooth = self.height > size
            planes = F.interpolate(
                planes, (size, size), mode="bilinear", antialias=smooth, align_corners=False
            )
        return Decoded(planes[0].permute(1, 2, 0).contiguous(), 0, 0, size, size)

    def picture(self, background: ByteArray | None) -> ByteArray:
        """uint8 rgba with straight alpha, or rgb over ``background``."""
        # What is nearly clear is clear, and no channel may be brighter than its alpha allows.
        alpha = ((self.pixels[..., 3:] - CLEAR) / (1 - 2 * CLEAR)).clamp_(0.0, 1.0)
        colour = torch.minimum(self.pixels, alpha).clamp_(min=0.0)
        place = (slice(self.top, self.top + len(alpha)), slice(self.left, self.left + alpha.shape[1]))
        if background is None:
            result = torch.zeros(self.height, self.width, 4, dtype=torch.uint8)
            colour = colour / alpha.clamp(min=1 / 64)
            colour[..., 3:] = alpha
            result[place] = (colour * 255.0).add_(0.5).clamp_(0.0, 255.0).to(torch.uint8)
            return result.numpy()
        result = torch.from_numpy(background.copy())
        over = torch.addcmul(colour[..., :3].mul(255.0).add_(0.5), 1.0 - alpha, result[place].float())
        result[place] = over.clamp_(0.0, 255.0).to(torch.uint8)
        return result.numpy()


def _wide(array: np.ndarray) -> np.ndarray:
    """Half precision on disk, single in memory."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
