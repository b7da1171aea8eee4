"""Each reader on a miniature of its data set's layout: what it finds, names and labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emogene.data.items import Item
from emogene.data.sources import SOURCES, read_source
from emogene.errors import UserError
from emogene.io.clip import write_clip


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def only(name: str, root: Path) -> Item:
    (item,) = read_source(name, root)
    return item


def test_grid(tmp_path: Path) -> None:
    touch(tmp_path, "s1/video/bbaf2n.mpg", "s2/bbaf3s.mkv", "s2/.hidden.mkv")
    align = "0 23750 sil\n23750 29500 bin\n29500 34000 blue\n"
    (tmp_path / "s1/align").mkdir()
    (tmp_path / "s1/align/bbaf2n.align").write_text(align)
    (tmp_path / "s2/bbaf3s.align").write_text(align)
    first, second = read_source("grid", tmp_path)
    assert (first.name, first.speaker, first.emotion) == ("s1_bbaf2n", "grid-s1", "neutral")
    assert first.words[1] == (0.95, 1.18, "bin") and first.text == "bin blue"
    assert second.speaker == "grid-s2" and second.words


def test_mead(tmp_path: Path) -> None:
    touch(tmp_path, "M003/video/front/disgusted/level_2/004.mp4", "M003/audio/disgusted/level_2/004.m4a")
    touch(tmp_path, "M003/video/left_30/disgusted/level_2/004.mp4")
    item = only("mead", tmp_path)
    assert item.emotion == "disgust" and item.intensity == pytest.approx(2 / 3)
    assert item.sound is not None and item.speaker == "mead-M003"


def test_ravdess(tmp_path: Path) -> None:
    touch(tmp_path, "Actor_12/01-01-06-02-02-01-12.mp4", "Actor_12/02-01-06-02-02-01-12.mp4")
    item = only("ravdess", tmp_path)
    assert (item.emotion, item.intensity, item.speaker) == ("fear", 1.0, "ravdess-12")
    assert item.text.startswith("Dogs")


def test_crema_d(tmp_path: Path) -> None:
    touch(tmp_path, "VideoFlash/1001_DFA_ANG_LO.flv", "AudioWAV/1001_DFA_ANG_LO.wav", "VideoFlash/odd.flv")
    item = only("crema-d", tmp_path)
    assert (item.emotion, item.text) == ("angry", "Don't forget a jacket")
    assert item.intensity == pytest.approx(1 / 3) and item.sound is not None


def test_lrs3(tmp_path: Path) -> None:
    touch(tmp_path, "trainval/0Fi83BHQsMA/00002.mp4")
    (tmp_path / "trainval/0Fi83BHQsMA/00002.txt").write_text("Text:  SO WHAT I WANT\nConf:  3\n")
    item = only("lrs3", tmp_path)
    assert item.speaker == "lrs3-0Fi83BHQsMA" and item.text == "So what i want"


def test_voxceleb2(tmp_path: Path) -> None:
    touch(tmp_path, "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "dev/aac/id00012/21Uxsk56VDQ/00001.m4a")
    item = only("voxceleb2", tmp_path)
    assert item.speaker == "vox-id00012"
    assert item.sound == tmp_path / "dev/aac/id00012/21Uxsk56VDQ/00001.m4a"


def test_folder(tmp_path: Path) -> None:
    touch(tmp_path, "me.mp4", "ann/one.mov", "ann/two.mkv")
    (tmp_path / "ann/two.json").write_text(
        json.dumps({"emotion": "happy", "intensity": 0.5, "speaker": "Ann"})
    )
    one, two, me = read_source("folder", tmp_path)
    assert (one.speaker, two.speaker, me.speaker) == ("ann", "Ann", "me")
    assert two.emotion == "happy" and two.intensity == 0.5


def test_synthetic(tmp_path: Path) -> None:
    arrays = {"landmarks_cano": np.zeros((3, 68, 3), np.float32), "eyes": np.ones((3, 4), np.float32)}
    write_clip(tmp_path / "v1/a", arrays, speaker="v1", emotion="sad", intensity=0.7)
    item = only("synthetic", tmp_path)
    assert item.clip == tmp_path / "v1/a" and (item.speaker, item.emotion) == ("v1", "sad")


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="known are synthetic, grid"):
        read_source("gird", tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        read_source("grid", tmp_path / "absent")
    with pytest.raises(UserError, match="looks like mead; expected"):
        read_source("mead", tmp_path)
    with pytest.raises(ValueError, match="emotion must be one of"):
        Item(name="x", speaker="x", video=tmp_path, emotion="hapy")


def test_every_source_documents_itself() -> None:
    assert all(s.layout and s.licence and type(s).__doc__ for s in SOURCES.values())
    assert set(SOURCES) == {
        "synthetic", "grid", "mead", "ravdess", "crema-d", "lrs3", "voxceleb2", "folder"
    }  # fmt: skip
