"""Pictures of one face -> mesh points and blendshapes per frame (MediaPipe FaceLandmarker).

In: rgb frames [H, W, 3]. Out: mesh_px [T, 478, 3], blendshapes [T, 52], valid [T].

Three measured choices keep the lips honest:
    - VIDEO mode smooths in time by its time stamps: true 40 ms stamps cost 6 % of the lip opening and
      half a frame of delay. Stamps seconds apart switch the filter off and keep the speed.
    - The face is found once; then a steady square crop around it is tracked, so that small faces are
      enlarged to what the network expects (99.9 % of frames found on 105 px faces).
    - A frame must be contiguous in memory, else MediaPipe reads shifted rows without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.capture.quiet import quiet_libraries
from emogene.errors import UserError
from emogene.types import FPS, ByteArray, FloatArray

N_MESH = 478
N_BLENDSHAPES = 52
Found = tuple[FloatArray, FloatArray]
"""A frame's mesh [478, 3] in pixels and its blendshapes [52]."""
CROP_PX = 288
"""Side of the picture that the landmark network sees; its own input is smaller."""
CROP_PER_FACE = 1.9
"""Side of the tracked square in face boxes."""
MOVE_AT, RESIZE_AT = 0.12, 0.15
"""The square stays where it is until the face has moved or grown by this share: a crop that follows
every frame would resample the picture differently each time and add noise to the lips."""
STAMP_STEP_MS = 4000
SEARCH_EVERY = 10
"""While no face is seen, only every so many frames are searched part by part: that is slow."""


@dataclass(frozen=True)
class Track:
    """A face followed through a video.

    mesh_px: [T, 478, 3] pixels of the full picture, z in the same unit (smaller is nearer); NaN where
    the face was not found. blendshapes: [T, 52] ARKit scores in 0..1. valid: [T] face found.
    size_px: (width, height) of the picture. fps: frames per second of T.
    """

    mesh_px: FloatArray
    blendshapes: FloatArray
    valid: NDArray[np.bool_]
    size_px: tuple[int, int]
    fps: float = FPS

    def __len__(self) -> int:
        return len(self.valid)

    def filled(self) -> Track:
        """The same track with gaps bridged linearly in time (valid still tells them)."""
        if self.valid.all() or not self.valid.any():
            return self
        index, known = np.arange(len(self)), np.flatnonzero(self.valid)
        mesh = interpolate(self.mesh_px[known], known, index)
        shapes = interpolate(self.blendshapes[known], known, index)
        return Track(mesh, shapes, self.valid, self.size_px, self.fps)


@dataclass(frozen=True)
class FaceBox:
    """Square-ish extent of a face: centre [2] and the longer side, pixels."""

    centre_px: FloatArray
    side_px: float


class FaceTracker:
    """Loaded networks that follow one video after another; use as a context manager."""

    def __enter__(self) -> FaceTracker:
        self._open = ExitStack()
        self._video = self._open.enter_context(landmarker("VIDEO"))
        self._image = self._open.enter_context(landmarker("IMAGE"))
        self._stamp_ms = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def follow(self, frames: Iterable[ByteArray], *, fps: float = FPS) -> Track:
        """Follow one face through frames [H, W, 3] uint8 rgb.

        Raises:
            UserError: there is no frame at all.
        """
        meshes: list[FloatArray] = []
        shapes: list[FloatArray] = []
        size = (0, 0)
        for frame, found in self.watch(frames):
            size = (frame.shape[1], frame.shape[0])
            meshes.append(np.full((N_MESH, 3), np.nan, np.float32) if found is None else found[0])
            shapes.append(np.zeros(N_BLENDSHAPES, np.float32) if found is None else found[1])
        if not meshes:
            raise UserError("the video holds no picture; record it again or convert it with another program")
        mesh = np.stack(meshes)
        return Track(mesh, np.stack(shapes), np.isfinite(mesh[:, 0, 0]), size, fps)

    def watch(self, frames: Iterable[ByteArray]) -> Iterator[tuple[ByteArray, Found | None]]:
        """Each frame with its mesh [478, 3] in pixels and blendshapes [52], None without a face."""
        box, n_lost = None, 0
        for frame in frames:
            found = None if box is None else self._track_one(frame, box)
            if found is None:
                # First frame, or lost (for example at a cut): look in the whole picture.
                box = find_face(self._image, frame, thorough=n_lost % SEARCH_EVERY == 0)
                self._forget()
                found = None if box is None else self._track_one(frame, box)
            if found is None or box is None:
                box, n_lost = None, n_lost + 1
                yield frame, None
                continue
            n_lost = 0
            box = _followed(box, face_box(found[0]))
            yield frame, found

    def _track_one(self, frame: ByteArray, box: FaceBox) -> Found | None:
        """Mesh [478, 3] in pixels of the frame and blendshapes [52] of the face near ``box``."""
        side = box.side_px * CROP_PER_FACE
        corner = box.centre_px - side / 2
        faces = detect(self._video, crop_square(frame, corner, side, CROP_PX), self._next_stamp())
        if not faces:
            return None
        mesh, shapes = faces[0]
        mesh *= side / CROP_PX
        mesh[:, :2] += corner
        return mesh, shapes

    def _forget(self) -> None:
        """Make the network look for the face anew: an empty picture loses the one it followed."""
        detect(self._video, np.zeros((CROP_PX, CROP_PX, 3), np.uint8), self._next_stamp())

    def _next_stamp(self) -> int:
        self._stamp_ms += STAMP_STEP_MS
        return self._stamp_ms


