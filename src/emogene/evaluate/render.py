"""How true a portrait is to its person: held-out frames of their clip, driven by their own landmarks.

For every held-out frame (the last 1/11 of the clip) the portrait is given the frame's own landmarks, eyes
and head pose, and its picture is compared with the real one: PSNR, SSIM and sharpness in the face and the
mouth box, PSNR of torso and neck, and the lip opening that a face tracker sees in our pictures against the
one it sees in the real ones. PSNR rewards shut, blurred mouths: read it beside aperture and sharpness.

The nearest row shows, for each held-out frame, the training frame with the most similar landmarks and pose.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter

from emogene.errors import UserError
from emogene.evaluate.images import Box, cropped, flicker, psnr, sharpness, ssim
from emogene.evaluate.landmarks import match_curves
from emogene.evaluate.report import Column, Row, Table
from emogene.geometry.landmarks import MESH_FROM_LANDMARK, MOUTH
from emogene.io.clip import MASK_HEAD, MASK_TORSO, Clip
from emogene.io.images import resize, write_rgb
from emogene.render.portrait import Portrait
from emogene.training.render_frames import Frames, open_frames
from emogene.types import ByteArray, FloatArray, HeadPose, Motion

log = logging.getLogger(__name__)

COLUMNS = (
    Column("face_psnr", "face dB", True),
    Column("head_psnr", "head dB", True, "face box; beyond the head the real frame"),
    Column("face_ssim", "face SSIM", True),
    Column("head_ssim", "head SSIM", True),
    Column("mouth_psnr", "mouth dB", True),
    Column("face_sharp", "sharp face", None, "Laplacian energy, 1 = the real frames"),
    Column("mouth_sharp", "sharp mouth", None),
    Column("lip_slope", "lip slope", None, "1 = opens as far as the real mouth"),
    Column("lip_r", "lip r", True),
    Column("torso_psnr", "torso dB", True),
    Column("flicker", "flicker", False, "mean change per frame beyond the real video's, grey levels"),
)

RIM_PX = 4
"""Of the head's outline that counts as head: halos there are its fault."""


@dataclass(frozen=True)
class RenderReport:
    """The table and the pictures it was measured on."""

    table: Table
    sheet: ByteArray
    frames: list[int]


def evaluate_render(
    portrait: Portrait, clip: Clip, *, max_frames: int = 160, quality: str = "standard"
) -> RenderReport:
    """Measure a portrait on the held-out end of its clip.

    Args:
        portrait: the trained portrait.
        clip: the clip it was trained on, with frames, masks, pose and landmarks.
        max_frames: at most so many held-out frames, from their beginning.
        quality: of the rendering.
    """
    if clip.camera is None:
        raise UserError(f"{clip.folder} has no camera; make the clip with `emogene create`")
    low = portrait.model.config.low
    with tempfile.TemporaryDirectory(prefix="emogene-") as scratch:
        frames = open_frames(clip, Path(scratch), low=low, max_frames=clip.n_frames)
        chosen = frames.tested[:max_frames]
        real = [np.array(frames.rgb[frame]) for frame in chosen]
        ours = rendered(portrait, frames, chosen, quality)
        closest = [np.array(frames.rgb[index]) for index in nearest(frames, chosen)]
        rows = [
            Row("ground truth", measure(frames, chosen, real, real), kind="truth"),
            Row("this portrait", measure(frames, chosen, ours, real)),
            Row("nearest training frame", measure(frames, chosen, closest, real), kind="chance"),
        ]
        note = f"{len(chosen)} held-out frames of {clip.speaker}, {real[0].shape[0]} px, {quality}"
        table = Table("Held-out frames, driven by their own landmarks", COLUMNS, rows, note)
        some = np.linspace(0, len(chosen) - 1, min(4, len(chosen))).round().astype(int)
        picture = contact_sheet(frames, chosen[some], [ours[index] for index in some])
    return RenderReport(table, picture, frames.index[chosen].tolist())


def rendered(portrait: Portrait, frames: Frames, chosen: np.ndarray, quality: str) -> list[ByteArray]:
    """Our pictures of consecutive frames over the clip's own background."""
    motion = Motion(frames.landmarks[chosen], frames.eyes[chosen])
    pose = HeadPose(frames.pose[chosen])
    size = frames.rgb.shape[1]
    shoulders = frames.shoulders[chosen]
    return list(
        portrait.render(motion, pose, size, quality, background=frames.background, shoulders=shoulders)
    )


def head_alone(ours: ByteArray, truth: ByteArray, labels: ByteArray) -> ByteArray:
    """Our head [H, W, 3] and a rim of it over the real frame's background and torso.

    The face box holds collar and studio in its corners; a head field is judged without them.
    """
    head = (labels == MASK_HEAD).astype(np.uint8)
    near = maximum_filter(head, 2 * RIM_PX + 1) > 0
    return np.where((near & (labels != MASK_TORSO))[..., None], ours, truth)


