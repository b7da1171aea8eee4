"""The measure of the sync expert counts what can be told: speech, and frames in which a face was seen."""

from __future__ import annotations

import numpy as np
import pytest

from emogene.evaluate.motion import Truth
from emogene.evaluate.sync import evaluate_sync, speaking
from emogene.motion.sync import SyncExpert, tiny
from emogene.types import FloatArray


class Knowing(SyncExpert):
    """Sure of the mouth that is written into the first feature, and of nothing in the silence."""

    def similarity(self, features: FloatArray, landmarks: FloatArray) -> FloatArray:
        n = len(landmarks) - self.config.window + 1
        sound, mouth = features[::2, 0][:n], landmarks[:, 60, 1][:n]
        return np.asarray(-np.abs(sound[:, None] - mouth[None]), np.float32)


@pytest.fixture(scope="module")
def expert() -> SyncExpert:
    return Knowing(tiny())


def clip(*, late: int = 0, still: bool = False, silent: slice = slice(0), lost: slice = slice(0)) -> Truth:
    """100 frames of a mouth that follows, but for what is asked."""
    rng = np.random.default_rng(1)
    said = np.cumsum(rng.standard_normal(100)).astype(np.float32)
    offsets = np.zeros((100, 68, 3), np.float32)
    offsets[:, 60, 1] = 0 if still else np.roll(said, late)
    offsets[silent, 60, 1] = rng.permutation(offsets[silent, 60, 1])
    offsets[lost, 60, 1] = 1e3
    level = np.full(100, -20, np.float32)
    level[silent] = -80
    mask = np.ones(100, bool)
    mask[lost] = False
    features = np.repeat(said, 2)[:, None] * np.ones((1, 8), np.float32)
    neutral = np.zeros((68, 3), np.float32)
    return Truth("a", "a", neutral, features, np.zeros((200, 3), np.float32), offsets, mask, level)


def test_a_mouth_that_follows(expert: SyncExpert) -> None:
    table = evaluate_sync(expert, [clip()])
    assert table["against_5"] == table["within_1"] == 1
    assert table["median_offset"] == 0


def test_silence_and_lost_faces_do_not_count(expert: SyncExpert) -> None:
    assert evaluate_sync(expert, [clip(silent=slice(70, 100))])["against_5"] > 0.95
    assert evaluate_sync(expert, [clip(lost=slice(0, 30))])["against_5"] == 1


def test_wrong_mouths(expert: SyncExpert) -> None:
    assert evaluate_sync(expert, [clip(late=4)])["median_offset"] == 4
    assert evaluate_sync(expert, [clip(still=True)])["against_5"] < 0.8
    least = 0.5 * expert.score(clip().features, clip().offsets)[0]
    assert speaking(expert, [clip(), clip(still=True)], least) == ["a"]


def test_nothing_to_judge(expert: SyncExpert) -> None:
    assert np.isnan(evaluate_sync(expert, [])["within_1"])
