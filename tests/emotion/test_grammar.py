import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emogene.emotion.grammar import parse_emotion
from emogene.emotion.track import EmotionTrack
from emogene.errors import UserError
from tests.emotion.test_track import tracks


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("happy", "0:happy:1"),
        ("Happiness : .7", "0:happy:0.7"),
        ("70% happy", "0:happy:0.7"),
        ("happy:0.5+surprise:0.3", "0:happy:0.5+surprise:0.3"),
        ("0.6 happy + 0.4 surprise", "0:happy:0.6+surprise:0.4"),
        ("happy+sad", "0:happy:0.5+sad:0.5"),
        ("happy:.25+joy:.25", "0:happy:0.5"),
        ("0:neutral, 2.5:happy:0.8, 6:sad", "0:neutral:1, 2.5:happy:0.8, 6:sad:1"),
        ("6s: sad; 1:02.5: 0.5 angry", "6:sad:1, 62.5:angry:0.5"),
        ("sad, 3:0.5 sad + .5*fear", "0:sad:1, 3:fear:0.5+sad:0.5"),
        ("🙂", "0:happy:1"),
    ],
)
def test_what_people_write(text, same_as):
    assert str(parse_emotion(text)) == same_as


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hapy", "did you mean 'happy'"),
        ("happy:-0.1", "dose -0.1 of happy is not possible"),
        ("happy:1.6", "up to 1.5 exaggerates"),
        ("happy:x", "not a dose of happy"),
        ("", "empty part"),
        ("0:sad,,2:happy", "empty part"),
        ("0:sad, happy", "needs a time"),
        ("1:sad, 1:happy", "two emotions begin at 1 s"),
        ("0.7", "no emotion is named"),
        ("3:", "no emotion is named"),
        ("happy:1+sad", "needs a dose"),
        ("happy:1+sad:1", "add up to 2"),
        ("nowhere.json", "cannot read nowhere.json"),
    ],
)
def test_mistakes_are_one_sentence(text, says):
    with pytest.raises(UserError, match=says) as error:
        parse_emotion(text)
    assert "\n" not in str(error.value)


def test_exaggeration_is_allowed_and_said_once(caplog):
    parse_emotion("happy:1.3")
    assert caplog.text.count("exaggerated") == 1
    assert "1.30" in caplog.text


@settings(max_examples=80, deadline=None)
@given(tracks())
def test_a_track_reads_back_from_its_own_text(track):
    again = parse_emotion(str(track))
    times = np.array([key.t_s + 100 for key in track.keys] or [0.0])
    np.testing.assert_allclose(again.weights(times), track.weights(times), atol=1e-6)
    assert [key.doses for key in again.keys if any(key.doses)] == [
        k.doses for k in track.keys if any(k.doses)
    ]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("happysd.:+,;% 0123456789-e🙂\n[]"), max_size=24))
def test_any_text_is_a_track_or_a_user_error(text):
    try:
        track = parse_emotion(text)
    except UserError as error:
        assert str(error)
    else:
        assert isinstance(track, EmotionTrack)
        assert np.isfinite(track.weights([0.0, 1.0])).all()
