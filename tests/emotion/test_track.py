import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emogene.emotion.track import EmotionKey, EmotionTrack, doses_of
from emogene.errors import UserError
from emogene.types import NEUTRAL

TIMES = np.arange(200) / 25


@st.composite
def tracks(draw):
    """Tracks with times on the millisecond and mixtures whose doses sum to at most 1."""
    times = draw(st.lists(st.integers(0, 8000), max_size=6, unique=True))
    keys = []
    for time in times:
        raw = draw(st.lists(st.integers(0, 1000), min_size=8, max_size=8))
        total = max(sum(raw), 1000)
        doses = [0.0 if index == NEUTRAL else value / total for index, value in enumerate(raw)]
        fade = draw(st.sampled_from([0.0, 0.2, 0.5, 1.7]))
        keys.append(EmotionKey(time / 1000, tuple(doses), fade))
    return EmotionTrack(tuple(keys))


@settings(max_examples=60, deadline=None)
@given(tracks())
def test_weights_are_a_mixture_at_every_time(track):
    weights = track.weights(TIMES)
    assert weights.shape == (200, 8)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(tracks(), st.integers(0, 199))
def test_a_moment_does_not_depend_on_the_other_times_asked_for(track, index):
    alone = track.weights(TIMES[index : index + 1])
    np.testing.assert_allclose(track.weights(TIMES)[index], alone[0], atol=1e-6)


def test_a_transition_is_smooth_and_begins_at_its_key():
    track = EmotionTrack((EmotionKey(0, doses_of({"sad": 1})), EmotionKey(2, doses_of({"happy": 1}), 0.4)))
    happy = track.weights(np.arange(0, 4, 0.001))[:, 4]
    assert happy[:2000].max() == 0
    assert happy[2400:].min() == 1
    velocity = np.diff(happy) / 0.001
    assert velocity.min() >= -1e-3
    assert np.abs(np.diff(velocity)).max() < 0.1  # C1: no jump of the velocity


def test_before_the_first_key_the_face_is_neutral():
    weights = EmotionTrack((EmotionKey(3, doses_of({"fear": 1})),)).weights([0, 2.99, 5])
    np.testing.assert_allclose(weights[:, NEUTRAL], [1, 1, 0], atol=1e-4)


def test_scaling():
    track = EmotionTrack.constant("joy", 0.8)
    np.testing.assert_allclose(track.scaled(0.5).weights([0])[0, 4], 0.4)
    assert track.scaled(0).weights([0])[0, NEUTRAL] == 1
    capped = track.limited({"joy": 0.3, "sad": 0.1}).weights([0])
    np.testing.assert_allclose(capped[0, [4, NEUTRAL]], [0.3, 0.7], atol=1e-6)
    assert track.limited({}) == track
    for wrong in (-1, 2, float("nan")):
        with pytest.raises(UserError):
            track.scaled(wrong)


def test_exaggeration_is_allowed_up_to_a_limit():
    assert EmotionTrack.constant("happy", 1.5).largest_dose == 1.5
    assert EmotionTrack().largest_dose == 0
    for wrong in (1.51, -0.1, float("inf")):
        with pytest.raises(UserError, match="happy"):
            EmotionTrack.constant("happy", wrong)
    with pytest.raises(UserError, match="add up"):
        doses_of({"happy": 1, "sad": 1})


def test_a_key_can_be_added_while_playing():
    track = EmotionTrack.constant("sad").with_key(EmotionKey(1, doses_of({"happy": 1})))
    track = track.with_key(EmotionKey(1, doses_of({"angry": 1})))
    assert str(track) == "0:sad:1, 1:angry:1"


def test_impossible_keys():
    for key in ((-1, 0.5), (float("nan"), 0.5), (0, -1), (0, 1e9)):
        with pytest.raises(UserError):
            EmotionKey(key[0], doses_of({}), key[1])
    with pytest.raises(UserError, match="two emotions begin"):
        EmotionTrack((EmotionKey(1, doses_of({})), EmotionKey(1, doses_of({"sad": 1}))))
