import numpy as np
import pytest

from emogene.data.sources import read_source
from emogene.emotion.grammar import parse_emotion
from emogene.emotion.voice import VoiceEmotion, asks_for_auto, track_from_voice
from emogene.errors import FormatError, UserError
from emogene.features.extractor import load_extractor
from emogene.io.audio import write_wav
from emogene.training.voice import read_examples, train_voice
from emogene.types import Audio

TONES_HZ = {"HAP": 900, "SAD": 200}


def tone(hz, seconds, seed):
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * 16_000)) / 16_000
    return Audio(
        (0.3 * np.sin(2 * np.pi * hz * time_s) + 0.01 * rng.normal(size=len(time_s))).astype(np.float32)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A head trained on a miniature of CREMA-D in which the happy squeak and the sad hum."""
    root = tmp_path_factory.mktemp("crema")
    (root / "AudioWAV").mkdir()
    for actor in range(4):
        for number, (code, hz) in enumerate(TONES_HZ.items()):
            for sentence in ("DFA", "IEO"):
                name = f"{1001 + actor}_{sentence}_{code}_XX"
                (root / f"{name}.flv").write_bytes(b"")
                write_wav(root / "AudioWAV" / f"{name}.wav", tone(hz * (1 + 0.02 * actor), 1.5, number))
    examples = read_examples(read_source("crema-d", root), load_extractor("mel"), 3.0)
    run = root / "run"
    assert train_voice(examples, run, "mel", steps=60)["accuracy"] == 1.0
    with pytest.raises(UserError, match="two actors"):
        read_examples(read_source("crema-d", root)[:1], load_extractor("mel"), 3.0)
    return run / "model"


def test_a_voice_becomes_a_track(model):
    sound = Audio(np.concatenate([tone(900, 6, 0).samples, tone(200, 6, 1).samples]))
    track = track_from_voice(f"auto:{model}", sound)
    assert [next(iter(key.named_doses)) for key in track.keys] == ["happy", "sad"]
    assert 4 < track.keys[1].t_s < 8
    head = VoiceEmotion.load(model)
    assert head.probabilities(np.zeros((10, head.config.dim), np.float32)).shape == (1, 8)


def test_without_a_model_the_message_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match="emogene train voice"):
        track_from_voice("auto", tone(200, 1, 0))
    with pytest.raises(UserError, match="emogene train voice"):
        parse_emotion("auto")
    with pytest.raises(FormatError):
        track_from_voice(f"auto:{tmp_path}", tone(200, 1, 0))
    assert asks_for_auto(" Auto:runs/voice")
    assert not asks_for_auto("autonomous")
