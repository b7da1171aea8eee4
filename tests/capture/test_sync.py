from __future__ import annotations

import numpy as np

from emogene.capture.sync import Offset, _loudness, measure_offset
from emogene.types import Audio


def test_too_little_speech_is_not_judged() -> None:
    audio = Audio(np.zeros(16000, np.float32))
    assert measure_offset(audio, np.zeros((25, 68, 3), np.float32)) is None


def test_an_unsure_expert_changes_nothing() -> None:
    assert Offset(3, 0.4).is_known and not Offset(3, 0.05).is_known
    assert Offset(-3, 0.2).is_known and not Offset(-6, 0.2).is_known and Offset(-6, 0.4).is_known
    assert Offset(-3, 0.4).seconds == -0.12
    assert Offset(0.25, 0.4).seconds == 0.01


def test_loudness_per_frame() -> None:
    samples = np.zeros(10 * 640, np.float32)
    samples[640:1280] = 0.5
    loud = _loudness(Audio(samples), 10)
    assert loud.argmax() == 1 and abs(loud[1] - 0.5) < 1e-4 and loud[5] < 1e-4
    assert len(_loudness(Audio(samples), 12)) == 12
