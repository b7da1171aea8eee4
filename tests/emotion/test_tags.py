import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emogene.emotion.tags import has_tags, parse_tags
from emogene.errors import UserError


def named(tagged):
    """Marks as {word: text of the mixture}."""
    track = tagged.track(word_starts_s=[float(index) for index in range(len(tagged.words))])
    return str(track)


def test_tags_hold_until_the_next_one():
    tagged = parse_tags("Well, [happy:0.7] I found it! [sad+fear:0.2] And lost it. [/] Bye.")
    assert tagged.text == "Well, I found it! And lost it. Bye."
    assert named(tagged) == "0.8:happy:0.7, 3.8:fear:0.2+sad:0.8, 6.8:neutral:1"


def test_emoji_colour_their_sentence():
    assert named(parse_tags("I found it! 🙂 But then. 😢 And so")) == "0:happy:1, 2.8:sad:1, 4.8:neutral:1"
    assert named(parse_tags("😮 Hello there")) == "0:surprise:1"


def test_ssml_subset():
    tagged = parse_tags(
        '<speak>Hi <mstts:express-as style="cheerful" styledegree="0.7">found it</mstts:express-as>'
        ' now <break time="1s"/></speak>'
    )
    assert tagged.text == "Hi found it now"
    assert named(tagged) == "0.8:happy:0.7, 2.8:neutral:1"
    assert named(parse_tags('<express-as style="sad" styledegree="2">a</express-as>')) == "0:sad:1.5"


def test_times_by_letters():
    track = parse_tags("[sad] aaaa. bbbb. [happy] cccc. dddd.").track(duration_s=8.0)
    assert [round(key.t_s, 2) for key in track.keys] == [0.0, 3.8]


def test_unknown_tags():
    with pytest.raises(UserError, match=r"tag \[hapy\].*did you mean 'happy'"):
        parse_tags("[hapy] oh")
    assert parse_tags("[laughs] oh [sad] no", strict=False).text == "oh no"
    with pytest.raises(UserError, match="unknown SSML style"):
        parse_tags('<express-as style="newscast">x</express-as>')
    with pytest.raises(UserError, match="3 word times"):
        parse_tags("one two").track(word_starts_s=[0, 1, 2])


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab .!?[]/<>:0.7🙂😢happysd\n"), max_size=40))
def test_any_text_parses_and_leaves_no_tag(text):
    tagged = parse_tags(text, strict=False)
    assert not any(face in tagged.text for face in "🙂😢")
    assert len(tagged.track(duration_s=3.0).keys) <= len(tagged.marks)


def test_text_with_tags_is_told_from_an_emotion():
    assert has_tags("[happy:0.7] I found it!")
    assert has_tags('<express-as style="sad">no</express-as>')
    assert not has_tags("0:happy, 2:🙂")
