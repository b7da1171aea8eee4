"""How a portrait looks on frames it never trained on: scores and a sheet of pictures, while it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emogene.evaluate.images import psnr, sharpness, ssim
from emogene.evaluate.render import contact_sheet, face_box, mouth_box
from emogene.io.images import write_rgb
from emogene.render.code import WINDOW
from emogene.render.portrait import Portrait
from emogene.training.render_frames import Frames
from emogene.types import ByteArray, HeadPose, Motion


def shown(portrait: Portrait, frames: Frames, chosen: np.ndarray) -> list[ByteArray]:
    """The portrait's pictures of the clip's frames, driven by their own landmarks and pose."""
    with portrait.pictures(frames.rgb.shape[1], background=frames.background) as pictures:
        for frame in chosen.tolist():
            # The two frames before it are only its landmark window.
            motion = Motion(frames.windows[frame], np.repeat(frames.eyes[frame][None], WINDOW, 0))
            pose = HeadPose(np.repeat(frames.pose[frame][None], WINDOW, 0))
            shoulders = np.repeat(frames.shoulders[frame][None], WINDOW, 0)
            pictures.ask(motion, pose, history=WINDOW - 1, shoulders=shoulders)
        return [pictures.take() for _ in chosen]


def scores(portrait: Portrait, frames: Frames, count: int = 6) -> dict[str, float]:
    """Means over held-out frames: face and mouth PSNR, SSIM, sharpness relative to the real frames."""
    chosen = _some(frames, count)
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
    chosen = _some(frames, count)
    write_rgb(path, contact_sheet(frames, chosen, shown(portrait, frames, chosen)), 92)


def _some(frames: Frames, count: int) -> NDArray[np.int64]:
    tested = frames.tested
    places = np.linspace(0, len(tested) - 1, min(count, len(tested)))
    return np.asarray(tested[places.round().astype(int)], np.int64)
