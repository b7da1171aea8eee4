"""What of a tracked face the metrics need, 1.3 kB a frame: an hour of video is 110 MB, not half a gigabyte.

Of MediaPipe's 478 points 68 are landmarks and 28 carry the head's pose; of the rest only the extent matters.
In: meshes frame by frame. Out: FaceTrack, and SteadyFace with head motion taken out of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from emogene.capture.canonical import EYE_OUTER_MESH, RIGID, neutral_face, place
from emogene.capture.eyes import eye_openness
from emogene.capture.tracker import N_BLENDSHAPES, Found, interpolate
from emogene.geometry.landmarks import MESH_FROM_LANDMARK
from emogene.types import FloatArray

KEPT = np.union1d(MESH_FROM_LANDMARK, RIGID)
"""Mesh points that are kept."""
LANDMARKS, RIGID_KEPT, CORNERS = (
    np.searchsorted(KEPT, points) for points in (MESH_FROM_LANDMARK, RIGID, EYE_OUTER_MESH)
)
"""Where among them the 68 landmarks, the rigid points and the outer eye corners are."""
N_FACE = 468
"""Mesh points of the face; behind them come the irises."""
BLOCK = 512


@dataclass(frozen=True)
class FaceTrack:
    """A face followed through a video on the 25 fps clock; gaps are bridged linearly, ``valid`` tells them.

    points_px: [T, P, 3] the KEPT mesh points. extent_px: [T, 4] left, top, right and bottom of the face.
    blendshapes: [T, 52]. valid: [T] face found. size_px: (width, height) of the picture.
    """

    points_px: FloatArray
    extent_px: FloatArray
    blendshapes: FloatArray
    valid: NDArray[np.bool_]
    size_px: tuple[int, int]

    def __len__(self) -> int:
        return len(self.valid)

    def landmarks_px(self, frame: int) -> FloatArray:
        """[68, 2] of one frame."""
        return self.points_px[frame, LANDMARKS, :2]


@dataclass
class FaceRecorder:
    """Gathers what is seen frame by frame."""

    _blocks: dict[str, list[FloatArray]] = field(default_factory=lambda: {name: [] for name in _SHAPES})
    _count: int = 0
    _valid: list[bool] = field(default_factory=list)

    def add(self, found: Found | None) -> None:
        """Take the next frame: its mesh and blendshapes, or None without a face."""
        row = self._count % BLOCK
        if row == 0:
            for name, shape in _SHAPES.items():
                self._blocks[name].append(np.zeros((BLOCK, *shape), np.float32))
        if found is not None:
            mesh, shapes = found
            self._blocks["points_px"][-1][row] = mesh[KEPT]
            self._blocks["extent_px"][-1][row] = extent(mesh)
            self._blocks["blendshapes"][-1][row] = shapes
        self._valid.append(found is not None)
        self._count += 1

    def track(self, size_px: tuple[int, int]) -> FaceTrack:
        """Everything seen so far; the recorder is empty afterwards."""
        valid = np.array(self._valid, bool)
        arrays = {name: _bridged(self._joined(name), valid) for name in _SHAPES}
        return FaceTrack(**arrays, valid=valid, size_px=size_px)

    def _joined(self, name: str) -> FloatArray:
        blocks = self._blocks.pop(name)
        joined = np.concatenate(blocks) if blocks else np.zeros((0, *_SHAPES[name]), np.float32)
        return joined[: self._count]


_SHAPES: dict[str, tuple[int, ...]] = {
    "points_px": (len(KEPT), 3),
    "extent_px": (4,),
    "blendshapes": (N_BLENDSHAPES,),
}


@dataclass(frozen=True)
class SteadyFace:
    """A face without head motion (``capture.canonical.CanonicalFace``), and openness [T, 2] of the eyes."""

    landmarks_cano: FloatArray
    neutral_cano: FloatArray
    rotation: FloatArray
    scale_px: FloatArray
    origin_px: FloatArray
    openness: FloatArray


def steady_face(track: FaceTrack) -> SteadyFace:
    """Take head motion out of a track in which a face was found at least once."""
    placed = place(track.points_px, RIGID_KEPT, CORNERS, track.valid)
    landmarks = placed.points_cano[:, LANDMARKS]
    placed = replace(placed, points_cano=landmarks)
    return SteadyFace(
        landmarks,
        neutral_face(landmarks, track.blendshapes, track.valid),
        placed.rotation,
        placed.scale_px,
        placed.origin_px,
        eye_openness(landmarks, track.blendshapes),
    )


def extent(mesh_px: FloatArray) -> FloatArray:
    """Left, top, right and bottom [4] of a face mesh [478, 2+]."""
    points = mesh_px[:N_FACE, :2]
    return np.concatenate([points.min(0), points.max(0)])


def _bridged(values: FloatArray, valid: NDArray[np.bool_]) -> FloatArray:
    """Gaps filled linearly in time; all zeros stay where nothing was seen at all."""
    if valid.all() or not valid.any():
        return values
    known = np.flatnonzero(valid)
    gaps = np.flatnonzero(~valid)
    values[gaps] = interpolate(values[known], known, gaps)
    return values
