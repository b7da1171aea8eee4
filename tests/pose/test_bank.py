import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emogene.pose.bank import NECK_PIVOT, PoseBank
from emogene.pose.euler import angles, matrices, nearest_rotation


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1.4, 1.4), min_size=3, max_size=3))
def test_angles_and_matrices_are_inverse(euler):
    rotation = matrices(np.array(euler))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(angles(rotation), euler, atol=1e-9)
    np.testing.assert_allclose(nearest_rotation(rotation * 1.3), rotation, atol=1e-9)


def test_directions():
    nose, top, left = np.array([0, 0, 1.0]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0])
    assert (matrices(np.array([0.2, 0, 0])) @ nose)[1] < 0  # pitch: the nose goes down
    assert (matrices(np.array([0, 0.2, 0])) @ nose)[0] > 0  # yaw: to the person's left
    assert (matrices(np.array([0, 0, 0.2])) @ left)[1] > 0  # roll: the left side goes up
    assert (matrices(np.array([0, 0, 0.2])) @ top)[0] < 0


def test_the_neck_stays():
    bank = PoseBank.typical()
    poses = bank.placed(np.array([[0.1, 0.2, -0.1], [0, 0, 0]]), np.zeros((2, 3)))
    pivot = poses[:, :3, :3] @ NECK_PIVOT + poses[:, :3, 3]
    np.testing.assert_allclose(pivot[0], pivot[1], atol=1e-5)


def test_bank_from_a_track_finds_rest_and_spread():
    rng = np.random.default_rng(0)
    source = PoseBank.typical(distance=12)
    euler = rng.normal(0, (0.03, 0.06, 0.02), (800, 3))
    poses = source.placed(euler, np.zeros((800, 3)))
    valid = np.ones(800, bool)
    poses[5] = np.nan
    valid[5] = False
    bank = PoseBank.from_track(poses, valid)
    np.testing.assert_allclose(bank.rest[:3, :3], source.rest[:3, :3], atol=0.01)
    np.testing.assert_allclose(bank.euler_sd, (0.03, 0.06, 0.02), rtol=0.15)
    again = PoseBank.from_arrays(bank.arrays())
    np.testing.assert_array_equal(again.track, bank.track)
    with pytest.raises(ValueError, match="at least one"):
        PoseBank.from_track(poses, np.zeros(800, bool))
