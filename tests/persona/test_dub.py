from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emogene.errors import UserError
from emogene.io.audio import write_wav
from emogene.io.clip import clip_folders, open_clip
from emogene.io.files import write_json
from emogene.persona.dub import dub_recordings
from emogene.persona.speech import Voice, speak
from emogene.types import Audio


def test_a_recording_becomes_aligned_performances(tmp_path: Path) -> None:
    said = speak("my mother buys a purple book now.", Voice("test", "formant", "formant", "lexicon"))
    path = tmp_path / "voice.wav"
    write_wav(path, Audio(said.samples))
    with pytest.raises(UserError, match="align"):
        dub_recordings([path], tmp_path / "out")
    write_json(tmp_path / "voice.phones.json", {"phones": [list(phone) for phone in said.phones]})
    assert dub_recordings([path], tmp_path / "out", performances=2, licence="CC0-1.0") == 2
    clips = [open_clip(folder) for folder in clip_folders(tmp_path / "out")]
    assert len(clips) >= 4 and len({clip.about["identity_seed"] for clip in clips}) == 2
    assert all(clip.about["dubbed"] and clip.about["licence"] == "CC0-1.0" for clip in clips)
    assert len({clip.n_frames for clip in clips}) == 1
    neutral = next(clip for clip in clips if clip.about["take"] == "neutral")
    assert np.ptp(neutral.arrays["landmarks_cano"][:, 66, 1]) > 0.03
