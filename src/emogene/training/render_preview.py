"""How a portrait looks on frames it never trained on: scores and a sheet of pictures, while it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emogene.evaluate.images import cropped, psnr, sharpness, ssim
from emogene.geometry.landmarks import MOUTH
from emogene.io.images import resize, write_rgb
from emogene.render.portrait import Portrait
from emogene.training.render_frames import Frames
from emogene.types import ByteArray, FloatArray, HeadPose, Motion

Box = tuple[int, int, int, int]


def face_box(points_px: FloatArray, size: int) -> Box:
    """Left, top, right, bottom around the face: landmarks and a little forehead."""
    low, high = points_px.min(0), points_px.max(0)
    height = high[1] - low[1]
    box = (low[0] - 0.05 * height, low[1] - 0.3 * height, high[0] + 0.05 * height, high[1] + 0.03 * height)
    return _inside(box, size)


def mouth_box(points_px: FloatArray, size: int) -> Box:
    """Around the lips, as wide as one and a half mouths."""
    mouth = points_px[MOUTH]
    center, width = (mouth.min(0) + mouth.max(0)) / 2, mouth[:, 0].max() - mouth[:, 0].min()
    box = (
        center[0] - 0.75 * width,
        center[1] - 0.6 * width,
        center[0] + 0.75 * width,
        center[1] + 0.6 * width,
    )
    return _inside(box, size)


def _inside(box: tuple[float, ...], size: int) -> Box:
    left, top, right, bottom = (int(np.clip(round(float(edge)), 0, size)) for edge in box)
    return left, top, max(right, left + 8), max(bottom, top + 8)


def shown(portrait: Portrait, frames: Frames, chosen: np.ndarray) -> list[ByteArray]:
    """The portrait's pictures of the clip's frames, driven by their own landmarks and pose."""
    size = frames.rgb.shape[1]
    pictures = []
    for frame in chosen.tolist():
        # The frame and the two before it, so that its landmark window is the true one.
        motion = Motion(frames.windows[frame], np.repeat(frames.eyes[frame][None], 3, 0))
        pose = HeadPose(np.repeat(frames.pose[frame][None], 3, 0))
        rendered = portrait.render_last(motion, pose, size, background=frames.background)
        pictures.append(rendered)
    return pictures


def scores(portrait: Portrait, frames: Frames, count: int = 6) -> dict[str, float]:
    """Means over held-out frames: face and mouth PSNR, SSIM, sharpness relative to the real frames."""
    chosen = np.linspace(frames.n_train, len(frames) - 1, count).round().astype(int)
    size = frames.rgb.shape[1]
    rows = []
    for frame, ours in zip(chosen, shown(portrait, frames, chosen), strict=True):
        real = np.array(frames.rgb[frame])
        points = frames.project(int(frame))
        face, mouth = face_box(points, size), mouth_box(points, size)
        rows.append(
            {
                "face_psnr": psnr(ours, real, face),
                "face_ssim": ssim(ours, real, face),
                "face_sharp": sharpness(ours, face) / max(sharpness(real, face), 1e-9),
                "mouth_psnr": psnr(ours, real, mouth),
                "mouth_sharp": sharpness(ours, mouth) / max(sharpness(real, mouth), 1e-9),
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def write_sheet(path: Path, portrait: Portrait, frames: Frames, count: int = 3) -> None:
    """Rows of held-out frames: real, ours, difference, and both mouths enlarged."""
    chosen = np.linspace(frames.n_train, len(frames) - 1, count).round().astype(int)
    write_rgb(path, sheet(frames, chosen, shown(portrait, frames, chosen)), 92)


def sheet(frames: Frames, chosen: np.ndarray, pictures: list[ByteArray]) -> ByteArray:
    """One row per frame: real | ours | difference x 3 | mouth real over mouth ours."""
    size = frames.rgb.shape[1]
    rows = []
    for frame, ours in zip(chosen.tolist(), pictures, strict=True):
        real = np.array(frames.rgb[frame])
        difference = np.abs(real.astype(np.int16) - ours) * 3
        box = mouth_box(frames.project(frame), size)
        mouths = [resize(cropped(image, box), size // 2, size // 2) for image in (real, ours)]
        column = np.concatenate(mouths, 0)
        rows.append(np.concatenate([real, ours, difference.clip(0, 255).astype(np.uint8), column], 1))
    return np.concatenate(rows, 0)
