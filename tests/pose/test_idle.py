from itertools import pairwise

import numpy as np

from emogene.pose.bank import PoseBank
from emogene.pose.idle import FALLBACK_LENGTHS, idle_lengths, idle_segments, insert_idle, movement, paper_idle


def track(n_frames=300, still=((40, 55), (100, 140), (200, 225))):
    """Poses that move but for some frozen runs."""
    yaw = 0.1 * np.sin(np.arange(n_frames) / 9.0) + 0.013 * np.arange(n_frames)
    for start, stop in still:
        yaw[start:stop] = yaw[start]
    euler = np.stack([0 * yaw, yaw, 0 * yaw], 1)
    return PoseBank.typical().placed(euler, np.zeros((n_frames, 3)))


def test_runs_of_equal_poses_are_measured():
    lengths = idle_lengths(track())
    assert (lengths.shortest, lengths.longest) == (15, 40)
    assert 45 <= lengths.gap <= 62
    assert idle_lengths(track(still=())).longest == FALLBACK_LENGTHS[1]


def test_segments_have_random_lengths_and_a_fixed_gap():
    lengths = idle_lengths(track())
    segments = idle_segments(3000, lengths, np.random.default_rng(0))
    sizes = [end - start + 1 for start, end in segments]
    assert 15 <= min(sizes) < max(sizes) <= 40
    gaps = {after[0] - before[1] - 1 for before, after in pairwise(segments)}
    assert gaps == {lengths.gap}
    assert segments[-1][1] + lengths.gap < 3000


def test_insertion_repeats_the_first_pose_behind_itself():
    poses = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    longer = insert_idle(poses, [(2, 4), (7, 7)])
    assert longer[:, 0, 0].tolist() == [0, 1, 2, 2, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9]


def test_the_papers_idle_lowers_velocity_by_freezing():
    recorded = track()
    sampled = paper_idle(recorded, seed=1)
    assert len(sampled) > len(recorded)
    assert movement(sampled)["velocity_mean"] < movement(recorded)["velocity_mean"]
    np.testing.assert_array_equal(sampled, paper_idle(recorded, seed=1))
