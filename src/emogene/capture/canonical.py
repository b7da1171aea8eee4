"""Tracked mesh -> the person's face in canonical head space, with head motion taken out.

In: mesh_px [T, 478, 3]. Out: landmarks_cano [T, 68, 3], neutral_cano [68, 3], head rotation per frame.

Per frame, 28 points that expressions hardly move are laid on the person's own symmetrised shape by a
similarity; that shape is found by laying the same points on MediaPipe's canonical face first. With the
person's own shape no head rotation leaks linearly into the mouth (a stranger's shape would bias the
rotation as the head turns). The jaw contour does leak: it is where the face ends as seen, not a fixed point.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emogene.capture.tracker import Track, model_path
from emogene.errors import FormatError, UserError
from emogene.geometry.alignment import apply_similarity, similarity
from emogene.geometry.landmarks import (
    EYES,
    MESH_FROM_LANDMARK,
    OUTER_EYE_CORNERS,
    eye_opening,
    lip_opening,
    lip_width,
)
from emogene.types import FloatArray

# fmt: off
RIGID = np.array([
    10, 67, 297, 109, 338, 151, 9, 8, 168, 6, 197, 195,    # forehead, bridge of the nose
    33, 133, 263, 362,                                      # eye corners
    127, 356, 162, 389, 21, 251, 54, 284,                   # temples
    1, 2, 98, 327,                                          # base of the nose
])
"""Mesh points that move with the skull alone."""
RIGID_MIRROR = np.array([
    0, 2, 1, 4, 3, 5, 6, 7, 8, 9, 10, 11,
    14, 15, 12, 13,
    17, 16, 19, 18, 21, 20, 23, 22,
    24, 25, 27, 26,
])
"""Position in RIGID of each rigid point's mirror image."""
# fmt: on
N_TEMPLATE = 468
Indices = NDArray[np.intp]
CAMERA_FLIP = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
"""Image axes (x right, y down, z away) <-> head axes (x right, y up, z towards the viewer)."""
EYE_OUTER_MESH = MESH_FROM_LANDMARK[list(OUTER_EYE_CORNERS)]
BLOCK = 1024
"""Frames that are placed at once."""
MOUTH_SHAPES = (*range(23, 50),)
"""Blendshapes of jaw and mouth in MediaPipe's order."""


@dataclass(frozen=True)
class CanonicalFace:
    """A face without its head motion.

    mesh_cano: [T, 478, 3]. neutral_cano: [68, 3]. rotation: [T, 3, 3] head to image axes with y up.
    scale_px: [T] pixels per canonical unit. origin_px: [T, 3] where the canonical origin is seen (z in
    pixels too, of no absolute meaning).
    """

    mesh_cano: FloatArray
    neutral_cano: FloatArray
    rotation: FloatArray
    scale_px: FloatArray
    origin_px: FloatArray

    @property
    def landmarks_cano(self) -> FloatArray:
        """[T, 68, 3]."""
        return self.mesh_cano[:, MESH_FROM_LANDMARK]


def canonical_face(track: Track) -> CanonicalFace:
    """Remove head pose from a track; gaps are bridged linearly.

    Raises:
        UserError: no face was found in any frame.
    """
    if not track.valid.any():
        raise UserError("no face was found in the video; film one person facing the camera in good light")
    placed = place(track.filled().mesh_px, RIGID, EYE_OUTER_MESH, track.valid)
    neutral = neutral_face(placed.points_cano[:, MESH_FROM_LANDMARK], track.blendshapes, track.valid)
    return CanonicalFace(placed.points_cano, neutral, placed.rotation, placed.scale_px, placed.origin_px)


@dataclass(frozen=True)
class Placed:
    """Points [T, P, 3] in canonical space and where the head was, see ``CanonicalFace``."""

    points_cano: FloatArray
    rotation: FloatArray
    scale_px: FloatArray
    origin_px: FloatArray


