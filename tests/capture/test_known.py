"""What a video shows of an emotion."""

import numpy as np
import pytest

from emogene.capture.known import known_emotions, shown_dose
from emogene.emotion.apply import EmotionModel
from emogene.types import EMOTIONS


def speech(frames: int) -> np.ndarray:
    """Lips that open and shut, and a little noise."""
    rng = np.random.default_rng(0)
    offsets = 0.002 * rng.normal(size=(frames, 68, 3)).astype(np.float32)
    offsets[:, 55:60, 1] -= 0.04 * np.abs(np.sin(np.arange(frames) / 3))[:, None]
    return offsets


def test_a_dose_is_found_where_enough_frames_show_it():
    smile = np.zeros((68, 3), np.float32)
    smile[[48, 54], 1], smile[48, 0], smile[54, 0] = 0.1, -0.06, 0.06
    offsets = speech(400)
    assert shown_dose(offsets, smile) == 0.0
    offsets[:100] += 0.8 * smile
    assert shown_dose(offsets, smile) == pytest.approx(0.8, abs=0.1)
    offsets[10:100] -= 0.8 * smile
    assert shown_dose(offsets, smile) == 0.0, "ten frames teach nothing"


def test_only_what_the_video_shows_is_known():
    emotion = EmotionModel.load()
    offsets = speech(300)
    assert set(known_emotions(offsets, emotion).values()) == {0.0}
    weights = np.zeros((100, len(EMOTIONS)), np.float32)
    weights[:, EMOTIONS.index("happy")] = 1.0
    offsets[200:] = emotion.apply(offsets[200:], weights, seed=0).offsets
    known = known_emotions(offsets, emotion)
    assert known["happy"] == 1.0 and known["sad"] == known["angry"] == 0.0
