import numpy as np
import pytest

from emogene.errors import UserError
from emogene.pose.bank import PoseBank
from emogene.pose.euler import angles
from emogene.pose.idle import movement
from emogene.pose.sampler import PoseSampler
from emogene.pose.style import PoseStyle, paper, standard, tiny
from emogene.types import EMOTIONS, NEUTRAL


def speech(n_frames, seed=0):
    """Prosody [2T, 3] with syllables at about 4 Hz, and a silent middle third."""
    rng = np.random.default_rng(seed)
    loudness = 0.55 + 0.3 * np.sin(np.arange(2 * n_frames) / 50 * 2 * np.pi * 4 + rng.normal(0, 1))
    loudness[2 * n_frames // 3 : 4 * n_frames // 3] = 0
    return np.stack([0 * loudness, loudness > 0.5, loudness], 1).astype(np.float32)


def emotion(n_frames, label="neutral"):
    weights = np.zeros((n_frames, 8), np.float32)
    weights[:, EMOTIONS.index(label)] = 1
    return weights


def relative(sampler, poses):
    return np.linalg.inv(sampler.bank.rest.astype(np.float64)) @ poses.camera_from_head


@pytest.mark.parametrize("chunks", [[1] * 40 + [160], [7, 93, 100], [199, 1]])
def test_any_chunking_gives_the_same_frames(chunks):
    prosody, weights = speech(200), emotion(200)
    weights[60:] = emotion(140, "fear")
    whole = PoseSampler(PoseBank.typical(), seed=5).sample(prosody, weights)
    parts = PoseSampler(PoseBank.typical(), seed=5)
    start = 0
    for count in chunks:
        stop = start + count
        pose, eyes = parts.sample(prosody[2 * start : 2 * stop], weights[start:stop], start)
        np.testing.assert_allclose(pose.camera_from_head, whole[0].camera_from_head[start:stop], atol=1e-5)
        np.testing.assert_allclose(eyes, whole[1][start:stop], atol=1e-5)
        start = stop


def test_same_seed_same_take_other_seed_another():
    prosody, weights = speech(100), emotion(100)
    takes = [PoseSampler(PoseBank.typical(), seed).sample(prosody, weights)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(takes[0].camera_from_head, takes[1].camera_from_head)
    assert np.abs(takes[0].camera_from_head - takes[2].camera_from_head).max() > 0.01


def test_poses_are_rotations():
    pose, _ = PoseSampler(PoseBank.typical(), 3).sample(speech(100), emotion(100, "angry"))
    rotation = pose.camera_from_head[:, :3, :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (100, 1, 1)), atol=1e-5
    )


def test_idle_is_calm_but_alive_and_speech_moves_more():
    weights = emotion(1500)
    silence = np.zeros((3000, 3), np.float32)
    sampler = PoseSampler(PoseBank.typical(), 0)
    still, eyes = sampler.sample(silence, weights)
    score = movement(still.camera_from_head)
    assert score["velocity_mean"] < 0.0175
    assert score["acceleration_mean"] < 0.0068
    assert score["velocity_mean"] > 0.0005
    euler = np.degrees(angles(relative(sampler, still)[:, :3, :3]))
    assert 0.2 < euler.std(0).max() < 3  # degrees: micro-motion, not frozen
    loud = speech(1500)
    loud[:, 2] = np.maximum(loud[:, 2], 0.3)
    talking = PoseSampler(PoseBank.typical(), 0).sample(loud, weights)[0]
    assert movement(talking.camera_from_head)["velocity_mean"] > 1.5 * score["velocity_mean"]
    assert eyes[:, 0].min() < 0.2  # blinks


def test_no_jump_between_speech_and_silence():
    pose, _ = PoseSampler(PoseBank.typical(), 2).sample(speech(300), emotion(300))
    velocity = np.diff(pose.camera_from_head.reshape(300, 16), axis=0)
    assert np.linalg.norm(velocity, axis=1).max() < 0.15
    assert np.linalg.norm(np.diff(velocity, axis=0), axis=1).max() < 0.06


def test_stressed_syllables_nod():
    prosody = np.zeros((400, 3), np.float32)
    prosody[:, 2] = 0.4
    prosody[200:220, 2] = 1.0  # an accent of .4 s at frame 100
    sampler = PoseSampler(PoseBank.typical(), 0, PoseStyle(head=0))
    pose, _ = sampler.sample(prosody, emotion(200))
    pitch = angles(relative(sampler, pose)[:, :3, :3])[:, 0]
    assert pitch[100:115].max() > pitch[60:98].max() + 0.015


@pytest.mark.parametrize(("label", "axis", "sign"), [("sad", 0, 1), ("contempt", 0, -1), ("disgust", 1, 1)])
def test_emotions_tilt_the_head(label, axis, sign):
    sampler = PoseSampler(PoseBank.typical(), 0)
    silence = np.zeros((1000, 3), np.float32)
    mean = angles(relative(sampler, sampler.sample(silence, emotion(500, label))[0])[:, :3, :3]).mean(0)
    assert sign * mean[axis] > 0.04


def test_eyes_counter_the_head_and_blink_by_emotion():
    silence = np.zeros((6000, 3), np.float32)
    sampler = PoseSampler(PoseBank.typical(), 4, PoseStyle(gaze=0))
    pose, eyes = sampler.sample(silence, emotion(3000))
    yaw = angles(relative(sampler, pose)[:, :3, :3])[:, 1]
    np.testing.assert_allclose(eyes[:, 2], -0.8 * yaw, atol=1e-3)

    def blinks(label):
        shut = PoseSampler(PoseBank.typical(), 4).sample(silence, emotion(3000, label))[1][:, 0] < 0.4
        return int((np.diff(shut.astype(int)) == 1).sum())

    assert blinks("fear") > 1.5 * blinks("neutral") > 1.5 * 1.2 * blinks("surprise")
    assert 15 < blinks("neutral") < 45  # per 2 minutes, .22 per second


def test_recorded_take_plays_forth_and_back():
    pose, _ = PoseSampler(PoseBank.typical(), 1).sample(speech(30), emotion(30))
    bank = PoseBank.from_track(pose.camera_from_head)
    played, _ = PoseSampler(bank, 0, PoseStyle(source="take")).sample(speech(70), emotion(70))
    np.testing.assert_array_equal(played.camera_from_head[:30], pose.camera_from_head)
    np.testing.assert_array_equal(played.camera_from_head[30:58], pose.camera_from_head[1:29][::-1])
    with pytest.raises(UserError, match="needs recorded poses"):
        PoseSampler(PoseBank.typical(), 0, PoseStyle(source="take"))


@pytest.mark.parametrize("style", [standard(), paper(), tiny()])
def test_every_recipe_runs(style):
    bank = PoseBank.from_track(
        PoseSampler(PoseBank.typical(), 1).sample(speech(90), emotion(90))[0].camera_from_head
    )
    pose, eyes = PoseSampler(bank, 0, style).sample(speech(20), emotion(20))
    assert len(pose) == 20
    assert np.isfinite(eyes).all()


def test_odd_feature_counts_and_empty_chunks():
    sampler = PoseSampler(PoseBank.typical())
    assert len(sampler.sample(np.zeros((0, 3), np.float32), np.zeros((0, 8), np.float32))[0]) == 0
    assert len(sampler.sample(np.zeros((5, 3), np.float32), emotion(3))[0]) == 3


def test_style_is_checked():
    with pytest.raises(UserError, match="head"):
        PoseStyle(head=-1)
    with pytest.raises(UserError, match="source"):
        PoseStyle(source="dance")


def test_neutral_weights_are_the_remainder():
    sampler = PoseSampler(PoseBank.typical(), 0)
    bare = np.zeros((50, 8), np.float32)
    silence = np.zeros((100, 3), np.float32)
    full = PoseSampler(PoseBank.typical(), 0).sample(silence, emotion(50))[0]
    np.testing.assert_allclose(
        sampler.sample(silence, bare)[0].camera_from_head, full.camera_from_head, atol=1e-6
    )
    assert emotion(1)[0, NEUTRAL] == 1