def track_frames(frames: Iterable[ByteArray], *, fps: float = FPS) -> Track:
    """Follow one face through frames [H, W, 3] uint8 rgb (see FaceTracker.follow)."""
    with FaceTracker() as tracker:
        return tracker.follow(frames, fps=fps)


def track_video(path: Path, *, max_frames: int | None = None, tracker: FaceTracker | None = None) -> Track:
    """Follow the face of a video file on the 25 fps clock that starts with the sound.

    Every decoded frame is tracked; then tracks (not pictures) are interpolated in time, so that 15, 30
    or a varying number of frames per second cost no accuracy.

    Args:
        path: a video file.
        max_frames: stop after this many frames of the file.
        tracker: loaded networks to use; None loads them for this video.

    Raises:
        MediaError: the file holds no pictures.
    """
    from emogene.io.video import read_video

    _, pictures = read_video(path)
    times_s: list[float] = []

    def remembered() -> Iterator[ByteArray]:
        for pts_s, picture in pictures:
            times_s.append(pts_s)
            yield picture
            if len(times_s) == max_frames:
                return

    track = track_frames(remembered()) if tracker is None else tracker.follow(remembered())
    return resample(track, np.asarray(times_s))


def resample(track: Track, times_s: NDArray[np.float64], end_s: float | None = None) -> Track:
    """Bring a track with frame times to 25 fps from time 0.

    Args:
        track: T frames.
        times_s: [T] increasing times; the first may be after 0 (the file's video starts late).
        end_s: where the result ends; None: with the last frame.
    """
    step = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0 / FPS
    end_s = times_s[-1] + step if end_s is None else end_s
    wanted_s = np.arange(max(1, round(end_s * FPS))) / FPS
    if len(times_s) == len(wanted_s) and np.abs(times_s - wanted_s).max() < 0.25 / FPS:
        return track
    nearest = np.abs(times_s[None] - wanted_s[:, None]).argmin(1)
    near = np.abs(times_s[nearest] - wanted_s) < max(step, 1.0 / FPS)
    if not track.valid.any():
        empty = np.full((len(wanted_s), N_MESH, 3), np.nan, np.float32)
        shapes = np.zeros((len(wanted_s), N_BLENDSHAPES), np.float32)
        return Track(empty, shapes, np.zeros(len(wanted_s), bool), track.size_px)
    known = np.flatnonzero(track.valid)
    mesh = interpolate(track.mesh_px[known], times_s[known], wanted_s)
    shapes = interpolate(track.blendshapes[known], times_s[known], wanted_s)
    return Track(mesh, shapes, track.valid[nearest] & near, track.size_px)


def interpolate(values: FloatArray, at: NDArray[Any], wanted: NDArray[Any]) -> FloatArray:
    """Linear interpolation along the first axis; constant beyond the ends. [N, ...] -> [M, ...]."""
    after = (
        np.clip(np.searchsorted(at, wanted), 1, len(at) - 1) if len(at) > 1 else np.zeros(len(wanted), int)
    )
    before = np.maximum(after - 1, 0)
    span = np.maximum(np.asarray(at[after] - at[before], np.float64), 1e-9)
    share = np.clip((wanted - at[before]) / span, 0.0, 1.0).astype(np.float32)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[before] * (1 - share) + values[after] * share, dtype=np.float32)


def face_box(mesh_px: FloatArray) -> FaceBox:
    """Extent of a face from its mesh points [478, 3]."""
    low, high = mesh_px[:, :2].min(0), mesh_px[:, :2].max(0)
    return FaceBox((low + high) / 2, float((high - low).max()))


def find_face(finder: Any, frame: ByteArray, *, thorough: bool = True) -> FaceBox | None:
    """Find the largest face of a picture with an IMAGE mode landmarker (see find_faces)."""
    faces = find_faces(finder, frame, thorough=thorough)
    return faces[0][0] if faces else None


def find_faces(finder: Any, frame: ByteArray, *, thorough: bool = True) -> list[tuple[FaceBox, FloatArray]]:
    """Faces with their meshes [478, 3], largest first.

    The whole picture is searched; if nothing is there and ``thorough``, parts of it, enlarged.
    """
    for corner, side in _windows(frame.shape[1], frame.shape[0]):
        part, scale = _window(frame, corner, side)
        shift = np.append(corner, 0).astype(np.float32)
        meshes = [mesh / scale + shift for mesh, _ in detect(finder, part)]
        if meshes:
            faces = sorted(((face_box(mesh), mesh) for mesh in meshes), key=lambda face: -face[0].side_px)
            return different_faces(faces)
        if not thorough:
            break
    return []


