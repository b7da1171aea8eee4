"""Tracked mesh -> camera, head pose per frame and the person's own 3-D shape (bundle adjustment).

In: mesh_px [T, 478, 3] of one camera. Out: focal length, camera_from_head [T, 4, 4] in canonical units,
landmarks in canonical head space that project exactly onto the tracked pixels.

MediaPipe's own head matrix reprojects with 5.9 px error at 512 px; this reaches about half a pixel.
Unknowns are 6 numbers per frame, 3 per mesh point and the focal length. Poses see only the shape, so
they are eliminated exactly (Schur complement) and Gauss-Newton runs on the shape alone. Points that
expressions move get little weight: each point's weight follows its own residual.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emogene.capture.canonical import CAMERA_FLIP, EYE_OUTER_MESH, N_TEMPLATE, RIGID, CanonicalFace
from emogene.capture.smoothing import smooth_poses
from emogene.capture.tracker import Track
from emogene.geometry.alignment import similarity
from emogene.types import Camera, FloatArray

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]


NOISE_SHARE = 1.0 / 512
"""Movement of points over picture size that the tracker's noise alone makes: smoothing moves a news anchor's
head by .8 px of 512 at most, a lively man's by 5."""


@dataclass(frozen=True)
class PoseConfig:
    """How the bundle adjustment behaves; defaults fit 512 px pictures of a head."""

    focal_guess: float = 2.5
    """Focal length over picture size to start from: head and shoulders cut out of an ordinary video."""
    focal_spread: float = 0.5
    """How far the focal length may be from the guess (standard deviation of its logarithm): a face
    that hardly turns does not tell it."""
    shape_spread: float = 0.04
    """How far points may be from the tracker's own depth and place, canonical units (about 4 mm)."""
    prior_share: float = 0.1
    """Weight of those beliefs relative to all the frames together."""
    n_shape_frames: int = 300
    """Frames, spread over the video, that determine shape and focal length."""
    n_iterations: int = 12
    huber_px: float = 1.5
    sigma_frames: float = 1.0
    """Temporal smoothing of the pose, never across cuts."""


@dataclass(frozen=True)
class PoseFit:
    """Result: camera; pose [T, 4, 4]; shape_cano [468, 3]; weight [468] of each point; rms_px on the
    most rigid third of the points after smoothing."""

    camera: Camera
    pose: FloatArray
    shape_cano: FloatArray
    weight: FloatArray
    rms_px: float


