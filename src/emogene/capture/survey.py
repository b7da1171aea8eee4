"""One look through a video before anything is done with it: faces, light, sharpness, movement, cuts.

What it finds is judged in `capture.preflight` and tells `capture.crop` where the person is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emogene.capture.scenes import main_scene, signature
from emogene.capture.smoothing import ChangeMeter, find_cuts, thumbnail
from emogene.capture.tracker import FaceBox, find_faces, landmarker
from emogene.io.video import probe_video, read_video
from emogene.types import FPS, ByteArray, FloatArray

LOOK_EVERY = 10
"""Frames (0.4 s at 25 fps) between two looks for faces."""
LONGEST_S = 300.0
"""What comes later is not used: five minutes show a person well, and an hour of frames fills a disk."""
MAX_FACES = 3
SECOND_FACE_SHARE = 0.35
"""A second face smaller than this share of the first is a poster or a passer-by far behind."""

Counted = Callable[[str, Iterable[Any], int], Iterator[Any]]


@dataclass
class Survey:
    """What one look found. Lists hold one value per look (every LOOK_EVERY frames) unless said.

    boxes: centre x, centre y, side in pixels of the largest face; None where none was found.
    n_faces: faces of comparable size. brightness: mean of the face, 0..255. sharpness: energy of fine
    detail in the face at a common size. roll_deg: by how much the head leans, clockwise. border_change: mean
    change of the picture's upper border between looks, grey levels. left_out: frames of another scene
    (capture.scenes). irregular_share: of the steps in time. n_frames: that were looked at, at most 25 per
    second, fewer where the film has fewer. looked_s: how long they are shown.
    """

    width: int
    height: int
    fps: float
    duration_s: float
    n_frames: int
    rotation_deg: int
    has_audio: bool
    start_s: float
    codec: str
    pixel_format: str
    boxes: list[list[float] | None] = field(default_factory=list)
    n_faces: list[int] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    yaw: list[float] = field(default_factory=list)
    roll_deg: list[float] = field(default_factory=list)
    border_change: list[float] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    irregular_share: float = 0.0
    looked_s: float = 0.0

    def seconds(self, n_frames: float) -> float:
        """How long so many of the frames looked at are shown."""
        return n_frames * (self.looked_s / max(self.n_frames, 1) if self.looked_s else 1 / FPS)

    def face_boxes(self) -> list[FaceBox]:
        """Boxes of the looks that found a face, in the scene that is used."""
        left_out = set(self.left_out)
        return [
            FaceBox(np.array(box[:2], np.float32), float(box[2]))
            for look, box in enumerate(self.boxes)
            if box is not None and look * LOOK_EVERY not in left_out
        ]


def survey_video(video: Path, counted: Counted | None = None) -> Survey:
    """Look through a video file at 25 fps.

    Args:
        video: the file.
        counted: passes items on while reporting progress (steps.Steps.counted).

    Raises:
        MediaError: the file holds no pictures.
    """
    info = probe_video(video)
    found = Survey(
        info.width,
        info.height,
        round(info.fps, 4),
        info.duration_s,
        0,
        info.rotation_deg,
        info.has_audio,
        info.start_s,
        info.codec,
        info.pixel_format,
    )
    times_s: list[float] = []
    pictures = _at_25(read_video(video)[1], times_s)
    total = max(1, round(min(info.duration_s, LONGEST_S) * min(info.fps or FPS, FPS)))
    items = pictures if counted is None else counted("survey", pictures, total)
    change = ChangeMeter()
    border: FloatArray | None = None
    signatures = []
    with landmarker("IMAGE", MAX_FACES) as finder:
        for index, picture in enumerate(items):
            small = thumbnail(picture)
            change.add(small)
            signatures.append(signature(picture))
            if index % LOOK_EVERY:
                continue
            _look(found, finder, picture)
            edge = _border(small)
            if border is not None:
                found.border_change.append(round(float(np.abs(edge - border).mean()), 3))
            border = edge
    found.n_frames = len(change.values)
    found.cuts = find_cuts(change.values)
    if signatures:
        found.left_out = np.flatnonzero(~main_scene(np.stack(signatures), found.cuts)).tolist()
    found.looked_s = _shown_s(times_s)
    found.duration_s = max(found.duration_s, round(found.looked_s, 3))
    found.irregular_share = _irregular(times_s)
    return found


def _at_25(pictures: Iterator[tuple[float, ByteArray]], times_s: list[float]) -> Iterator[ByteArray]:
    """Pictures nearest to the 25 fps clock, without repeats; notes the time of every picture."""
    due = 0.0
    for pts_s, picture in pictures:
        if pts_s >= LONGEST_S:
            return
        times_s.append(pts_s)
        if pts_s >= due - 0.5 / FPS:
            yield picture
            due = max(due + 1.0 / FPS, pts_s + 0.25 / FPS)


def _look(found: Survey, finder: Any, picture: ByteArray) -> None:
    faces = find_faces(finder, picture)
    faces = [face for face in faces if face[0].side_px > SECOND_FACE_SHARE * faces[0][0].side_px]
    found.n_faces.append(len(faces))
    if not faces:
        found.boxes.append(None)
        return
    box, mesh = faces[0]
    found.boxes.append(
        [round(float(box.centre_px[0]), 2), round(float(box.centre_px[1]), 2), round(box.side_px, 2)]
    )
    brightness, sharpness = _light(picture, box)
    found.brightness.append(brightness)
    found.sharpness.append(sharpness)
    right_x, right_y = mesh[263, :2] - mesh[33, :2]
    found.roll_deg.append(round(float(np.degrees(np.arctan2(right_y, right_x))), 1))
    # The nose between the cheeks: 0 frontal, about 0.5 at 45 degrees; along the line of the eyes.
    along = mesh[:, :2] @ np.array([right_x, right_y]) / max(float(np.hypot(right_x, right_y)), 1e-6)
    left, right = abs(along[454] - along[1]), abs(along[1] - along[234])
    found.yaw.append(round(float((left - right) / max(left + right, 1.0)), 3))


def _light(picture: ByteArray, box: FaceBox) -> tuple[float, float]:
    """Brightness of the face, and its detail: Laplacian energy at 128 px over contrast."""
    import cv2

    from emogene.capture.tracker import crop_square

    side = 0.8 * box.side_px
    face = crop_square(picture, box.centre_px - side / 2, side, 256)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = float(cv2.Laplacian(grey, cv2.CV_32F).std()) / max(float(grey.std()), 1.0)
    return round(float(grey.mean()), 2), round(detail, 4)


def _border(small: FloatArray) -> FloatArray:
    """The upper corners of a thumbnail, where in a portrait there is only background."""
    return np.concatenate([small[:24, :8].ravel(), small[:24, -8:].ravel()])


def _shown_s(times_s: list[float]) -> float:
    """How long pictures with these times are shown, the last as long as the usual one."""
    if len(times_s) < 2:
        return 0.0
    return round(float(times_s[-1] - times_s[0] + np.median(np.diff(times_s))), 3)


def _irregular(times_s: list[float]) -> float:
    """Share of steps between pictures that differ by more than half from the usual one."""
    if len(times_s) < 3:
        return 0.0
    gaps = np.diff(times_s)
    return round(float((np.abs(gaps / np.median(gaps) - 1) > 0.5).mean()), 4)
