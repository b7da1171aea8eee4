"""The readouts of speech features on features of known worth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from emogene.cli import main
from emogene.errors import UserError
from emogene.evaluate.features import language_rows, lip_rows, people_rows
from emogene.io.files import read_json
from emogene.persona.speech import Voice, available_engines
from emogene.training.feature_probe import VOICES, labelled
from emogene.training.feature_sentences import SENTENCES
from emogene.training.festival import speak_with_festival
from emogene.types import Audio
from tests.data.talker import Loudness, talk

ENGINES = available_engines()
VOICED = shutil.which("festival") is not None and Path("/usr/share/festival/voices/czech").exists()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    words = [[0.0, 0.3, "sil"], [0.3, 1.2, "place"], [1.2, 2.7, "blue"], [2.7, 3.0, "sil"]]
    return [talk(root / f"c{i}", seed=i, speaker="ab"[i % 2], words=words) for i in range(6)]


def test_every_language_has_sentences_and_voices() -> None:
    assert set(VOICES) == set(SENTENCES)
    assert all(len(voices) >= 2 for voices in VOICES.values())
    assert all(len(set(sentences)) == 20 for sentences in SENTENCES.values())


def test_rows_get_the_viseme_of_their_time() -> None:
    spoken = labelled(Audio(np.zeros(3200, np.float32)), [(0.0, 0.1, "p"), (0.1, 0.2, "aa")])
    assert list(np.unique(spoken.visemes[:5])) == [1] and list(np.unique(spoken.visemes[5:])) == [9]


def test_lips_are_read_from_loudness(clips) -> None:
    row = lip_rows({"loudness": Loudness()}, clips[:4], {"held": clips[4:]})["held, lip opening r"]
    assert row["loudness"] > 0.8


@pytest.mark.skipif("flite" not in ENGINES, reason="flite is not installed")
def test_words_with_times_teach_visemes(clips) -> None:
    rows = people_rows({"loudness": Loudness()}, clips[:4], {"held": clips[4:]})
    assert set(rows) == {"a (held), visemes", "b (held), visemes"}
    assert all(0.1 < row["loudness"] < 1 for row in rows.values())


@pytest.mark.skipif("espeak" not in ENGINES, reason="espeak-ng is not installed")
def test_voices_of_a_language() -> None:
    rows = language_rows({"loudness": Loudness()}, ["es"])
    assert list(rows) == ["es, f2", "es, f4", "es, m3", "es, m7", "es, mean"]
    assert 0.05 < rows["es, mean"]["loudness"] < 0.6


@pytest.mark.skipif(not VOICED, reason="festival or its Czech voice is not installed")
def test_festival_gives_speech_and_phones() -> None:
    utterance = speak_with_festival(SENTENCES["cs"][11], VOICES["cs"][0])
    assert utterance.duration_s == pytest.approx(utterance.phones[-1][1], abs=0.05)
    labels = [label for _, _, label in utterance.phones]
    assert labels[0] == "pau" and "tʃ" in labels and not any(label[-1] in "1:*~" for label in labels)
    with pytest.raises(UserError, match="no voice czech_nobody"):
        speak_with_festival("a", Voice("x", "festival", "czech_nobody", "cs"))


@pytest.mark.skipif("flite" not in ENGINES, reason="flite is not installed")
def test_the_command(clips, tmp_path: Path) -> None:
    folder = str(clips[0].folder.parent)
    command = ["evaluate", "features", "--names", "mel", "--languages", "--data", folder, "--hold-out", "b"]
    assert main([*command, "--limit", "1", "--json-out", str(tmp_path / "table.json")]) == 0
    assert "unseen, lip opening r" in read_json(tmp_path / "table.json")
