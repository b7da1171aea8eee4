import numpy as np
import pytest

from emogene.geometry.landmarks import eye_opening
from emogene.pose.eyelids import NARROWED, apply_eyes, shut_share, with_emotion
from emogene.pose.eyes import BLINK_MEMORY, blink_shape, gaze_target, lid_closing
from emogene.types import Identity


def face():
    points = np.zeros((68, 3), np.float32)
    for centre, indices in ((-0.3, (37, 38, 41, 40)), (0.3, (43, 44, 47, 46))):
        for index, (x, y) in zip(
            indices, ((-0.05, 0.05), (0.05, 0.05), (-0.05, -0.05), (0.05, -0.05)), strict=True
        ):
            points[index] = centre + x, y, 0
    return points


def test_the_gap_is_openness_times_what_it_was():
    eyes = np.zeros((3, 4), np.float32)
    eyes[:, 0], eyes[:, 1] = (1, 0, 1.4), (1, 0.5, 0)
    offsets = apply_eyes(np.zeros((3, 68, 3), np.float32), face(), eyes)
    gap = eye_opening(face() + offsets)
    np.testing.assert_allclose(gap, 0.1 * eyes[:, :2], atol=1e-6)
    np.testing.assert_allclose(offsets[0], 0, atol=1e-7)
    moved = np.flatnonzero(np.abs(offsets).sum((0, 2)) > 1e-6)
    assert set(moved) <= {37, 38, 40, 41, 43, 44, 46, 47}
    # the upper lid does most of the way
    assert -offsets[1, 43, 1] > 3 * offsets[1, 47, 1]


def test_a_tracked_person_shuts_as_far_as_the_tracker_showed():
    shut = np.zeros((1, 4), np.float32)
    bank = np.zeros((200, 68, 3), np.float32)
    bank[:10, [37, 38, 43, 44], 1] = -0.075  # blinks: the gap falls from .1 to .025
    empty = np.zeros((68, 3), np.float32)
    person = Identity(face(), empty, empty, empty, bank)
    assert shut_share(person) == pytest.approx(0.25, abs=1e-4)
    offsets = apply_eyes(np.zeros((1, 68, 3), np.float32), face(), shut, shut_share(person))
    np.testing.assert_allclose(eye_opening(face() + offsets), 0.025, atol=1e-4)
    assert shut_share(Identity(face(), empty, empty, empty, bank[:0])) == 0


def test_blinks_and_emotion_multiply():
    blinking, wider, lower = (np.array([row], np.float32) for row in ([1, 0, 0.1, 0], [0.3, 0.3], [0, -0.1]))
    eyes = with_emotion(blinking, wider, lower)
    np.testing.assert_allclose(eyes, [[1.3, 0, 0.1, -0.1]], atol=1e-6)


def test_an_emotion_that_narrows_the_eyes_leaves_them_awake():
    open_eyes, still = np.array([[1.0, 1.0, 0, 0]], np.float32), np.zeros((1, 2), np.float32)
    narrowed = with_emotion(open_eyes, np.full((1, 2), -0.5, np.float32), still)
    np.testing.assert_allclose(narrowed[0, :2], 1.0 - 0.5 * NARROWED, atol=1e-6)
    shut = with_emotion(0 * open_eyes, np.full((1, 2), -0.5, np.float32), still)
    assert not shut[0, :2].any()


def test_a_blink_closes_faster_than_it_opens():
    shape = blink_shape(np.linspace(-0.2, 1.4, 801))
    assert shape[0] == 0
    assert shape.max() > 0.999
    assert shape[-1] < 1e-6
    half = np.flatnonzero(shape > 0.5)
    peak = shape.argmax()
    assert half[-1] - peak > 1.2 * (peak - half[0])


def test_blink_rate_is_what_was_asked_for():
    n_frames = 50_000
    closing = lid_closing(3, 0, n_frames, np.full(n_frames + BLINK_MEMORY, 0.25))
    blinks = (np.diff((closing > 0.5).astype(int)) == 1).sum()
    assert 0.19 < blinks / (n_frames / 25) < 0.27
    assert lid_closing(3, 0, 1000, np.zeros(1000 + BLINK_MEMORY)).max() == 0


def test_gaze_has_fixations_and_quick_saccades():
    gaze = gaze_target(1, 0, 5000)
    speed = np.abs(np.diff(gaze[:, 0]))
    assert (speed < 1e-9).mean() > 0.7  # mostly still
    assert 0.04 < gaze[:, 0].std() < 0.09
    np.testing.assert_array_equal(gaze_target(1, 700, 900), gaze[700:900])
