"""A mouth that surprise opens: in proportion to speech, and in rests."""

import numpy as np

from emogene.emotion.gape import HANGING, REACH_FRAMES, WIDER, gape
from emogene.types import EMOTIONS, FloatArray

INNER_UPPER, INNER_LOWER = [61, 62, 63], [67, 66, 65]


def speech(opening: FloatArray) -> FloatArray:
    offsets = np.zeros((len(opening), 68, 3), np.float32)
    offsets[:, INNER_LOWER, 1] = -opening[:, None]
    return offsets


def gap(offsets: FloatArray) -> FloatArray:
    return (offsets[:, INNER_UPPER, 1] - offsets[:, INNER_LOWER, 1]).mean(1)


def doses(label: str, n: int, dose: float = 1.0) -> FloatArray:
    weights = np.zeros((n, len(EMOTIONS)), np.float32)
    weights[:, EMOTIONS.index(label)] = dose
    return weights


def spoken() -> FloatArray:
    """Syllables of 6 frames with shut lips between, then silence."""
    syllables = 0.1 * np.maximum(np.sin(np.arange(64) * 2 * np.pi / 12), 0.0)
    return np.concatenate([syllables, np.zeros(60)]).astype(np.float32)


def test_speech_opens_wider_and_shut_lips_stay_shut() -> None:
    opening = spoken()
    result = gap(gape(speech(opening), speech(opening), doses("surprise", len(opening))))[8:50]
    opening = opening[8:50]
    talking = opening > 0.05
    np.testing.assert_allclose(result[talking], (1 + WIDER["surprise"]) * opening[talking], rtol=0.05)
    np.testing.assert_allclose(result[opening == 0], 0.0, atol=1e-6)


def test_the_mouth_hangs_open_where_nothing_is_said_and_gets_there_slowly() -> None:
    opening = spoken()
    result = gap(gape(speech(opening), speech(opening), doses("surprise", len(opening))))
    np.testing.assert_allclose(result[-20:], HANGING["surprise"], rtol=0.01)
    assert np.abs(np.diff(result)[66:]).max() < 0.4 * HANGING["surprise"]
    half = gap(gape(speech(opening), speech(opening), doses("surprise", len(opening), 0.5)))
    np.testing.assert_allclose(half[-20:], 0.5 * HANGING["surprise"], rtol=0.01)


def test_other_emotions_are_as_they_were_and_windows_agree() -> None:
    opening = spoken()
    motion = speech(opening)
    assert gape(motion, motion, doses("sad", len(opening))) is motion
    whole = gape(motion, motion, doses("surprise", len(opening)))
    part = slice(40, 90)
    window = gape(motion[part], motion[part], doses("surprise", 50))
    inner = slice(REACH_FRAMES, -REACH_FRAMES)
    np.testing.assert_allclose(window[inner], whole[part][inner], atol=1e-6)