def nearest(frames: Frames, chosen: np.ndarray) -> list[int]:
    """For each frame the training frame of the most similar landmarks under its pose."""
    seen = frames.n_train
    flat = np.stack([frames.project(index) for index in range(len(frames))]).reshape(len(frames), -1)
    return [int(((flat[:seen] - flat[frame]) ** 2).sum(1).argmin()) for frame in chosen]


def measure(
    frames: Frames, chosen: np.ndarray, pictures: list[ByteArray], real: list[ByteArray]
) -> dict[str, Any]:
    """All metrics of a row of pictures against the real ones."""
    size = real[0].shape[0]
    rows: dict[str, list[float]] = {}
    for frame, ours, truth in zip(chosen.tolist(), pictures, real, strict=True):
        points = frames.project(frame)
        face, mouth = face_box(points, size), mouth_box(points, size)
        labels = np.array(frames.labels[frame])
        torso, head = labels == MASK_TORSO, head_alone(ours, truth, labels)
        values = {
            "face_psnr": psnr(ours, truth, face),
            "head_psnr": psnr(head, truth, face),
            "face_ssim": ssim(ours, truth, face),
            "head_ssim": ssim(head, truth, face),
            "mouth_psnr": psnr(ours, truth, mouth),
            "face_sharp": sharpness(ours, face) / max(sharpness(truth, face), 1e-9),
            "mouth_sharp": sharpness(ours, mouth) / max(sharpness(truth, mouth), 1e-9),
            "torso_psnr": psnr(ours[torso][None], truth[torso][None]) if torso.any() else float("nan"),
        }
        for name, value in values.items():
            rows.setdefault(name, []).append(value)
    result: dict[str, Any] = {name: float(np.mean(values)) for name, values in rows.items()}
    result["flicker"] = flicker(pictures, real)
    result |= _lips(pictures, real)
    return result


def _lips(pictures: list[ByteArray], real: list[ByteArray]) -> dict[str, float]:
    """Slope and correlation of the tracked lip opening; nothing where no tracker is installed."""
    try:
        ours, truth = lip_aperture(pictures), lip_aperture(real)
    except (ImportError, UserError) as error:
        log.warning("lip opening not measured: %s", error)
        return {}
    known = np.isfinite(ours) & np.isfinite(truth)
    if known.sum() < 8:
        return {}
    match = match_curves(ours[known], truth[known])
    return {"lip_slope": match.slope, "lip_r": match.r}


def lip_aperture(pictures: list[ByteArray]) -> FloatArray:
    """Inner-lip gap in outer-eye distances that the face tracker sees, [T]; NaN where it sees no face."""
    from emogene.capture.tracker import track_frames

    track = track_frames(pictures)
    points = track.mesh_px[:, MESH_FROM_LANDMARK, :2]
    gap = points[:, 65:68, 1].mean(1) - points[:, 61:64, 1].mean(1)
    eyes = np.linalg.norm(points[:, 45] - points[:, 36], axis=-1)
    return np.where(track.valid, gap / np.maximum(eyes, 1e-6), np.nan).astype(np.float32)


def face_box(points_px: FloatArray, size: int) -> Box:
    """Left, top, right, bottom around the face: landmarks and a little forehead."""
    low, high = points_px.min(0), points_px.max(0)
    height = high[1] - low[1]
    edges = (low[0] - 0.05 * height, low[1] - 0.1 * height, high[0] + 0.05 * height, high[1])
    return _inside(edges, size)


def mouth_box(points_px: FloatArray, size: int) -> Box:
    """Around the lips: one and a half mouths wide, 1.2 high."""
    mouth = points_px[MOUTH]
    center = (mouth.min(0) + mouth.max(0)) / 2
    width = float(mouth[:, 0].max() - mouth[:, 0].min())
    reach = np.array([0.75 * width, 0.6 * width])
    return _inside((*(center - reach), *(center + reach)), size)


def _inside(edges: tuple[float, ...], size: int) -> Box:
    left, top, right, bottom = (int(np.clip(round(float(edge)), 0, size)) for edge in edges)
    # Metrics need some pixels even of a face at the border.
    left, top = min(left, size - 16), min(top, size - 16)
    return left, top, max(right, left + 16), max(bottom, top + 16)


def contact_sheet(frames: Frames, chosen: np.ndarray, pictures: list[ByteArray]) -> ByteArray:
    """One row per frame: real | ours | difference x 3 | mouth, real over ours."""
    size = frames.rgb.shape[1]
    rows = []
    for frame, ours in zip(chosen.tolist(), pictures, strict=True):
        real = np.array(frames.rgb[frame])
        difference = (np.abs(real.astype(np.int16) - ours) * 3).clip(0, 255).astype(np.uint8)
        box = mouth_box(frames.project(frame), size)
        mouths = [resize(cropped(image, box), size // 2, size // 2) for image in (real, ours)]
        rows.append(np.concatenate([real, ours, difference, np.concatenate(mouths, 0)], 1))
    return np.concatenate(rows, 0)


def save_report(report: RenderReport, out: Path) -> None:
    """Write the contact sheet (PNG or JPEG by suffix)."""
    write_rgb(out, report.sheet)