def place(points_px: FloatArray, rigid: Indices, corners: Indices, valid: NDArray[np.bool_]) -> Placed:
    """Take head motion out of [T, P, 3] points; in blocks, so that long videos need no copies of them.

    Args:
        points_px: gaps bridged.
        rigid: where the 28 RIGID points are among the P.
        corners: where the outer eye corners are.
        valid: [T] frames that were seen; at least one.
    """
    seen = np.flatnonzero(valid)[:: max(1, int(valid.sum()) // 500)]
    own = own_rigid_shape(points_px[seen][:, rigid] @ CAMERA_FLIP)
    count = len(points_px)
    points_cano = np.empty(points_px.shape, np.float32)
    scale, shift = np.empty(count, np.float32), np.empty((count, 3), np.float32)
    rotation = np.empty((count, 3, 3), np.float32)
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        points = points_px[block] @ CAMERA_FLIP
        fit = similarity(points[:, rigid], np.broadcast_to(own, (len(points), *own.shape)))
        scale[block], rotation[block], shift[block] = fit
        points_cano[block] = apply_similarity(points, *fit)
    # The unit and the origin are the neutral outer eye corners; these points are rigid, so their median
    # over the clip is the neutral one and does not depend on which frames count as neutral.
    ends = np.median(points_cano[:, corners][valid], axis=0)
    unit, origin = np.linalg.norm(ends[1] - ends[0]), ends.mean(0)
    points_cano -= origin
    points_cano /= unit
    # cano = (s R px + shift - origin) / unit, so px = R^T (unit cano + origin - shift) / s
    centre = np.einsum("tji,tj->ti", rotation, origin - shift) / scale[:, None]
    return Placed(
        points_cano,
        np.ascontiguousarray(np.swapaxes(rotation, 1, 2)),
        (unit / scale).astype(np.float32),
        np.asarray(centre @ CAMERA_FLIP, np.float32),
    )


def own_rigid_shape(points: FloatArray, rounds: int = 3) -> FloatArray:
    """The person's rigid points, symmetrised and upright, from [T, 28, 3] with y up; unit: outer eyes."""
    generic = template()[RIGID]
    shape = generic
    for _ in range(rounds):
        fit = similarity(points, np.broadcast_to(shape, points.shape))
        mean = np.median(apply_similarity(points, *fit), axis=0).astype(np.float32)
        mirrored = (mean * np.array([-1, 1, 1], np.float32))[RIGID_MIRROR]
        mean = (mean + apply_similarity(mirrored[None], *_batched(similarity(mirrored, mean)))[0]) / 2
        # Upright: as the generic face stands, so that the axes mean the same for everybody.
        shape = apply_similarity(mean[None], *_batched(similarity(mean, generic)))[0]
    return np.asarray(shape, np.float32)


def neutral_face(
    landmarks_cano: FloatArray, blendshapes: FloatArray, valid: NDArray[np.bool_], share: float = 0.08
) -> FloatArray:
    """The relaxed face with shut lips and open eyes: median of the frames nearest to that, [68, 3].

    Args:
        landmarks_cano: [T, 68, 3].
        blendshapes: [T, 52].
        valid: [T] frames that count.
        share: how many of the valid frames to use (at least 5 where there are as many).
    """
    frames = np.flatnonzero(valid)
    landmarks, shapes = landmarks_cano[frames], blendshapes[frames]
    opening, width = lip_opening(landmarks), lip_width(landmarks)
    # Of the shut mouths those of middle width with little blendshape activity: no smile, pout or press.
    strangeness = _spread(np.abs(width - np.median(width))) + _spread(shapes[:, MOUTH_SHAPES].sum(1))
    n_used = min(len(frames), max(5, round(share * len(frames))))
    shut = opening <= np.sort(opening)[min(len(frames) - 1, 2 * n_used)]
    calm = np.argsort(np.where(shut, strangeness, np.inf), kind="stable")[:n_used]
    neutral = np.median(landmarks[calm], axis=0)
    lids = eye_opening(landmarks).sum(-1)
    awake = lids >= np.quantile(lids, 0.4)
    neutral[EYES] = np.median(landmarks[awake][:, EYES], axis=0)
    return np.asarray(neutral, np.float32)


@cache
def template() -> FloatArray:
    """MediaPipe's canonical face [468, 3]: symmetric, y up, centred between the eyes, unit outer eyes."""
    points = _template_of(model_path())
    corners = points[EYE_OUTER_MESH]
    return np.asarray((points - corners.mean(0)) / np.linalg.norm(corners[1] - corners[0]), np.float32)


def _template_of(task: Path) -> FloatArray:
    """Take the mesh out of the model's protobuf: 468 x (xyz, uv) unpacked floats with one tag."""
    with zipfile.ZipFile(task) as bundle:
        content = np.frombuffer(bundle.read("geometry_pipeline_metadata_landmarks.binarypb"), np.uint8)
    n_values, n_bytes = N_TEMPLATE * 5, N_TEMPLATE * 5 * 5
    for start in range(len(content) - n_bytes):
        tags = content[start : start + n_bytes : 5]
        if tags[0] & 7 == 5 and (tags == tags[0]).all():
            values = content[start : start + n_bytes].reshape(n_values, 5)[:, 1:].tobytes()
            return np.frombuffer(values, "<f4").reshape(N_TEMPLATE, 5)[:, :3]
    raise FormatError(f"{task} holds no canonical face; delete it and run again to fetch it anew")


def _batched(fit: tuple[FloatArray, FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    return fit[0][None], fit[1][None], fit[2][None]


def _spread(values: FloatArray) -> FloatArray:
    """Positive part in units of the values' own spread."""
    return np.asarray(np.maximum(values, 0) / max(float(np.std(values)), 1e-6), np.float32)
