"""Takes keep sound and motion together, rest in pauses, and come out of windows as batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from emogene.data.augment import SILENCES, change_speed, change_throat, change_voice, no_speech
from emogene.data.corpus import corpus_takes, open_corpus, split_corpus
from emogene.data.prepare import in_sync
from emogene.data.rest import neutral_face
from emogene.data.takes import TakeConfig, build_takes, load_takes
from emogene.data.voices import voice_means
from emogene.data.windows import Windows
from emogene.errors import UserError
from emogene.geometry.landmarks import lip_opening
from tests.data.talker import Loudness, neutral, rhythm, talk


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    return [talk(root / f"c{i}", seed=i, speaker="ab"[i % 2]) for i in range(6)]


@pytest.fixture(scope="module")
def takes(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("takes")
    config = TakeConfig(seconds=6, versions=2, silence_share=0.3)
    assert build_takes(clips, Loudness(), rhythm, out, config) == len(list(out.glob("*.safetensors")))
    return load_takes(out)


def test_neutral_face_is_at_rest(clips) -> None:
    face = neutral_face(clips)
    np.testing.assert_allclose(face, neutral(), atol=2e-3)


def test_takes_stay_together(takes) -> None:
    spoken = [take for take in takes if take.speaker]
    assert {take.speaker for take in takes} == {"", "a", "b"}
    for take in takes:
        n = len(take.offsets)
        assert len(take.features) == len(take.prosody) == 2 * n and len(take.mask) == n
    scores = []
    for take in spoken:
        loud = take.features[:, 2].astype(np.float32).reshape(-1, 2).mean(1)
        scores.append(np.corrcoef(loud, lip_opening(take.offsets.astype(np.float32)))[0, 1])
    assert np.mean(scores) > 0.7
    silent = [take for take in takes if not take.speaker]
    assert silent and all((take.offsets == 0).all() for take in silent)


def test_pauses_are_shut(clips, tmp_path: Path) -> None:
    config = TakeConfig(seconds=6, versions=1, pause_share=1.0, silence_share=0.0)
    build_takes(clips, Loudness(), rhythm, tmp_path, config)
    frames = sum(len(take.offsets) for take in load_takes(tmp_path))
    assert frames > sum(clip.n_frames for clip in clips) + 10


def test_building_resumes(clips, tmp_path: Path) -> None:
    config = TakeConfig(seconds=6, versions=1)
    n = build_takes(clips, Loudness(), rhythm, tmp_path, config)
    first = tmp_path / "00000.safetensors"
    before = first.stat().st_mtime_ns
    (tmp_path / "00001.safetensors").unlink()
    assert build_takes(clips, Loudness(), rhythm, tmp_path, config) == n
    assert first.stat().st_mtime_ns == before and (tmp_path / "00001.safetensors").exists()


def test_fewer_versions_are_the_first_ones(clips, tmp_path: Path) -> None:
    folders = tmp_path / "shared", tmp_path / "alone"
    build_takes(clips, Loudness(), rhythm, folders[0], TakeConfig(seconds=6, versions=2))
    for folder in folders:
        build_takes(clips, Loudness(), rhythm, folder, TakeConfig(seconds=6, versions=1))
    shared, alone = (load_takes(folder) for folder in folders)
    assert [take.speaker for take in shared] == [take.speaker for take in alone]
    assert all((a.offsets == b.offsets).all() for a, b in zip(shared, alone, strict=True))


def test_windows_give_batches(takes) -> None:
    windows = Windows(takes)
    batch = windows.sample(np.random.default_rng(0), 8, 400)
    assert batch.features.shape == (8, 800, 4) and batch.offsets.shape == (8, 400, 204)
    assert batch.mask.sum() < 8 * 400
    again = windows.sample(np.random.default_rng(0), 8, 400)
    assert (batch.offsets == again.offsets).all()
    with pytest.raises(UserError, match="no takes"):
        Windows([])


def test_speakers_are_drawn_by_what_they_say(takes) -> None:
    spoken = [take for take in takes if take.speaker]
    few = [replace(spoken[0], speaker="few", amplitude=7.0)]
    many = [replace(take, speaker="many", amplitude=1.0) for take in spoken]

    def share(power: float) -> float:
        batch = Windows([*few, *many], gain=0, speaker_power=power).sample(np.random.default_rng(0), 200, 8)
        return float((batch.mouth_amp == 7).float().mean())

    frames = len(few[0].offsets) / sum(len(take.offsets) for take in [*few, *many])
    assert share(0.0) == pytest.approx(0.5, abs=0.1)
    assert share(1.0) == pytest.approx(frames, abs=0.1)


def test_late_mouths_are_moved(tmp_path: Path) -> None:
    clip = talk(tmp_path / "late", late=3, av_offset_frames=3)
    landmarks, real = in_sync(clip)
    straight = talk(tmp_path / "straight")
    np.testing.assert_allclose(landmarks[real], straight.arrays["landmarks_cano"][real])
    assert real == slice(0, 72)


@pytest.mark.parametrize(("late", "real"), [(0.4, slice(0, 74)), (-0.4, slice(1, 75)), (2.5, slice(0, 72))])
def test_fractions_of_a_frame_are_moved_too(tmp_path: Path, late: float, real: slice) -> None:
    clip = talk(tmp_path / "late")
    n = np.arange(clip.n_frames, dtype=np.float32)
    wave = np.sin(n / 4)[:, None, None] * np.ones((1, 68, 3), np.float32)
    clip = replace(
        clip, arrays={**clip.arrays, "landmarks_cano": wave}, about=clip.about | {"av_offset_frames": late}
    )
    moved, kept = in_sync(clip)
    assert kept == real and moved.dtype == np.float32
    np.testing.assert_allclose(moved[real, 0, 0], np.sin((n[real] + late) / 4), atol=0.01)


def test_corpus_splits(clips, tmp_path: Path) -> None:
    root = clips[0].folder.parent
    talk(root / "shouted", speaker="a", emotion="angry")
    corpus = open_corpus([root])
    assert len(corpus) == 6
    training, held = split_corpus(corpus, ["b"], every=3)
    assert len(held["unseen"]) == 3 and len(training) == 3
    takes = corpus_takes(training, [Loudness()], rhythm, tmp_path, TakeConfig(versions=1))
    assert takes and (tmp_path / "loudness/takes.json").exists()
    with pytest.raises(UserError, match="holds no clips"):
        open_corpus([tmp_path / "nothing"])


@pytest.mark.parametrize("kind", SILENCES)
def test_silences_have_their_level(kind: str) -> None:
    sound = no_speech(kind, 16_000, np.random.default_rng(0), level_db=-40)
    assert sound.dtype == np.float32 and np.isfinite(sound).all()
    if kind != "zeros":
        assert sound.std() == pytest.approx(0.01, rel=0.3)


def test_voices_change_and_repeat() -> None:
    sound = np.sin(np.arange(16_000) / 20).astype(np.float32) * 0.5
    changed = [change_voice(sound, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(changed[0], changed[1]) and not np.array_equal(changed[0], changed[2])
    assert all(np.abs(c).max() <= 1 and len(c) == len(sound) for c in changed)
    assert len(change_speed(sound, 1.25)) == 12_800


def test_a_shorter_throat_moves_resonances_and_keeps_pitch() -> None:
    buzz = (np.arange(32_000) % 160 == 0).astype(np.float32)  # 100 Hz
    sound = signal.lfilter([1], [1, -2 * 0.97 * np.cos(2 * np.pi * 1000 / 16_000), 0.97**2], buzz)
    sound = np.float32(0.1) * sound.astype(np.float32)
    assert np.abs(change_throat(sound, 1.0) - sound).max() < 1e-5
    moved = change_throat(sound, 1.2)
    assert moved.shape == sound.shape and moved.dtype == np.float32
    power = np.abs(np.fft.rfft(moved[8_000:24_000])) ** 2  # bins of 1 Hz
    assert power[::100].sum() > 0.99 * power.sum()
    assert 1100 <= 100 * power[::100].argmax() <= 1300


def test_other_voices_shift_the_features(takes, tmp_path: Path) -> None:
    spoken = [take for take in takes if take.speaker]
    far = {"loudness": np.full((3, 4), 50.0, np.float32)}
    plain = Windows(spoken, jitter=0).sample(np.random.default_rng(0), 8, 40).features
    voiced = Windows(spoken, voices=far).sample(np.random.default_rng(0), 40, 40).features
    assert plain.max() < 5 < voiced.max()
    moved = voiced.mean((1, 2)) > 5
    assert 0.2 < moved.float().mean() < 0.8


def test_voice_means(tmp_path: Path) -> None:
    for seed in range(3):
        talk(tmp_path / f"v{seed}", seed=seed)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    means = voice_means(tmp_path, Loudness(), rhythm)
    assert means.shape == (3, 4) and np.isfinite(means).all()
    with pytest.raises(UserError, match="holds no sound files"):
        voice_means(tmp_path / "v0" / "none", Loudness(), rhythm)
