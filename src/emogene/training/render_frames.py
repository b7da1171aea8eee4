"""Pictures of a clip as the renderer's training reads them: random crops of many frames, fast.

Decoded frames and masks lie uncompressed in the run folder and are mapped, not loaded: a crop costs
microseconds and memory stays flat whatever the clip's length. The small versions fit in memory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emogene.errors import UserError
from emogene.geometry.landmarks import MOUTH, lip_opening, lip_width
from emogene.io.clip import MASK_HEAD, MASK_TORSO, Clip
from emogene.io.files import read_json, write_json
from emogene.io.images import read_mask, read_rgb, resize, resize_mask
from emogene.io.tensors import load_arrays, save_arrays
from emogene.training.render_poses import registered_poses
from emogene.training.render_torso import track_shoulders
from emogene.types import ByteArray, Camera, FloatArray

log = logging.getLogger(__name__)

HELD_OUT = 11
"""The last 1/11 of a clip is never trained on (the split of GeneFace++ and EmoGene)."""


@dataclass(frozen=True)
class Frames:
    """The frames of a clip that a run uses.

    index: [N] frame number in the clip. rgb: [N, S, S, 3] uint8, mapped. labels: [N, S, S] uint8, mapped
    (0 background, 1 head, 2 torso). low_rgb: [N, s, s, 3] uint8 block means. low_cover: [N, s, s, 2] uint8,
    share of each block that is head, torso. landmarks, windows of three frames: [N, 3, 68, 3] canonical.
    eyes: [N, 4]. pose: [N, 4, 4], registered where that was done (``render_poses``). shoulders: [N, 6] affine
    maps of the torso. n_train: frames before the held-out ones. background: [S, S, 3].
    """

    index: np.ndarray
    rgb: ByteArray
    labels: ByteArray
    low_rgb: ByteArray
    low_cover: ByteArray
    windows: FloatArray
    eyes: FloatArray
    pose: FloatArray
    shoulders: FloatArray
    camera: Camera
    background: ByteArray
    n_train: int

    def __len__(self) -> int:
        return len(self.index)

    @property
    def tested(self) -> NDArray[np.int64]:
        """Frames for previews and scores: the last 1/11."""
        return np.arange(len(self) - max(1, len(self) // HELD_OUT), len(self))

    @property
    def landmarks(self) -> FloatArray:
        """[N, 68, 3] at the frame itself."""
        return self.windows[:, -1]

    @cached_property
    def chances(self) -> NDArray[np.float64]:
        """How often each training frame is drawn: half of the draws go by how unusual lips and lids are.

        Blinks and wide mouths are rare in speech; drawn as rarely as they are, they stay half open.
        """
        seen = slice(0, self.n_train)
        landmarks = self.landmarks[seen]
        looks = np.concatenate(
            [self.eyes[seen, :2], lip_opening(landmarks)[:, None], lip_width(landmarks)[:, None]], 1
        )
        unusual = np.abs(looks - np.median(looks, 0)) / (looks.std(0) + 1e-6)
        weight = np.minimum(unusual.sum(1), 12.0) + 1e-3
        return np.asarray(0.5 / self.n_train + 0.5 * weight / weight.sum(), np.float64)

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Training frames, by their chances."""
        return np.asarray(rng.choice(self.n_train, count, p=self.chances / self.chances.sum()), np.int64)

    def project(self, frame: int) -> FloatArray:
        """Landmarks of one frame in pixels, [68, 2]."""
        return project(self.landmarks[frame], self.pose[frame], self.camera)


def project(points_cano: FloatArray, pose: FloatArray, camera: Camera) -> FloatArray:
    """Canonical points [P, 3] under one camera_from_head [4, 4] -> pixels [P, 2]."""
    cam = points_cano @ pose[:3, :3].T + pose[:3, 3]
    pixels = camera.focal_px * cam[:, :2] / cam[:, 2:] + np.array([camera.cx_px, camera.cy_px])
    return np.asarray(pixels, np.float32)


def neutral_of(clip: Clip) -> FloatArray:
    """The clip's neutral face [68, 3]: as written in it, else the mean of its most shut mouths."""
    known = clip.about.get("neutral_cano")
    if known is not None:
        return np.asarray(known, np.float32).reshape(68, 3)
    landmarks = np.asarray(clip.arrays["landmarks_cano"], np.float32)[clip.valid]
    heights = landmarks[:, MOUTH, 1]
    spread = heights.max(1) - heights.min(1)
    shut = landmarks[spread <= np.quantile(spread, 0.25)]
    return np.asarray(np.median(shut, axis=0), np.float32)


