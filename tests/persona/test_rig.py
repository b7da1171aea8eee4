from __future__ import annotations

import numpy as np
import pytest

from emogene.geometry.blendshapes import N_UNITS, UNIT_MIRROR, units_row
from emogene.geometry.landmarks import MIRROR, OUTER_EYE_CORNERS, eye_opening, lip_opening, lip_width
from emogene.persona.identity import HeadShape, local_pairs, macro_names
from emogene.persona.rig import LandmarkRig

FLIP_X = np.array([-1, 1, 1])


@pytest.fixture(scope="module")
def rig() -> LandmarkRig:
    return LandmarkRig.load()


def test_canonical_space(rig: LandmarkRig) -> None:
    neutral = rig.sampled_face(4).neutral_cano
    corners = neutral[list(OUTER_EYE_CORNERS)]
    np.testing.assert_allclose(corners.mean(0), 0, atol=1e-6)
    assert np.linalg.norm(corners[1] - corners[0]) == pytest.approx(1, abs=1e-6)
    assert corners[1, 0] > 0, "the person's left is +x"
    assert neutral[8, 1] < -1, "the chin is below"
    assert neutral[30, 2] > neutral[0, 2], "the nose points out of the face"


def test_faces_are_mirror_images_of_themselves(rig: LandmarkRig) -> None:
    rng = np.random.default_rng(0)
    for seed in range(3):
        face = rig.sampled_face(seed)
        units = rng.uniform(0, 0.5, (4, N_UNITS)).astype(np.float32)
        moved = face.landmarks_cano(units)
        mirrored = face.landmarks_cano(units[:, UNIT_MIRROR])
        np.testing.assert_allclose(mirrored, moved[:, MIRROR] * FLIP_X, atol=2e-3)


def test_people_differ_and_shut_their_mouths(rig: LandmarkRig) -> None:
    faces = [rig.sampled_face(seed).neutral_cano for seed in range(20)]
    assert np.std(np.stack(faces), axis=0).mean() > 0.01
    assert max(abs(lip_opening(face)) for face in faces) < 0.01
    np.testing.assert_array_equal(rig.sampled_face(7).neutral_cano, faces[7])


def test_units_do_what_they_say(rig: LandmarkRig) -> None:
    face = rig.face()
    neutral = face.neutral_cano

    def moved(**units: float) -> np.ndarray:
        return face.landmarks_cano(units_row(units)[None])[0]

    assert lip_opening(moved(jawOpen=1)) * face.unit_mm == pytest.approx(32.5, abs=2)
    assert lip_width(moved(mouthPucker=1)) < lip_width(neutral) < lip_width(moved(mouthSmile=1))
    assert moved(mouthSmileLeft=1)[54, 1] > neutral[54, 1] + 0.05
    left, right = eye_opening(moved(eyeBlinkLeft=1)) / eye_opening(neutral)
    assert left < 0.1 and right == pytest.approx(1, abs=0.05)


def test_pose_turns_the_head_where_it_should(rig: LandmarkRig) -> None:
    face = rig.face()
    camera = face.camera(512)
    nose = np.append(face.neutral_cano[30], 1)

    def pixel(euler: tuple[float, float, float]) -> np.ndarray:
        pose = face.camera_from_head(np.array([euler]), np.zeros((1, 3)))[0]
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-6)
        x, y, z = (pose @ nose)[:3]
        return np.array([camera.focal_px * x / z + camera.cx_px, camera.focal_px * y / z + camera.cy_px])

    rest = pixel((0, 0, 0))
    assert pixel((0.2, 0, 0))[1] > rest[1] + 5, "positive pitch looks down"
    assert pixel((0, 0.2, 0))[0] > rest[0] + 5, "positive yaw looks to the person's left"
    assert rest[0] == pytest.approx(256, abs=0.5)


def test_shape_weights_are_shares() -> None:
    weights = HeadShape(male=0.3, age=0.25, muscle=0.6, weight=0.4).macro_weights()
    assert set(weights) <= set(macro_names())
    assert sum(value for name, value in weights.items() if name.startswith("universal")) == pytest.approx(1)
    assert sum(value for name, value in weights.items() if "universal" not in name) == pytest.approx(1)


def test_left_and_right_targets_are_one_feature() -> None:
    pairs = local_pairs(
        ["l-eye-up", "l-eye-down", "r-eye-up", "r-eye-down", "chin-in", "chin-out", "alone-incr"]
    )
    assert pairs["eye"] == (("l-eye-up", "r-eye-up"), ("l-eye-down", "r-eye-down"))
    assert set(pairs) == {"eye", "chin"}
