"""Metrics on curves and points whose value is known by construction."""

import numpy as np
import pytest

from emogene.evaluate.landmarks import (
    blinks,
    landmark_distance,
    lip_leak,
    match_curves,
    pose_smoothness,
    unit_error,
)
from emogene.geometry.landmarks import MOUTH


def test_landmark_distance_of_a_known_shift() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(0, 160, (5, 68, 2)).astype(np.float32)
    reference[:, 0, 1], reference[:, 1, 1] = 0, 160  # the face is 160 px high: the crop's scale is 1
    assert landmark_distance(reference + 7, reference) == pytest.approx((0, 0), abs=1e-4)
    moved = reference.copy()
    moved[:, MOUTH][:, ::2] += [3, 4]  # half of the mouth 5 px away: 2.5 px each after centring
    assert landmark_distance(moved, reference)[0] == pytest.approx(2.5, abs=1e-3)


def test_lag_and_slope_are_recovered() -> None:
    rng = np.random.default_rng(1)
    curve = np.convolve(rng.standard_normal(300), np.ones(5) / 5, mode="same").astype(np.float32)
    late = np.roll(curve, 3) * 0.5
    match = match_curves(late[10:-10], curve[10:-10])
    assert match.lag_frames == 3 and match.r_at_lag > 0.999
    assert match_curves(0.5 * curve, curve).slope == pytest.approx(0.5, abs=1e-4)
    assert match_curves(np.zeros(50, np.float32), curve[:50]).r == 0


def test_blinks_are_counted_with_their_length() -> None:
    openness = np.ones(25 * 60, dtype=np.float32)
    for start in (100, 500, 900):
        openness[start : start + 5] = 0.1
    assert blinks(openness) == pytest.approx({"per_minute": 3.0, "duration_s": 0.2})


def test_pose_smoothness_of_steady_motion() -> None:
    pose = np.tile(np.eye(4, dtype=np.float32), (50, 1, 1))
    assert pose_smoothness(pose)["velocity_mean"] == 0
    pose[:, 0, 3] = 0.02 * np.arange(50)
    found = pose_smoothness(pose)
    assert found["velocity_mean"] == pytest.approx(0.02, abs=1e-5)
    assert found["acceleration_mean"] == pytest.approx(0, abs=1e-5)


def test_unit_error_knows_upper_from_lower() -> None:
    from emogene.geometry.blendshapes import ARKIT_52

    reference = np.zeros((4, 52), dtype=np.float32)
    units = reference.copy()
    units[:, ARKIT_52.index("browInnerUp")] = 1
    error = unit_error(units, reference)
    assert error["lower"] == 0 and error["upper"] > 0


def test_a_shut_mouth_does_not_leak() -> None:
    face = np.zeros((3, 68, 3), dtype=np.float32)
    face[:, 54, 0] = 0.6
    assert lip_leak(face) == 0
    face[1:, 61:64, 1] = 0.3
    assert lip_leak(face) == pytest.approx(2 / 3)
