from __future__ import annotations

from dataclasses import replace

import numpy as np

from emogene.capture.canonical import N_TEMPLATE
from emogene.capture.pose import PoseConfig, fit_pose, mesh_in_head, unless_moved
from tests.capture.synthetic_head import synthetic_head

CONFIG = PoseConfig(focal_guess=2.0, sigma_frames=0.0, n_iterations=8)


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between rotations [T, 3, 3]."""
    trace = np.einsum("tij,tij->t", a.astype(np.float64), b.astype(np.float64))
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def test_poses_and_pixels_are_recovered() -> None:
    head = synthetic_head(n_frames=40)
    fit = fit_pose(head.track, head.weak_face(), [], CONFIG)
    # The noise alone has 0.3 px per axis.
    assert fit.rms_px < 0.5
    assert angle_deg(fit.pose[:, :3, :3], head.pose[:, :3, :3]).mean() < 1.0
    # Depth and focal length trade off; their ratio, the size of the face, must be right.
    size = fit.camera.focal_px / fit.pose[:, 2, 3]
    np.testing.assert_allclose(size, head.camera.focal_px / head.pose[:, 2, 3], rtol=0.03)
    # A mouth that moves must count less than the skull.
    mouth = np.zeros(N_TEMPLATE, bool)
    moving = head.mesh_cano[:, :N_TEMPLATE, 1].std(0) > 0.01
    mouth[moving] = True
    assert fit.weight[mouth].mean() < 0.2 * fit.weight[~mouth].mean()


def test_landmarks_project_onto_the_tracked_pixels() -> None:
    head = synthetic_head(n_frames=20)
    face = head.weak_face()
    fit = fit_pose(head.track, face, [], CONFIG)
    mesh = mesh_in_head(head.track, face, fit)
    seen = np.einsum("tij,tpj->tpi", fit.pose[:, :3, :3], mesh) + fit.pose[:, None, :3, 3]
    pixels = fit.camera.focal_px * seen[..., :2] / seen[..., 2:] + [fit.camera.cx_px, fit.camera.cy_px]
    np.testing.assert_allclose(pixels, head.track.mesh_px[..., :2], atol=1e-2)
    # The mouth's own motion survives: amplitude and phase.
    lip = int(np.argmax(head.mesh_cano[:, :, 1].std(0)))
    true = head.mesh_cano[:, lip, 1] - head.mesh_cano[:, lip, 1].mean()
    ours = mesh[:, lip, 1] - mesh[:, lip, 1].mean()
    assert np.corrcoef(true, ours)[0, 1] > 0.99
    assert 0.9 < (true @ ours) / (true @ true) < 1.1


def test_a_frame_without_a_face_takes_its_neighbours_pose() -> None:
    head = synthetic_head(n_frames=20)
    valid = np.ones(20, bool)
    valid[9:11] = False
    mesh_px = head.track.mesh_px.copy()
    mesh_px[~valid] = np.nan
    track = replace(head.track, mesh_px=mesh_px, valid=valid)
    fit = fit_pose(track, head.weak_face(), [], CONFIG)
    assert np.isfinite(fit.pose).all()
    assert angle_deg(fit.pose[9:11, :3, :3], head.pose[9:11, :3, :3]).max() < 4


def test_jumps_of_the_head_are_not_smoothed_away() -> None:
    fitted = np.tile(np.eye(4), (3, 1, 1))
    fitted[:, 0, 3] = 1.0
    smoothed = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
    mixed = unless_moved(fitted, smoothed, np.array([0.5, 1.5, 3.0]))
    np.testing.assert_allclose(mixed[:, 0, 3], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(mixed[:, :3, :3], np.tile(np.eye(3), (3, 1, 1)), atol=1e-6)