def different_faces(faces: list[tuple[FaceBox, FloatArray]]) -> list[tuple[FaceBox, FloatArray]]:
    """The faces, largest first, without those found a second time: their middles lie within a larger one."""
    kept: list[tuple[FaceBox, FloatArray]] = []
    for box, mesh in faces:
        if all(np.abs(box.centre_px - other.centre_px).max() > other.side_px / 2 for other, _ in kept):
            kept.append((box, mesh))
    return kept


@contextmanager
def landmarker(mode: str, n_faces: int = 1) -> Iterator[Any]:
    """A FaceLandmarker of mode IMAGE or VIDEO."""
    vision, base = _mediapipe()
    options = vision.FaceLandmarkerOptions(
        base_options=base(model_asset_buffer=model_path().read_bytes()),
        running_mode=vision.RunningMode[mode],
        output_face_blendshapes=True,
        num_faces=n_faces,
    )
    with quiet_libraries():
        net = vision.FaceLandmarker.create_from_options(options)
        detect(net, np.zeros((CROP_PX, CROP_PX, 3), np.uint8), None if mode == "IMAGE" else 0)
    with net:
        yield net


def _mediapipe() -> tuple[Any, Any]:
    try:
        with quiet_libraries():
            from mediapipe.tasks.python import BaseOptions, vision
    except ImportError:
        raise UserError(
            "reading faces needs mediapipe, which is not installed; pip install 'emogene[capture]'"
        ) from None
    return vision, BaseOptions


def model_path() -> Path:
    """The FaceLandmarker bundle, fetched if need be."""
    from emogene.assets import fetch

    return fetch("face-landmarker")


def crop_square(frame: ByteArray, corner: FloatArray, side: float, size_px: int) -> ByteArray:
    """Resample the square at ``corner`` with ``side`` pixels to size_px; edges repeat outside."""
    import cv2

    low = np.clip(np.floor(corner).astype(int) - 2, 0, [frame.shape[1] - 1, frame.shape[0] - 1])
    high = np.ceil(corner + side).astype(int) + 2
    part = np.ascontiguousarray(frame[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)])
    scale = size_px / side
    if scale < 0.7:
        # warpAffine does not average when it shrinks: blur to the new pixel size first.
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 / scale), np.uint8)
    # Pixel centres sit at half integers in our coordinates and at integers in OpenCV's.
    shift = (low - np.asarray(corner)) * scale + 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
    crop = cv2.warpAffine(
        part, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.ascontiguousarray(crop)


def detect(
    landmarker: Any, picture: ByteArray, stamp_ms: int | None = None
) -> list[tuple[FloatArray, FloatArray]]:
    """Faces of a picture: (mesh [478, 3] in its pixels, blendshapes [52]) each."""
    import mediapipe

    image = mediapipe.Image(
        image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture, dtype=np.uint8)
    )
    result = landmarker.detect(image) if stamp_ms is None else landmarker.detect_for_video(image, stamp_ms)
    height, width = picture.shape[:2]
    faces = []
    for points, scores in zip(result.face_landmarks, result.face_blendshapes, strict=True):
        mesh = np.array([(p.x * width, p.y * height, p.z * width) for p in points], np.float32)
        faces.append((mesh, np.array([score.score for score in scores], np.float32)))
    return faces


def _followed(box: FaceBox, seen: FaceBox) -> FaceBox:
    """The old box while the face is still well inside it, else the new one."""
    moved = np.abs(seen.centre_px - box.centre_px).max() > MOVE_AT * box.side_px * CROP_PER_FACE / 2
    resized = abs(seen.side_px / box.side_px - 1) > RESIZE_AT
    return seen if moved or resized else box


def _windows(width: int, height: int) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Squares to search: all of the picture (as its longer side), then smaller, overlapping ones."""
    longer = float(max(width, height))
    yield np.array([(width - longer) / 2, (height - longer) / 2]), longer
    for side in (float(min(width, height)), min(width, height) / 2):
        columns, rows = (int(np.ceil(2 * extent / side)) - 1 for extent in (width, height))
        for row in range(max(rows, 1)):
            for column in range(max(columns, 1)):
                share_x, share_y = column / max(columns - 1, 1), row / max(rows - 1, 1)
                yield np.array([share_x * (width - side), share_y * (height - side)]), side


def _window(frame: ByteArray, corner: NDArray[np.float64], side: float) -> tuple[ByteArray, float]:
    """The square as a picture of 360..640 px, and its pixels per pixel of the frame."""
    size = int(np.clip(side, 2 * CROP_PX, 640))
    return crop_square(frame, corner.astype(np.float32), side, size), size / side
