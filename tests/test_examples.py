"""The README's programs run as they stand, with the avatar and the weights that ship."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from emogene.io.audio import write_wav
from emogene.types import Audio

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    t = np.arange(9600) / 16000
    path = tmp_path / "speech.wav"
    write_wav(path, Audio((0.2 * np.sin(2 * np.pi * 150 * t)).astype(np.float32)))
    return path


def test_hello(speech: Path) -> None:
    assert runpy.run_path(str(EXAMPLES / "00_hello.py"))["main"](speech) == 15


def test_stream(speech: Path) -> None:
    shown_s = runpy.run_path(str(EXAMPLES / "10_stream.py"))["main"](speech)
    assert 0 <= shown_s <= 0.6
