"""Preparation: real files in, clip folders out; failures are noted, what exists is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from emogene.data.features import clip_features
from emogene.data.items import Item
from emogene.data.prepare import prepare
from emogene.errors import UserError
from emogene.features import student
from emogene.features.prosody import prosody
from emogene.features.student import StudentFeatures, StudentNet
from emogene.io.audio import read_audio, write_wav
from emogene.io.clip import Clip, open_clip
from emogene.io.files import read_json
from emogene.io.video import VideoWriter
from emogene.types import Audio
from tests.data.talker import talk


def film(path: Path, seconds: float = 1.0) -> Path:
    """A tiny real video with sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = Audio(0.1 * np.sin(np.arange(int(16_000 * seconds)) / 10).astype(np.float32))
    with VideoWriter(path, (64, 48), audio=sound) as writer:
        for index in range(int(25 * seconds)):
            writer.write(np.full((48, 64, 3), index * 5, np.uint8))
    return path


class Stub:
    """Stands in for the face tracker; fails on files called faceless."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, video: Path, out: Path, *, speaker: str, sound: Path | None = None, **about) -> Clip:
        self.seen.append(video.name)
        if video.stem == "faceless":
            raise UserError(f"{video}: no face was found")
        heard = read_audio(sound or video)
        clip = talk(out, seconds=heard.duration_s, speaker=speaker, **about)
        write_wav(out / "audio.wav", heard)
        return clip


def items(root: Path) -> list[Item]:
    good = Item(
        name="a_one", speaker="a", video=film(root / "one.mp4"), emotion="happy", words=((0.0, 0.5, "hi"),)
    )
    return [good, Item(name="a_two", speaker="a", video=film(root / "faceless.mp4"))]


def test_prepares_once_and_notes_failures(tmp_path: Path) -> None:
    stub, todo = Stub(), items(tmp_path / "in")
    report = prepare(todo, tmp_path / "out", stub, find_offset=lambda clip: (0.5, 2))
    assert [path.name for path in report.clips] == ["a_one"] and report.new == 1
    assert "no face" in report.failures["a_two"]
    clip = open_clip(tmp_path / "out/a_one")
    assert clip.about["emotion"] == "happy" and clip.about["av_offset_frames"] == 2
    assert clip.about["words"] == [[0.0, 0.5, "hi"]]
    again = prepare(todo, tmp_path / "out", stub)
    assert again.new == 0 and len(again.clips) == 1 and "a_two" in again.failures
    assert stub.seen == ["one.mp4", "faceless.mp4"]
    prepare(todo, tmp_path / "out", stub, retry=True)
    assert stub.seen[-1] == "faceless.mp4" and len(stub.seen) == 3
    assert set(read_json(tmp_path / "out/failures.json")) == {"a_two"}


def test_unsure_offsets_are_not_applied(tmp_path: Path) -> None:
    report = prepare(items(tmp_path)[:1], tmp_path / "out", Stub(), find_offset=lambda clip: (0.01, 7))
    assert open_clip(report.clips[0]).about["av_offset_frames"] == 0


def test_separate_sound_is_used(tmp_path: Path) -> None:
    write_wav(tmp_path / "loud.wav", Audio(np.full(8_000, 0.5, np.float32)))
    item = Item(name="x", speaker="x", video=film(tmp_path / "v.mp4"), sound=tmp_path / "loud.wav")
    report = prepare([item], tmp_path / "out", Stub())
    assert read_audio(report.clips[0] / "audio.wav").samples[100] > 0.4


def test_features_of_other_weights_are_not_taken(tmp_path: Path) -> None:
    clip = talk(tmp_path / "clip", seconds=1.0)
    torch.manual_seed(0)
    first, second = (StudentFeatures(StudentNet(student.tiny())) for _ in range(2))
    rows = [clip_features(clip, extractor, prosody)[0] for extractor in (first, second, first)]
    assert np.array_equal(rows[0], rows[2]) and not np.allclose(rows[0], rows[1], atol=1e-2)
    assert len(list(clip.folder.glob("features_emogene_*"))) == 2
