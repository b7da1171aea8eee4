from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emogene.features.prosody import ProsodyStream, coarse_pitch, pitch_hz, prosody
from emogene.types import Audio


def voice(f0_hz: np.ndarray | float, seconds: float = 1.5, level: float = 0.1) -> np.ndarray:
    """A buzz with seven harmonics."""
    f0 = np.broadcast_to(np.asarray(f0_hz, float), (round(seconds * 16000),))
    phase = 2 * np.pi * np.cumsum(f0) / 16000
    return (level * sum(np.sin(k * phase) / k for k in range(1, 8))).astype(np.float32)


@pytest.mark.parametrize("hz", [82, 120, 220, 440, 700])
def test_pitch_is_right_over_the_range(hz: float) -> None:
    found = pitch_hz(Audio(voice(hz)))
    assert found[4:-4] == pytest.approx(hz, rel=0.01)


def test_pitch_follows_a_glide() -> None:
    f0 = np.linspace(120, 240, 24000)
    found = prosody(Audio(voice(f0)))
    assert found[8:-8, 1].min() > 0.9
    rise = found[60, 0] - found[10, 0]
    assert 0 < rise <= np.log2(f0[60 * 320] / f0[10 * 320])


def test_no_voice_no_pitch() -> None:
    hiss = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    assert prosody(Audio(hiss))[:, :2].max() < 0.2
    silent = prosody(Audio(np.zeros(16000, np.float32)))
    assert not silent.any()
    assert coarse_pitch(pitch_hz(Audio(np.zeros(3200, np.float32)))).max() == 0


def test_loudness_is_absolute() -> None:
    loud, soft = (prosody(Audio(voice(150, level=level)))[10:-10, 2].mean() for level in (0.2, 0.02))
    assert loud - soft == pytest.approx(20 / 60, abs=0.01)


def test_pitch_is_relative_to_the_speaker() -> None:
    man, child = (np.abs(prosody(Audio(voice(hz)))[5:-5, 0]).max() for hz in (100, 350))
    assert man < 0.02 and child < 0.02


@settings(max_examples=15, deadline=None)
@given(n_samples=st.integers(1, 30_000), cuts=st.lists(st.integers(0, 30_000), max_size=10))
def test_stream_equals_whole(n_samples: int, cuts: list[int]) -> None:
    samples = voice(np.linspace(100, 300, 30_000), 1.875)[:n_samples]
    stream = ProsodyStream()
    rows = [stream.push(piece) for piece in np.split(samples, sorted(cuts))]
    whole = prosody(Audio(samples))
    assert len(whole) == -(-n_samples // 320)
    assert np.array_equal(np.concatenate([*rows, stream.flush()]), whole)


def test_coarse_pitch_is_the_papers() -> None:
    bins = coarse_pitch(np.array([0, 50, 1100, 220], np.float32))
    assert bins.tolist()[:3] == [0, 1, 255] and 1 < bins[3] < 255
