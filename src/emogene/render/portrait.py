"""Portrait: a trained renderer of one person, from landmarks and head pose to pictures with alpha.

    portrait = Portrait.load(folder)
    for image in portrait.render(motion, pose, size=512, quality="standard"):   # uint8 [H, W, 4]
        ...

Per frame: code and warp from the landmarks, the head field on a small pixel grid, the torso behind it,
the decoder to four times that size, then rgba (straight alpha) or, when a background is given, rgb over it.

Quality: ``draft`` decodes 64 -> 256 pixels, ``standard`` 128 -> 512; ``high`` does the same from a ray
through every pixel.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from emogene.errors import FormatError, UserError
from emogene.io.files import atomic_path, check_format_version, read_json, write_json
from emogene.io.images import read_rgb, resize, write_rgb
from emogene.io.tensors import load_arrays
from emogene.render.canvas import Canvas
from emogene.render.code import POSE_SCALE, windows
from emogene.render.inference import Drawer, Look, PixelGrid, looks
from emogene.render.lips import opened
from emogene.render.model import PortraitConfig, PortraitModel
from emogene.types import ByteArray, Camera, FloatArray, HeadPose, Motion

PORTRAIT_FORMAT = 3
QUALITIES = ("draft", "standard", "high")
BATCH = 8
"""Frames whose codes, warps and torsos are made together."""
TRAINING_ONLY = ("head.occupancy.density", "head.occupancy.allowed")


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
        if "code.appearance" in state:
            # Format 2 had one look in the place of the head's pose: a range without width gives just that.
            look = state.pop("code.appearance")[0] / POSE_SCALE
            state["code.pose_low"], state["code.pose_high"] = look, look
        own = model.state_dict()
        needed = [name for name in own if own[name].numel() and name not in TRAINING_ONLY]
        missing = [name for name in needed if name not in state]
        if missing:
            raise FormatError(f"{folder} lacks {missing[0]}; create or copy the avatar again")
        model.load_state_dict({name: state.get(name, own[name]) for name in own})
        return cls(model.eval(), read_rgb(folder / "background.png"))

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors (half precision) and background.png."""
        folder = Path(folder)
        state: dict[str, Tensor] = {}
        for name, tensor in self.model.state_dict().items():
            value = tensor.detach().cpu()
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
        shoulders: FloatArray | None = None,
    ) -> Iterator[ByteArray]:
        """Render every frame.

        Args:
            motion: landmarks and eyes, canonical.
            pose: camera_from_head of the same frames.
            size: edge of the pictures in pixels.
            quality: one of QUALITIES.
            background: [size, size, 3] rgb to lay the person over; None: give alpha instead.
            history: frames at the start that are not rendered: they only fill the landmark window.
            shoulders: [T, 6] tracked maps of the torso; None: shoulders follow the head.

        Yields:
            uint8 [size, size, 4] rgba with straight alpha, or [size, size, 3] rgb.
        """
        with self.pictures(size, quality, background=background) as pictures:
            if len(motion) != len(pose):
                raise ValueError(f"motion has {len(motion)} frames, pose {len(pose)}")
            for _ in pictures.batches(motion, pose, history, shoulders):
                while len(pictures) > BATCH:
                    yield pictures.take()
            while len(pictures):
                yield pictures.take()

    def pictures(
        self,
        size: int = 512,
        quality: str = "standard",
        *,
        background: ByteArray | None = None,
        planes: bool = False,
    ) -> Pictures:
        """Something that draws frames for as long as they come; options as for ``render``.

        With ``planes`` pictures are not rgb but uint8 [3 size / 2, size] for 4:2:0 video (``canvas.Canvas``).
        """
        if quality not in QUALITIES:
            raise UserError(f"quality must be one of {', '.join(QUALITIES)}, not {quality!r}")
        behind = None if background is None else resize(background, size, size)
        return Pictures(self, size, quality, Canvas.of(size, behind, planes=planes))


class Pictures:
    """Draws frames on one thread per core (twice as fast on two cores as two threads a frame), in order.

    Frames that wait are drawn while the caller works on; as a context it stops the threads at the end.
    """

    def __init__(self, portrait: Portrait, size: int, quality: str, canvas: Canvas) -> None:
        self._portrait, self._canvas = portrait, canvas
        self._grid = PixelGrid.of(portrait.model, quality, size)
        self._own = threading.local()
        self._waiting: deque[Future[ByteArray]] = deque()
        self._pool = ThreadPoolExecutor(
            torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Frames asked for and not yet taken."""
        return len(self._waiting)

    def close(self) -> None:
        """Drop what waits and stop the threads."""
        self.clear()
        self._pool.shutdown(cancel_futures=True)

    def clear(self) -> None:
        """Drop what waits."""
        while self._waiting:
            self._waiting.popleft().cancel()

    def ask(
        self, motion: Motion, pose: HeadPose, history: int = 0, shoulders: FloatArray | None = None
    ) -> None:
        """Have frames drawn; options as for ``Portrait.render``."""
        for _ in self.batches(motion, pose, history, shoulders):
            pass

    def batches(
        self, motion: Motion, pose: HeadPose, history: int = 0, shoulders: FloatArray | None = None
    ) -> Iterator[None]:
        """The same a few frames per step, so that a long motion need not wait as pictures."""
        model = self._portrait.model

        def asked(landmarks: FloatArray) -> Tensor:
            further = opened(landmarks, model.neutral.numpy(), float(model.lip_gain))
            return torch.from_numpy(further) - model.neutral

        offsets = asked(motion.landmarks_cano)
        shown = offsets if motion.known_cano is None else asked(motion.known_cano)
        known = windows(shown)
        eyes = torch.from_numpy(motion.eyes)
        for start in range(history, len(motion), BATCH):
            part = slice(start, start + BATCH)
            with torch.inference_mode():
                tracked = None if shoulders is None else torch.from_numpy(shoulders[part])
                bent = model.warp.reaching(shown[part], offsets[part])
                poses = pose.camera_from_head[part]
                batch = looks(model, known[part], eyes[part], poses, tracked, offsets=bent, wide=True)
            self._waiting.extend(self._pool.submit(self._draw, look) for look in batch)
            yield

    def take(self) -> ByteArray:
        """The first picture that waits."""
        return self._waiting.popleft().result()

    def _draw(self, look: Look) -> ByteArray:
        if not hasattr(self._own, "drawer"):
            self._own.drawer = Drawer(self._portrait.model, self._grid, self._canvas)
        drawer: Drawer = self._own.drawer
        return drawer.draw(look)


def _wide(array: np.ndarray) -> np.ndarray:
    """Half precision on disk, single in memory."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