def open_frames(
    clip: Clip,
    folder: Path,
    *,
    low: int,
    max_frames: int,
    hold_out: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Frames:
    """Map the clip's pictures, decoding them into ``folder`` unless that was done before.

    Args:
        clip: with frames, masks, pose and landmarks.
        folder: where the decoded pictures lie.
        low: edge of the small pictures; the large ones have four times that.
        max_frames: at most so many frames are used, spread evenly.
        hold_out: False trains on all frames; the last ones are then shown in previews all the same.
        progress: called with (frames done, frames in all).
    """
    if clip.camera is None or "pose" not in clip.arrays:
        raise UserError(f"{clip.folder} has no head pose and camera; make the clip with `emogene create`")
    # A clip may hold pictures of every third frame only: its arrays are whole all the same.
    usable = np.array([i for i in np.flatnonzero(clip.valid) if clip.frame_path(int(i)).exists()], np.int64)
    if len(usable) < HELD_OUT:
        raise UserError(f"{clip.folder} shows a face in {len(usable)} frames; the portrait needs more video")
    if len(usable) > max_frames:
        usable = usable[np.linspace(0, len(usable) - 1, max_frames).round().astype(int)]
    size = 4 * low
    _decode(clip, usable, folder, size, low, progress)
    n = len(usable)
    before = np.clip(usable[:, None] + np.arange(-2, 1), 0, clip.n_frames - 1)
    background = clip.background_path
    low_rgb = np.fromfile(folder / "low_rgb.u8", np.uint8).reshape(n, low, low, 3)
    low_cover = np.fromfile(folder / "low_cover.u8", np.uint8).reshape(n, low, low, 2)
    plate = read_rgb(background) if background.exists() else np.full((size, size, 3), 128, np.uint8)
    return Frames(
        index=usable,
        rgb=np.memmap(folder / "rgb.u8", np.uint8, "r", shape=(n, size, size, 3)),
        labels=np.memmap(folder / "labels.u8", np.uint8, "r", shape=(n, size, size)),
        low_rgb=low_rgb,
        low_cover=low_cover,
        windows=np.asarray(clip.arrays["landmarks_cano"], np.float32)[before],
        eyes=np.asarray(clip.arrays["eyes"], np.float32)[usable],
        pose=registered_poses(clip, usable),
        shoulders=_shoulders(clip, usable, low_rgb, low_cover[..., 1]),
        camera=clip.camera.resized(size, size),
        background=resize(plate, size, size),
        n_train=n - max(1, n // HELD_OUT) if hold_out else n,
    )


def _shoulders(clip: Clip, usable: np.ndarray, low_rgb: ByteArray, cover: ByteArray) -> FloatArray:
    """The torso's maps, tracked once for a clip: training and evaluation must agree about them."""
    path = clip.folder / "shoulders.safetensors"
    if path.exists():
        kept = load_arrays(path)
        if kept["frames"].shape == usable.shape and (kept["frames"] == usable).all():
            return np.asarray(kept["shoulders"], np.float32)
    shoulders = track_shoulders(low_rgb, cover, len(usable) // 2)
    save_arrays(path, {"frames": usable, "shoulders": shoulders})
    return shoulders


def _decode(
    clip: Clip,
    usable: np.ndarray,
    folder: Path,
    size: int,
    low: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write rgb.u8, labels.u8 and their block means, once."""
    wanted = {"clip": str(clip.folder.resolve()), "size": size, "frames": usable.tolist()}
    marker = folder / "frames.json"
    if marker.exists() and read_json(marker) == json.loads(json.dumps(wanted)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    log.info("decoding %d frames of %s", len(usable), clip.folder)
    names = ("rgb", "labels", "low_rgb", "low_cover")
    streams = {name: (folder / f"{name}.u8").open("wb") for name in names}
    try:
        for done, index in enumerate(usable):
            picture = resize(read_rgb(clip.frame_path(int(index))), size, size)
            mask = resize_mask(read_mask(clip.mask_path(int(index))), size, size)
            cover = np.stack([mask == MASK_HEAD, mask == MASK_TORSO], -1) * np.uint8(255)
            for name, array in (
                ("rgb", picture),
                ("labels", mask),
                ("low_rgb", block_mean(picture, low)),
                ("low_cover", block_mean(cover, low)),
            ):
                streams[name].write(np.ascontiguousarray(array, np.uint8).tobytes())
            if progress is not None and (done + 1) % 25 == 0:
                progress(done + 1, len(usable))
    finally:
        for stream in streams.values():
            stream.close()
    write_json(marker, wanted)


def block_mean(image: ByteArray, low: int) -> ByteArray:
    """Mean of square blocks: [S, S, C] -> [low, low, C], rounded."""
    block = image.shape[0] // low
    total = image.reshape(low, block, low, block, -1).sum((1, 3), dtype=np.uint32)
    return np.asarray((total + block * block // 2) // (block * block), np.uint8)
