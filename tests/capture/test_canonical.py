from __future__ import annotations

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.capture import canonical
from emogene.capture.canonical import CAMERA_FLIP, RIGID, RIGID_MIRROR, canonical_face, neutral_face
from emogene.capture.eyes import eye_stream
from emogene.capture.tracker import N_BLENDSHAPES, Track
from emogene.errors import UserError
from emogene.geometry.landmarks import lip_opening
from tests.capture.synthetic_head import synthetic_head

needs_model = pytest.mark.skipif(
    not is_present("face-landmarker"), reason="the face landmarker was not fetched"
)


def test_mirror_table_pairs_left_with_right() -> None:
    assert (RIGID_MIRROR[RIGID_MIRROR] == np.arange(len(RIGID))).all()


@needs_model
def test_template_is_symmetric_and_in_canonical_units() -> None:
    face = canonical.template()
    assert face.shape == (468, 3)
    np.testing.assert_allclose(face[[33, 263]], [[-0.5, 0, 0], [0.5, 0, 0]], atol=1e-5)
    mirrored = (face[RIGID] * [-1, 1, 1])[RIGID_MIRROR]
    np.testing.assert_allclose(mirrored, face[RIGID], atol=1e-5)
    # Chin below, nose in front.
    assert face[152, 1] < -1 and face[1, 2] > face[33, 2]


@needs_model
def test_head_motion_is_taken_out() -> None:
    """A rigid head in weak perspective: canonical landmarks stand still, the pose is returned."""
    head = synthetic_head(n_frames=50, noise_px=0.0)
    still = np.repeat(head.mesh_cano[:1], 50, axis=0)
    rotation = CAMERA_FLIP @ head.pose[:, :3, :3]
    mesh_px = (np.einsum("tij,tpj->tpi", rotation, still) * 130) @ CAMERA_FLIP + 256
    track = Track(
        mesh_px.astype(np.float32), np.zeros((50, N_BLENDSHAPES), np.float32), np.ones(50, bool), (512, 512)
    )
    face = canonical_face(track)
    assert face.landmarks_cano.std(0).max() < 1e-4
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(face.mesh_cano[:, [33, 263]], axis=1), axis=-1), 1, atol=1e-4
    )
    back = (
        np.einsum("tij,tpj->tpi", face.rotation, face.mesh_cano) * face.scale_px[:, None, None]
    ) @ CAMERA_FLIP
    np.testing.assert_allclose(back + face.origin_px[:, None], track.mesh_px, atol=1e-2)


@needs_model
def test_no_face_at_all_is_the_users_error() -> None:
    empty = Track(
        np.full((3, 478, 3), np.nan, np.float32), np.zeros((3, 52), np.float32), np.zeros(3, bool), (9, 9)
    )
    with pytest.raises(UserError, match="no face"):
        canonical_face(empty)


def test_neutral_is_shut_though_the_mouth_is_mostly_open() -> None:
    head = synthetic_head(n_frames=100, noise_px=0.0)
    landmarks = head.mesh_cano[:, canonical.MESH_FROM_LANDMARK]
    neutral = neutral_face(landmarks, head.track.blendshapes, head.track.valid)
    opening = lip_opening(landmarks)
    assert abs(lip_opening(neutral) - opening.min()) < 0.15 * np.ptp(opening)


def test_eyes_blink_and_look_aside() -> None:
    n = 60
    mesh = np.zeros((n, 478, 3), np.float32)
    for corner, x in ((33, -0.5), (133, -0.2), (362, 0.2), (263, 0.5)):
        mesh[:, corner, 0] = x
    blink = np.zeros(n, np.float32)
    blink[30:33] = 1
    for upper, lower in ((160, 144), (158, 153), (385, 380), (387, 373)):
        mesh[:, upper, 1] = 0.05 * (1 - 0.8 * blink)
        mesh[:, lower, 1] = -0.05 * (1 - 0.8 * blink)
    look = np.where(np.arange(n) >= 40, 0.04, 0.0)
    mesh[:, 468, 0], mesh[:, 473, 0] = -0.35 + look, 0.35 + look
    shapes = np.zeros((n, N_BLENDSHAPES), np.float32)
    shapes[:, 9] = shapes[:, 10] = 0.1 + 0.75 * blink
    eyes = eye_stream(mesh, shapes)
    assert eyes[31, :2].max() < 0.1
    np.testing.assert_allclose(eyes[:20, :2], 1.0, atol=0.05)
    # 0.04 of a 0.13 radius to the person's left.
    np.testing.assert_allclose(eyes[50, 2], np.arcsin(0.04 / 0.13), atol=0.02)
    assert abs(eyes[31, 2]) < 0.02 and np.abs(eyes[:, 3]).max() < 0.05
