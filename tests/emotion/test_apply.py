import json

import numpy as np
import pytest
import torch

from emogene.emotion import load_emotion, model
from emogene.emotion.apply import SHIPPED, EmotionModel
from emogene.emotion.model import READ_POINTS, build
from emogene.emotion.track import EmotionTrack
from emogene.errors import FormatError
from emogene.types import EMOTIONS, NEUTRAL


def random_model(recipe=model.tiny):
    """Untrained, but with every parameter away from zero."""
    torch.manual_seed(0)
    network = build(recipe())
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return EmotionModel(network)


def speech(n_frames, seed=0):
    return np.random.default_rng(seed).normal(0, 0.03, (n_frames, 68, 3)).astype(np.float32)


def weights(n_frames, label="happy", dose=1.0):
    return EmotionTrack.constant(label, dose).weights(np.arange(n_frames) / 25)


@pytest.mark.parametrize("recipe", [model.tiny, model.standard, model.paper])
def test_neutral_changes_nothing(recipe):
    acting = random_model(recipe)
    motion = acting.apply(speech(30), weights(30, "neutral"), seed=3)
    np.testing.assert_array_equal(motion.offsets, speech(30))
    assert not motion.eyes_delta.any()
    assert not motion.gaze_delta.any()
    assert motion.head_style.shape == (30, 4)


@pytest.mark.parametrize("recipe", [model.tiny, model.standard, model.paper])
def test_neutral_frames_inside_an_emotional_take_stay_exact(recipe):
    mixed = weights(40)
    mixed[20:] = weights(20, "neutral")
    motion = random_model(recipe).apply(speech(40), mixed)
    np.testing.assert_array_equal(motion.offsets[20:], speech(40)[20:])
    assert np.abs(motion.offsets[:20] - speech(40)[:20]).max() > 0


def test_small_doses_make_small_changes():
    acting = random_model()
    sizes = [
        np.abs(acting.apply(speech(30), weights(30, "sad", dose), variation=0).offsets - speech(30)).mean()
        for dose in (0.001, 0.01, 0.1, 1.0)
    ]
    assert sizes[0] < 0.002 * sizes[3]
    assert sizes == sorted(sizes)


def test_windows_with_context_equal_the_whole_take():
    acting = random_model(model.standard)
    offsets, doses = speech(120), weights(120, "angry")
    doses[60:] = weights(60, "fear", 0.5)
    whole = acting.apply(offsets, doses, seed=9)
    before, behind = acting.context_frames, acting.look_ahead_frames
    assert behind <= 6
    for start in range(0, 120, 25):
        first, last = max(0, start - before), min(120, start + 25 + behind)
        part = acting.apply(offsets[first:last], doses[first:last], seed=9, start_frame=first)
        inside = slice(start - first, min(start + 25, 120) - first)
        np.testing.assert_allclose(part.offsets[inside], whole.offsets[start : start + 25], atol=1e-5)
        np.testing.assert_allclose(part.eyes_delta[inside], whole.eyes_delta[start : start + 25], atol=1e-5)


def test_a_tracker_that_lost_the_face_does_not_tear_ours():
    acting = random_model(model.standard)
    network = acting.network
    true = torch.randn(400, 68, 3) * 0.02
    pure = torch.nn.functional.one_hot(torch.arange(400) % 8, 8).float()
    network.set_bounds(true, torch.zeros(400, 2), pure)
    limit = float(true.abs().max()) * 1.25
    wild = speech(30) + np.where(np.arange(30) == 15, 5.0, 0.0).astype(np.float32)[:, None, None]
    moved = acting.apply(wild, weights(30, "sad"), variation=0).offsets - wild
    # away from the lips, which the lost frame itself may move
    assert np.abs(moved[:, :48]).max() <= limit + 1e-4


def test_seeds_choose_performances():
    acting = random_model()
    takes = [acting.apply(speech(50), weights(50), seed=seed).offsets for seed in (1, 1, 2)]
    np.testing.assert_array_equal(takes[0], takes[1])
    assert np.abs(takes[0] - takes[2]).max() > 1e-3
    still = [acting.apply(speech(50), weights(50), seed=seed, variation=0).offsets for seed in (1, 2)]
    np.testing.assert_array_equal(still[0], still[1])


def test_blinks_in_the_input_are_not_read():
    assert not set(READ_POINTS) & set(range(27, 48))


def test_save_and_load(tmp_path):
    acting = random_model(model.paper)
    acting.save(tmp_path / "model")
    again = EmotionModel.load(tmp_path / "model")
    np.testing.assert_allclose(
        again.apply(speech(10), weights(10)).offsets, acting.apply(speech(10), weights(10)).offsets, atol=2e-2
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [({"format_version": 99}, "newer"), ({"type": "motion"}, "not an emotion model"), ({}, "does not fit")],
)
def test_wrong_files_are_refused(tmp_path, change, says):
    random_model().save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    content = json.loads(path.read_text()) | change
    if not change:
        content["model"]["width"] = 32
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match=says):
        EmotionModel.load(tmp_path / "model")


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="weights"):
        random_model().apply(speech(10), weights(9))
    assert len(random_model().apply(speech(0), weights(0)).offsets) == 0


@pytest.mark.skipif(not (SHIPPED / "config.json").exists(), reason="no weights in this checkout")
def test_shipped_weights_show_each_emotion():
    acting = load_emotion()
    still = np.zeros((20, 68, 3), np.float32)
    faces = {label: acting.apply(still, weights(20, label), variation=0) for label in EMOTIONS}
    size = {label: float(np.linalg.norm(face.offsets[10], axis=-1).max()) for label, face in faces.items()}
    assert size.pop(EMOTIONS[NEUTRAL]) == 0
    assert min(size.values()) > 0.03  # about 3 mm
    corners = {label: face.offsets[10, [48, 54], 1] for label, face in faces.items()}
    brows = {label: face.offsets[10, [21, 22], 1].mean() for label, face in faces.items()}
    assert corners["happy"].min() > 0.05 > 0 > corners["sad"].max()
    assert corners["contempt"][0] > 2 * abs(corners["contempt"][1])  # one-sided
    assert brows["angry"] < -0.03 < 0.03 < brows["surprise"]
    assert faces["surprise"].eyes_delta.min() > 0.1 > -0.05 > faces["sad"].eyes_delta.max()
