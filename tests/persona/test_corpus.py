from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emogene.errors import UserError
from emogene.io.audio import read_audio
from emogene.io.clip import clip_folders, open_clip
from emogene.io.files import read_json
from emogene.persona.corpus import CorpusPlan, build_corpus, build_pair, pair_folder
from emogene.types import NEUTRAL

PLAN = CorpusPlan(seed=3, speakers=2, engines=("formant",))


def test_takes_of_a_pair_are_aligned(tiny_corpus: Path) -> None:
    header = read_json(tiny_corpus / "corpus.json")
    assert header["complete"] and header["hours"] >= 0.015 and header["synthetic"]
    assert header["clips"] == len(clip_folders(tiny_corpus)) >= 2 * header["pairs"]
    for folder in tiny_corpus.glob("shard-*/pair-*"):
        takes = {clip.name: open_clip(clip) for clip in clip_folders(folder)}
        neutral, other = takes["neutral"], takes["emotional-1"]
        assert neutral.audio_path.read_bytes() == other.audio_path.read_bytes()
        assert neutral.n_frames == other.n_frames == read_audio(neutral.audio_path).n_frames
        assert np.all(neutral.arrays["emotion"][:, NEUTRAL] == 1)
        assert other.arrays["emotion"][:, NEUTRAL].min() < 0.95
        assert neutral.about["speaker"] == other.about["speaker"] and other.about["emotion"] != "neutral"
        # The emotion moves the face, not the clock.
        assert np.abs(neutral.motion.landmarks_cano - other.motion.landmarks_cano).max() > 0.01


def test_clips_hold_what_the_format_promises(tiny_corpus: Path) -> None:
    clip = open_clip(clip_folders(tiny_corpus)[0])
    assert clip.arrays["blendshapes"].shape == (clip.n_frames, 52)
    assert clip.arrays["emotion"].shape == (clip.n_frames, 8)
    assert clip.motion.eyes.shape == (clip.n_frames, 4) and len(clip.pose) == clip.n_frames
    assert np.shape(clip.about["neutral_cano"]) == (68, 3)
    assert clip.valid.all()


def test_any_build_gives_the_same_pair(tiny_corpus: Path, tmp_path: Path) -> None:
    assert build_pair(tmp_path, PLAN, 1) > 0
    for clip in clip_folders(pair_folder(tmp_path, 1)):
        twin = pair_folder(tiny_corpus, 1) / clip.name
        for name in ("audio.wav", "arrays.safetensors", "phones.json", "clip.json"):
            assert (clip / name).read_bytes() == (twin / name).read_bytes()


def test_an_interrupted_build_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    build_corpus(out, 0.002, seed=3, speakers=2, engines=("formant",), workers=1)
    stamp = (pair_folder(out, 0) / "neutral" / "clip.json").stat().st_mtime_ns
    seen: list[float] = []
    build_corpus(
        out,
        0.006,
        seed=3,
        speakers=2,
        engines=("formant",),
        workers=1,
        on_progress=lambda done, _: seen.append(done),
    )
    assert (pair_folder(out, 0) / "neutral" / "clip.json").stat().st_mtime_ns == stamp
    assert seen == sorted(seen) and seen[-1] >= 0.006


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not a corpus"):
        build_corpus(tmp_path, 0.001, engines=("formant",), workers=1)
    with pytest.raises(UserError, match="no speech engine"):
        build_corpus(tmp_path / "x", 0.001, engines=("gramophone",))
    with pytest.raises(UserError, match="not possible"):
        build_corpus(tmp_path / "x", -1, engines=("formant",))


def test_another_seed_needs_another_folder(tiny_corpus: Path) -> None:
    with pytest.raises(UserError, match="another seed"):
        build_corpus(tiny_corpus, 0.01, seed=4, speakers=2, engines=("formant",), workers=1)
