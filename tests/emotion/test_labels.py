import pytest

from emogene.emotion.labels import ALIASES, EMOJI, index_of, known, resolve
from emogene.errors import UserError
from emogene.types import EMOTIONS


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *(("Happy", "happy"), ("disgusted", "disgust"), ("surprised", "surprise"), ("anger", "angry")),
        *(("sadness", "sad"), ("joy", "happy"), ("afraid", "fear"), (" 😢 ", "sad"), ("☹", None)),
    ],
)
def test_names_and_aliases(name, label):
    assert known(name) == label


def test_every_alias_leads_to_a_label():
    assert set(ALIASES.values()) | set(EMOJI.values()) == set(EMOTIONS)
    assert not set(ALIASES) & set(EMOTIONS)


def test_unknown_name_gets_a_hint():
    with pytest.raises(UserError, match="did you mean 'happy'"):
        resolve("hapyy")
    with pytest.raises(UserError, match="choose one of angry, contempt"):
        resolve("zzzz")


def test_index_is_the_label_order():
    assert [index_of(label) for label in EMOTIONS] == list(range(8))
