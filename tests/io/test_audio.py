from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emogene.errors import MediaError
from emogene.io.audio import probe_duration_s, read_audio, resample, stream_audio, write_wav
from emogene.types import Audio
from tests.io.media_files import tone, write_pictures, write_sound

FORMATS = [
    ("a.wav", "pcm_u8", "u8", 8000, 1),
    ("a.wav", "pcm_s16le", "s16", 44100, 2),
    ("a.wav", "pcm_s32le", "s32", 96000, 1),
    ("a.wav", "pcm_f32le", "flt", 16000, 2),
    ("a.wav", "pcm_f64le", "dbl", 48000, 1),
    ("a.flac", "flac", "s16", 22050, 2),
    ("a.m4a", "aac", "fltp", 44100, 2),
    ("a.mp3", "libmp3lame", "fltp", 32000, 1),
    ("a.ogg", "libopus", "flt", 48000, 2),
    ("a.webm", "libopus", "s16", 24000, 1),
    ("a.mka", "ac3", "fltp", 48000, 6),
]


@pytest.mark.parametrize(("name", "codec", "sample_format", "rate_hz", "n_channels"), FORMATS)
def test_any_format_becomes_mono_16_khz(
    tmp_path: Path, name: str, codec: str, sample_format: str, rate_hz: int, n_channels: int
) -> None:
    sound = np.tile(tone(1.0, rate_hz), (n_channels, 1))
    path = write_sound(tmp_path / name, sound, rate_hz, codec, sample_format)
    audio = read_audio(path)
    assert audio.rate_hz == 16000
    assert audio.duration_s == pytest.approx(1.0, abs=0.08)
    # 220 Hz at half scale: level and pitch survive every path.
    middle = audio.samples[4000:12000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.354, rel=0.12)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * 2 == pytest.approx(220, abs=4)
    assert probe_duration_s(path) == pytest.approx(1.0, abs=0.1)


def test_wav_round_trip_is_exact_to_16_bits(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    write_wav(tmp_path / "a.wav", Audio(samples))
    assert np.abs(read_audio(tmp_path / "a.wav").samples - samples).max() < 6e-5


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n_samples=st.integers(20, 40_000),
    rate_hz=st.sampled_from([7350, 8000, 11025, 16000, 44100, 48000, 192000]),
    wanted_hz=st.sampled_from([16000, 24000, 48000]),
)
def test_length_and_range_at_any_rate(tmp_path: Path, n_samples: int, rate_hz: int, wanted_hz: int) -> None:
    noise = np.random.default_rng(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    write_wav(tmp_path / "a.wav", Audio(noise, rate_hz))
    audio = read_audio(tmp_path / "a.wav", wanted_hz)
    assert abs(len(audio.samples) - n_samples * wanted_hz / rate_hz) <= 2
    assert np.isfinite(audio.samples).all() and np.abs(audio.samples).max(initial=0) <= 1


def test_stream_equals_whole_and_comes_in_blocks(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.flac", tone(5.3, 44100)[None], 44100, "flac", "s16")
    blocks = list(stream_audio(path))
    assert len(blocks) >= 5 and max(map(len, blocks)) < 20_000
    assert np.array_equal(np.concatenate(blocks), read_audio(path).samples)


def test_broken_samples_become_silence_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = tone(0.5, 16000)
    sound[100:200], sound[300], sound[301] = np.nan, np.inf, -np.inf
    path = write_sound(tmp_path / "a.wav", sound[None], 16000, "pcm_f32le", "flt")
    with caplog.at_level(logging.WARNING):
        audio = read_audio(path)
    assert np.isfinite(audio.samples).all()
    assert np.all(audio.samples[100:200] == 0)
    assert "102 samples were not numbers" in caplog.text


def test_clipping_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_wav(tmp_path / "a.wav", Audio(np.clip(tone(0.5, 16000) * 10, -1, 1)))
    with caplog.at_level(logging.WARNING):
        read_audio(tmp_path / "a.wav")
    assert "clipped" in caplog.text


def test_silence_is_fine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_wav(tmp_path / "a.wav", Audio(np.zeros(16000, np.float32)))
    assert not read_audio(tmp_path / "a.wav").samples.any()
    assert not caplog.records


def test_truncated_file_gives_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_sound(tmp_path / "a.flac", tone(4.0, 16000)[None], 16000, "flac", "s16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        audio = read_audio(path)
    assert 0.5 < audio.duration_s < 3.5
    assert "cut off" in caplog.text


def test_bad_files_are_one_clear_sentence(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("this is not a sound file, whatever its name says\n" * 50)
    (tmp_path / "empty.wav").write_bytes(b"")
    write_wav(tmp_path / "header.wav", Audio(np.zeros(0, np.float32)))
    cut = write_sound(tmp_path / "a.m4a", tone(1, 16000)[None], 16000, "aac", "fltp")
    cut.write_bytes(cut.read_bytes()[:200])
    silent_film = write_pictures(tmp_path / "v.mp4", [0.0, 0.04, 0.08])
    for path, word in [
        (text, "not a sound"),
        (tmp_path / "empty.wav", "empty"),
        (tmp_path / "header.wav", "sound"),
        (cut, "cut off"),
        (silent_film, "no sound"),
        (tmp_path / "absent.wav", "does not exist"),
        (tmp_path, "folder"),
    ]:
        with pytest.raises(MediaError, match=word) as error:
            read_audio(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_resample_keeps_a_tone() -> None:
    assert np.abs(resample(tone(1, 48000), 48000, 16000) - tone(1, 16000))[200:-200].max() < 1e-3