def fit_pose(track: Track, face: CanonicalFace, cuts: list[int], config: PoseConfig | None = None) -> PoseFit:
    """Fit camera, shape and poses to a track.

    Args:
        track: gaps are bridged; their poses are interpolated.
        face: the same track in canonical space, the starting point.
        cuts: first frame of every shot after the first.
        config: see PoseConfig.
    """
    config = config or PoseConfig()
    filled = track.filled()
    size = max(track.size_px)
    centre = np.array(track.size_px, np.float64) / 2
    seen = filled.mesh_px[:, :N_TEMPLATE, :2].astype(np.float64) - centre
    problem = _Problem.start(face, centre, size, config)
    chosen = np.flatnonzero(track.valid)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), config.n_shape_frames)).astype(int)]
    problem.solve_shape(seen, np.unique(chosen))
    problem.solve_poses(seen)
    problem.to_canonical()
    pose = np.tile(np.eye(4), (len(seen), 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = problem.rotation, problem.translation
    before = problem.project(slice(None))[0]
    smoothed = smooth_poses(pose, cuts, config.sigma_frames, track.valid)
    problem.take(smoothed)
    moved = np.linalg.norm(problem.project(slice(None))[0] - before, axis=-1).mean(-1)
    smoothed = unless_moved(pose, smoothed, np.where(track.valid, moved, 0.0) / (NOISE_SHARE * size))
    problem.take(smoothed)
    error = np.square(problem.project(slice(None))[0] - seen)[track.valid].sum(-1).mean(0)
    rms = float(np.sqrt(np.sort(error)[: N_TEMPLATE // 3].mean()))
    camera = Camera(float(np.exp(problem.log_focal)), centre[0], centre[1], *track.size_px)
    logger.info("pose: focal %.0f px, %.2f px rms on the rigid third", camera.focal_px, rms)
    return PoseFit(camera, smoothed, problem.shape.astype(np.float32), problem.weight.astype(np.float32), rms)


def unless_moved(pose: Array, smoothed: FloatArray, moved: Array) -> FloatArray:
    """Smoothed poses [T, 4, 4], but the fitted ones where smoothing moved the head by more than noise does.

    Lively heads, and videos that repeat pictures, move in jumps; smoothed away, heads lie beside their
    pictures (2.1 px rms on a lively man, 1.1 this way, .9 unsmoothed). ``moved`` [T] is in units of noise: up
    to 1 the smoothed pose is taken, from 2 on the fitted one.
    """
    share = np.clip(moved - 1.0, 0.0, 1.0)[:, None, None]
    mixed = np.array(smoothed * (1 - share) + pose * share, np.float64)
    u, _, vt = np.linalg.svd(mixed[:, :3, :3])
    mixed[:, :3, :3] = u @ vt
    return np.asarray(mixed, np.float32)


def mesh_in_head(track: Track, face: CanonicalFace, fit: PoseFit) -> FloatArray:
    """Canonical mesh [T, 478, 3] that projects onto the tracked pixels under the fitted pose.

    Depth comes from the person's shape plus the tracked change of depth; along it, each point is put on
    the ray of its pixel.
    """
    camera = fit.camera
    rest = np.median(face.mesh_cano[track.valid], axis=0)
    guess = face.mesh_cano.copy()
    guess[:, :N_TEMPLATE] += fit.shape_cano - rest[:N_TEMPLATE]
    rotation, translation = fit.pose[:, :3, :3], fit.pose[:, :3, 3]
    depth = np.einsum("tj,tpj->tp", rotation[:, 2], guess) + translation[:, 2:3]
    pixels = track.filled().mesh_px[..., :2] - np.array([camera.cx_px, camera.cy_px], np.float32)
    seen = np.concatenate([pixels / camera.focal_px, np.ones_like(pixels[..., :1])], -1) * depth[..., None]
    return np.asarray(np.einsum("tji,tpj->tpi", rotation, seen - translation[:, None]), np.float32)


@dataclass
class _Problem:
    """State of the adjustment: X_cam = rotation X + translation, u = focal X_cam / Z_cam."""

    rotation: Array
    translation: Array
    shape: Array
    belief: Array
    log_focal: float
    believed_log_focal: float
    weight: Array
    config: PoseConfig

    @classmethod
    def start(cls, face: CanonicalFace, centre: Array, size: int, config: PoseConfig) -> _Problem:
        log_focal = float(np.log(config.focal_guess * size))
        shape = np.median(face.mesh_cano[:, :N_TEMPLATE], axis=0).astype(np.float64)
        depth = np.exp(log_focal) / face.scale_px.astype(np.float64)
        middle = (face.origin_px[:, :2] - centre) / face.scale_px[:, None]
        rotation = CAMERA_FLIP.astype(np.float64) @ face.rotation
        weight = np.full(N_TEMPLATE, 0.1)
        weight[RIGID] = 1.0
        translation = np.concatenate([middle, depth[:, None]], 1)
        return cls(rotation, translation, shape, shape.copy(), log_focal, log_focal, weight, config)

    def take(self, poses: FloatArray) -> None:
        """Make these [T, 4, 4] the poses."""
        self.rotation = poses[:, :3, :3].astype(np.float64)
        self.translation = poses[:, :3, 3].astype(np.float64)

    def project(self, frames: slice | NDArray[np.intp]) -> tuple[Array, Array]:
        """Pixels relative to the centre [n, P, 2], and points in camera space [n, P, 3]."""
        points = self.shape @ np.swapaxes(self.rotation[frames], 1, 2) + self.translation[frames][:, None]
        return np.exp(self.log_focal) * points[..., :2] / points[..., 2:], points

    def solve_shape(self, seen: Array, frames: NDArray[np.intp]) -> None:
        """Gauss-Newton on shape, focal length and the poses of some frames."""
        for iteration in range(self.config.n_iterations):
            projected, points = self.project(frames)
            residual = projected - seen[frames]
            if iteration >= 2:
                # Each point's weight is the inverse of its own variance: lips and jaw count little.
                variance = np.square(residual).sum(-1).mean(0)
                self.weight = 1.0 / np.square(variance + 0.1)
                self.weight /= self.weight.max()
            self._step(frames, residual, points)

    def _step(self, frames: NDArray[np.intp], residual: Array, points: Array) -> None:
        weight = self._robust(residual)
        by_pose, by_shape, by_focal = self._jacobians(frames, points)
        n, n_shape = len(frames), 3 * N_TEMPLATE
        weighted_pose = by_pose * weight[..., None, None]
        pose_block = np.einsum("npki,npkj->nij", weighted_pose, by_pose) + 1e-6 * np.eye(6)
        cross = np.empty((n, 6, n_shape + 1))
        cross[..., :-1] = np.einsum("npki,npkj->nipj", weighted_pose, by_shape).reshape(n, 6, n_shape)
        cross[..., -1] = np.einsum("npki,npk->ni", weighted_pose, by_focal)
        pose_gradient = np.einsum("npki,npk->ni", weighted_pose, residual)
        system, gradient = self._shape_system(weight, by_shape, by_focal, residual)
        # Schur complement: what poses can explain is taken out of the shape's equations.
        solved = np.linalg.solve(pose_block, np.concatenate([cross, pose_gradient[..., None]], -1))
        flat = cross.reshape(n * 6, -1)
        system -= flat.T @ solved[..., :-1].reshape(n * 6, -1)
        gradient -= flat.T @ solved[..., -1].reshape(-1)
        update = -np.linalg.solve(system, gradient)
        self.shape += update[:-1].reshape(N_TEMPLATE, 3)
        self.log_focal += float(np.clip(update[-1], -0.3, 0.3))
        self._move_poses(frames, -(solved[..., -1] + solved[..., :-1] @ update))

    def _shape_system(
        self, weight: Array, by_shape: Array, by_focal: Array, residual: Array
    ) -> tuple[Array, Array]:
        """Normal equations [3P + 1, 3P + 1] of shape and log focal length, with their beliefs."""
        n_shape = 3 * N_TEMPLATE
        weighted = by_shape * weight[..., None, None]
        system = np.zeros((n_shape + 1, n_shape + 1))
        blocks = np.einsum("npki,npkj->pij", weighted, by_shape)
        # A shift of a point by shape_spread counts like as many pixels in a share of all frames.
        stiffness = self.config.prior_share * blocks[:, :2, :2].trace(axis1=1, axis2=2) / 2
        stiffness = np.maximum(stiffness, stiffness.max() * 1e-3)
        noise = 0.005 / self.config.shape_spread
        blocks += (stiffness * noise**2)[:, None, None] * np.eye(3)
        index = np.arange(n_shape).reshape(N_TEMPLATE, 3)
        system[index[:, :, None], index[:, None, :]] = blocks
        system[:-1, -1] = np.einsum("npki,npk->pi", weighted, by_focal).ravel()
        system[-1, :-1] = system[:-1, -1]
        focal_weight = self.config.prior_share * float(weight.sum()) / self.config.focal_spread**2
        system[-1, -1] = np.einsum("np,npk,npk->", weight, by_focal, by_focal) + focal_weight
        gradient = np.empty(n_shape + 1)
        pull = (stiffness * noise**2)[:, None] * (self.shape - self.belief)
        gradient[:-1] = (np.einsum("npki,npk->pi", weighted, residual) + pull).ravel()
        gradient[-1] = np.einsum("np,npk,npk->", weight, by_focal, residual)
        gradient[-1] += focal_weight * (self.log_focal - self.believed_log_focal)
        return system, gradient

    def solve_poses(self, seen: Array, chunk: int = 200) -> None:
        """Gauss-Newton on the poses of all frames with shape and camera fixed."""
        for start in range(0, len(seen), chunk):
            frames = np.arange(start, min(start + chunk, len(seen)))
            for _ in range(self.config.n_iterations):
                projected, points = self.project(frames)
                residual = projected - seen[frames]
                weight = self._robust(residual)
                by_pose = self._jacobians(frames, points)[0]
                weighted = by_pose * weight[..., None, None]
                block = np.einsum("npki,npkj->nij", weighted, by_pose) + 1e-6 * np.eye(6)
                gradient = np.einsum("npki,npk->ni", weighted, residual)
                self._move_poses(frames, -np.linalg.solve(block, gradient[..., None])[..., 0])

    def to_canonical(self) -> None:
        """Move the free scale, place and turn of the solution to the canonical head space."""
        scale, rotation, shift = (
            np.asarray(x, np.float64) for x in similarity(self.shape[RIGID], self.belief[RIGID])
        )
        shape = scale * self.shape @ rotation.T + shift
        corners = shape[EYE_OUTER_MESH]
        unit, origin = np.linalg.norm(corners[1] - corners[0]), corners.mean(0)
        self.shape, scale, shift = (shape - origin) / unit, scale / unit, (shift - origin) / unit
        self.rotation = self.rotation @ rotation.T
        self.translation = scale * self.translation - self.rotation @ shift

    def _robust(self, residual: Array) -> Array:
        """[n, P] weights: of the point, less for large errors (Huber)."""
        size = np.sqrt(np.square(residual).sum(-1))
        return np.asarray(self.weight * np.minimum(1.0, self.config.huber_px / np.maximum(size, 1e-9)))

    def _jacobians(self, frames: NDArray[np.intp], points: Array) -> tuple[Array, Array, Array]:
        """Derivatives of pixels: by turn and shift [n, P, 2, 6], by point [n, P, 2, 3], by log focal."""
        focal = np.exp(self.log_focal)
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        by_point = np.zeros((*points.shape[:2], 2, 3))
        by_point[..., 0, 0] = by_point[..., 1, 1] = focal / z
        by_point[..., 0, 2], by_point[..., 1, 2] = -focal * x / z**2, -focal * y / z**2
        turned = points - self.translation[frames][:, None]
        # d(R X)/d(turn) = -[R X]x
        by_turn = np.cross(turned[:, :, None, :], by_point)
        by_pose = np.concatenate([by_turn, by_point], -1)
        return by_pose, by_point @ self.rotation[frames][:, None], focal * points[..., :2] / z[..., None]

    def _move_poses(self, frames: NDArray[np.intp], update: Array) -> None:
        from scipy.spatial.transform import Rotation

        turn = Rotation.from_rotvec(update[:, :3]).as_matrix()
        self.rotation[frames] = turn @ self.rotation[frames]
        self.translation[frames] += update[:, 3:]
