import numpy as np
import pytest

from emogene.emotion.apply import EmotionModel
from emogene.errors import UserError
from emogene.training import emotion
from emogene.training.emotion import RECIPES, train_emotion
from emogene.training.emotion_pairs import gaze_table, head_style_table, read_pairs, split_pairs
from emogene.training.loop import read_metrics
from tests.emotion.acting import write_pairs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("corpus"), 18, n_frames=70)


def test_pairs_are_read_aligned_and_split_by_speaker(corpus):
    pairs = read_pairs(corpus)
    assert len(pairs) == 18
    training, held = split_pairs(pairs)
    assert held
    assert not {pair.speaker for pair in training} & {pair.speaker for pair in held}
    pair = pairs[0]
    assert pair.neutral.shape == pair.emotional.shape == (70, 68, 3)
    # same sentence, same moment: the mouth opens together
    opening = [offsets[:, 66, 1] for offsets in (pair.neutral, pair.emotional)]
    assert np.corrcoef(*opening)[0, 1] > 0.8
    table = head_style_table(pairs)
    assert table.shape == (8, 4)
    assert table[6, 0] > 0.03 > 0 > table[7, 0]  # sad heads hang, surprised ones rise
    gaze = gaze_table(pairs)
    assert gaze.shape == (8, 2)
    assert gaze[6, 1] < -0.03  # sad eyes look down
    assert np.abs(np.delete(gaze, 6, axis=0)).max() < 0.03


def test_a_folder_without_pairs_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="no emotion pairs"):
        read_pairs(tmp_path)
    with pytest.raises(UserError, match="unknown recipe"):
        train_emotion(tmp_path, tmp_path / "run", "huge")


def test_training_learns_and_leaves_a_model(corpus, tmp_path):
    scores = train_emotion(corpus, tmp_path / "run", "tiny", steps=40)
    assert scores["error_ratio"] < 0.95
    losses = [row["loss"] for row in read_metrics(tmp_path / "run") if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    acting = EmotionModel.load(tmp_path / "run" / "model")
    pair = read_pairs(corpus)[0]
    moved = acting.apply(pair.neutral, pair.weights).offsets - pair.neutral
    assert moved.shape == (70, 68, 3)
    assert np.abs(moved).max() > 0.01
    more = train_emotion(corpus, tmp_path / "more", "tiny", steps=5, start=acting)
    assert more["error_ratio"] < 1.2 * scores["error_ratio"]


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_takes_two_steps(corpus, tmp_path, recipe):
    scores = train_emotion(corpus, tmp_path / recipe, recipe, steps=2)
    assert np.isfinite(list(scores.values())).all()


def test_variations_keep_what_is_learned(corpus):
    pairs = read_pairs(corpus)
    sampler = emotion._Sampler(pairs, RECIPES["tiny"]())
    batch = sampler.windows(np.random.default_rng(0))
    assert batch.neutral.shape == (4, 24, 68, 3)
    seen = emotion._as_seen(batch.neutral, np.random.default_rng(0))
    assert (seen - batch.neutral).abs()[..., 48:, :].max() < 0.1
    first = sampler.first_frames(np.random.default_rng(0))
    assert first.neutral.shape == (4, 1, 68, 3)
    assert set(first.weights.unique().tolist()) == {0.0, 1.0}
