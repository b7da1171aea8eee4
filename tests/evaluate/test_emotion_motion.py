import numpy as np
import pytest

from emogene.evaluate.emotion_classifier import EmotionClassifier, single_label
from emogene.evaluate.emotion_motion import evaluate_emotion, markdown, mean_displacements
from emogene.training.emotion_pairs import read_pairs
from emogene.types import NEUTRAL
from tests.emotion.acting import write_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return read_pairs(write_pairs(tmp_path_factory.mktemp("corpus"), 28, n_frames=40))


def test_classifier_names_true_takes(pairs):
    classifier = EmotionClassifier.fit(pairs, steps=150)
    assert classifier.accuracy(pairs, [pair.emotional for pair in pairs]) > 0.9
    assert classifier.accuracy(pairs, [pair.neutral for pair in pairs]) < 0.2
    assert {single_label(pair) for pair in pairs} == set(range(8)) - {NEUTRAL}


def test_a_linear_system_against_the_one_that_changes_nothing(pairs):
    directions = mean_displacements(pairs)

    def linear(offsets, weights):
        doses = np.array(weights)
        doses[:, NEUTRAL] = 0
        return offsets + np.tensordot(doses, directions, axes=1)

    rows = evaluate_emotion({"unchanged": lambda o, w: o, "linear": linear}, pairs, pairs[:4])
    nothing, simple = rows["unchanged"], rows["linear"]
    assert nothing.error_ratio == pytest.approx(1)
    assert nothing.closure_kept == nothing.opening_r == pytest.approx(1)
    assert nothing.fade_over_held == nothing.fade_over_neutral == pytest.approx(1)
    assert nothing.held_over_neutral == pytest.approx(1)
    assert nothing.transition_peak == 0
    assert simple.speed_of_truth == pytest.approx(1, abs=0.3)
    assert simple.error_ratio < 0.7
    assert simple.dose_spearman == pytest.approx(1)
    assert simple.mixtures_between == 1
    assert simple.neutral_drift == 0
    assert simple.accuracy > nothing.accuracy
    assert "| closure_kept | >= 0.97 |" in markdown(rows)


def test_a_change_that_jumps_is_faster_than_the_emotions_held(pairs):
    directions = mean_displacements(pairs)

    def jumping(offsets, weights):
        doses = np.round(weights)
        doses[:, NEUTRAL] = 0
        return offsets + np.tensordot(doses, directions, axes=1)

    def held_only(offsets, weights):
        return offsets + 0 * jumping(offsets, weights)

    rows = evaluate_emotion({"jumps": jumping, "holds": held_only}, pairs, pairs[:4])
    assert rows["holds"].fade_over_held == pytest.approx(1)
    assert rows["jumps"].fade_over_held > 1
    assert rows["jumps"].transition_peak > rows["holds"].transition_peak
