from __future__ import annotations

import numpy as np
import pytest

from emogene.errors import UserError
from emogene.persona.acoustics import recorded, silence
from emogene.persona.espeak import _phones
from emogene.persona.formants import LEXICON
from emogene.persona.phones import VISEME, viseme_of
from emogene.persona.speech import PROSODY, Voice, available_engines, speak
from emogene.persona.texts import foreign_sentences, sentence_in
from emogene.persona.voices import cast_voices
from emogene.types import EMOTIONS

BUILT_IN = Voice("test", "formant", "formant", "lexicon")


def test_built_in_voice_says_its_phones_in_time() -> None:
    said = speak("my mother buys a purple book now.", BUILT_IN)
    assert said.phones[0][0] == 0 and said.phones[-1][1] == pytest.approx(said.duration_s, abs=0.01)
    assert all(a[1] == pytest.approx(b[0]) for a, b in zip(said.phones, said.phones[1:], strict=False))
    level = {label: [] for label in ("vowel", "pau")}
    for start, end, label in said.phones:
        piece = said.samples[int(start * 16000) : int(end * 16000)]
        if label in ("pau", "ay", "uh"):
            level["pau" if label == "pau" else "vowel"].append(np.sqrt(np.mean(piece**2)))
    assert min(level["vowel"]) > 5 * max(level["pau"])


def test_prosody_and_voice_change_length() -> None:
    slow = speak("hello baby.", BUILT_IN, PROSODY["sad"]).duration_s
    assert slow > 1.15 * speak("hello baby.", BUILT_IN).duration_s
    assert set(PROSODY) == set(EMOTIONS)
    warped = speak("hello baby.", Voice("child", "formant", "formant", "lexicon", warp=1.2)).duration_s
    assert warped == pytest.approx(speak("hello baby.", BUILT_IN).duration_s, rel=0.02)


def test_lexicon_covers_every_viseme() -> None:
    spoken = {viseme_of(phone) for word in LEXICON.values() for phone in word.split()}
    assert len(spoken) == len(VISEME) - 1


def test_unknown_words_and_engines_are_user_errors() -> None:
    with pytest.raises(UserError, match="does not know"):
        speak("xylophone.", BUILT_IN)
    with pytest.raises(UserError, match="no speech engine"):
        speak("hello.", Voice("test", "gramophone", "x"))


@pytest.mark.parametrize("engine", ["flite", "espeak"])
def test_missing_programs_are_named(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(UserError, match="apt install"):
        speak("hello.", Voice("test", engine, "slt"))


@pytest.mark.parametrize(("engine", "base"), [("flite", "slt"), ("espeak", "en-us+f3"), ("espeak", "fr")])
def test_real_engines_report_phones(engine: str, base: str) -> None:
    if engine not in available_engines():
        pytest.skip(f"{engine} is not installed")
    said = speak("Maybe papa.", Voice("test", engine, base))
    labels = [viseme_of(label) for _, _, label in said.phones]
    assert labels.count("PP") == 4
    assert 0.5 < said.duration_s < 3


def test_voiceless_stops_get_their_closure_back() -> None:
    phones = _phones([(0.0, "ʌ"), (0.136, "p"), (0.171, "ɚ"), (0.276, "")], 0.3)
    assert phones[1] == (pytest.approx(0.091), 0.171, "p")


def test_cast_is_large_and_repeatable() -> None:
    voices = cast_voices(0, 64, ("flite", "espeak"))
    assert voices == cast_voices(0, 64, ("flite", "espeak"))
    assert len({(voice.base, round(voice.pitch, 2), round(voice.warp, 2)) for voice in voices}) >= 40
    assert len({voice.language for voice in voices}) >= 4


def test_texts() -> None:
    rng = np.random.default_rng(0)
    english = {sentence_in("en", rng) for _ in range(200)}
    assert len(english) > 150 and not any("{" in text for text in english)
    assert all(len(foreign_sentences(language)) >= 20 for language in ("de", "fr", "es", "it"))
    assert all(word in LEXICON for word in sentence_in("lexicon", rng).rstrip(".").split())


def test_rooms_do_not_move_sound() -> None:
    click = np.zeros(16000, np.float32)
    click[8000:8016] = 1
    for seed in range(10):
        heard = recorded(click, np.random.default_rng(seed))
        assert len(heard) == 16000 and np.abs(heard).max() <= 1
        assert abs(int(np.argmax(np.abs(heard))) - 8000) < 40
    assert np.abs(silence(np.random.default_rng(1), 5000)).max() <= 1
