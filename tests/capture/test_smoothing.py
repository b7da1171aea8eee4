from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from emogene.capture.smoothing import ChangeMeter, find_cuts, shots, smooth, smooth_poses, thumbnail


def moving_blob(n: int, jump_at: int | None = None, speed: float = 0.4) -> np.ndarray:
    rows, columns = np.mgrid[:64, :64]
    frames = []
    for index in range(n):
        shift = 20 + speed * index + (18 if jump_at is not None and index >= jump_at else 0)
        frames.append(200 * np.exp(-((rows - 32) ** 2 + (columns - shift) ** 2) / 200))
    return np.array(frames, np.float32)


def cuts_of(frames: np.ndarray) -> list[int]:
    meter = ChangeMeter()
    for frame in frames:
        meter.add(frame)
    return find_cuts(meter.values)


def test_a_jump_is_a_cut_and_movement_is_not() -> None:
    assert cuts_of(moving_blob(40, jump_at=17)) == [17]
    assert cuts_of(moving_blob(40)) == []
    assert cuts_of(moving_blob(20, speed=1.6)) == []
    assert cuts_of(moving_blob(2)) == []


def test_shots_cover_everything_once() -> None:
    assert [(shot.start, shot.stop) for shot in shots(10, [4, 9])] == [(0, 4), (4, 9), (9, 10)]
    assert [(shot.start, shot.stop) for shot in shots(5, [])] == [(0, 5)]


def test_smoothing_keeps_a_cut_sharp() -> None:
    step = np.repeat([0.0, 1.0], 10)[:, None].astype(np.float32)
    np.testing.assert_array_equal(smooth(step, [10], 2.0), step)
    blurred = smooth(step, [], 2.0)
    assert 0.2 < blurred[9, 0] < 0.5


def test_smoothed_poses_are_rotations_and_gaps_are_bridged() -> None:
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (30, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.linspace(0, 0.5, 30)[:, None] * [0, 1, 0]).as_matrix()
    poses[:, 0, 3] = np.linspace(0, 3, 30)
    valid = np.ones(30, bool)
    valid[12:15] = False
    broken = poses.copy()
    broken[12:15, :3, :3] = Rotation.random(3, rng).as_matrix()
    broken[12:15, 0, 3] = 99
    result = smooth_poses(broken, [], 1.0, valid)
    identity = result[:, :3, :3] @ np.swapaxes(result[:, :3, :3], 1, 2)
    np.testing.assert_allclose(identity, np.tile(np.eye(3), (30, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(result[3:27], poses[3:27], atol=2e-3)


def test_thumbnail_is_small_and_grey() -> None:
    frame = np.zeros((90, 120, 3), np.uint8)
    frame[:, 60:] = (30, 60, 90)
    small = thumbnail(frame)
    assert small.shape == (64, 64)
    assert small[0, 0] == 0 and abs(small[0, -1] - 60) < 1


def test_a_cut_away_from_a_shaking_camera_is_found() -> None:
    shaking = [20.0, 22.0, 18.0, 21.0, 23.0, 22.0]
    assert find_cuts([0.0, *shaking, 50.0, 1.0, 0.5, 1.0]) == [7]
    assert find_cuts([0.0, *shaking, 29.0, *shaking, 31.0, *shaking]) == []
