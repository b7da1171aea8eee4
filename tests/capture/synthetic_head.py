"""A made-up rigid head with a moving mouth, seen by a known camera: exact ground truth for capture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from emogene.capture.canonical import CAMERA_FLIP, RIGID, RIGID_MIRROR, CanonicalFace
from emogene.capture.tracker import N_BLENDSHAPES, N_MESH, Track
from emogene.geometry.landmarks import MESH_FROM_LANDMARK, MOUTH
from emogene.types import Camera, FloatArray


@dataclass(frozen=True)
class SyntheticHead:
    """Canonical mesh [T, 478, 3], poses [T, 4, 4], the camera, and the track that it sees."""

    mesh_cano: FloatArray
    pose: FloatArray
    camera: Camera
    track: Track

    def weak_face(self) -> CanonicalFace:
        """What Procrustes would say: the true mesh with the turn and the size of weak perspective."""
        depth = self.pose[:, 2, 3]
        origin = np.zeros((len(depth), 3), np.float32)
        origin[:, :2] = self.camera.focal_px * self.pose[:, :2, 3] / depth[:, None]
        origin[:, :2] += (self.camera.cx_px, self.camera.cy_px)
        rotation = (CAMERA_FLIP @ self.pose[:, :3, :3]).astype(np.float32)
        scale = (self.camera.focal_px / depth).astype(np.float32)
        neutral = self.mesh_cano[0, MESH_FROM_LANDMARK]
        return CanonicalFace(self.mesh_cano, neutral, rotation, scale, origin)


def synthetic_head(n_frames: int = 60, noise_px: float = 0.3, seed: int = 0) -> SyntheticHead:
    """A symmetric point head turning by up to 15 degrees, its mouth opening with period 10."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform([-0.8, -1.4, -0.2], [0.8, 0.9, 0.3], (N_MESH, 3))
    shape[:, 2] += 0.4 - 0.6 * shape[:, 0] ** 2
    mirrored = RIGID[RIGID_MIRROR]
    shape[RIGID] = (shape[RIGID] + shape[mirrored] * [-1, 1, 1]) / 2
    shape[33], shape[263] = (-0.5, 0, 0), (0.5, 0, 0)
    mesh = np.repeat(shape[None], n_frames, axis=0)
    mouth = MESH_FROM_LANDMARK[MOUTH]
    opening = 0.1 * (1 - np.cos(2 * np.pi * np.arange(n_frames) / 10))
    mesh[:, mouth, 1] -= opening[:, None] * rng.uniform(0.3, 1.0, len(mouth))
    time = np.linspace(0, 2 * np.pi, n_frames)
    turns = Rotation.from_euler(
        "yxz", np.stack([0.25 * np.sin(time), 0.15 * np.cos(2 * time), 0.1 * np.sin(time)], 1)
    )
    pose = np.tile(np.eye(4), (n_frames, 1, 1))
    pose[:, :3, :3] = CAMERA_FLIP @ turns.as_matrix()
    pose[:, :3, 3] = np.stack([0.3 * np.sin(time), 0.2 * np.cos(time), 9 + 0.3 * np.sin(time)], 1)
    camera = Camera(1200.0, 256.0, 256.0, 512, 512)
    seen = np.einsum("tij,tpj->tpi", pose[:, :3, :3], mesh) + pose[:, None, :3, 3]
    pixels = camera.focal_px * seen[..., :2] / seen[..., 2:] + 256
    pixels += rng.normal(0, noise_px, pixels.shape)
    depth = (seen[..., 2:] - 9) * camera.focal_px / 9
    mesh_px = np.concatenate([pixels, depth], -1).astype(np.float32)
    blendshapes = np.zeros((n_frames, N_BLENDSHAPES), np.float32)
    track = Track(mesh_px, blendshapes, np.ones(n_frames, bool), (512, 512))
    return SyntheticHead(mesh.astype(np.float32), pose.astype(np.float32), camera, track)
