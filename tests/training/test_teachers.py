"""Teachers speak sound without pictures: their mean, with a person's spread, as takes like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emogene.data.takes import Take, TakeConfig, build_takes, load_takes
from emogene.data.windows import Windows
from emogene.errors import UserError
from emogene.features.extractor import load_extractor
from emogene.geometry.landmarks import EYES, lip_opening
from emogene.io.audio import read_audio
from emogene.motion.model import MotionModel
from emogene.motion.vae import MotionVae, plain
from emogene.training.motion import train_motion, training_recipe
from emogene.training.teachers import (
    FREE_SPEECH,
    FREE_WIDTH,
    LATER,
    Teacher,
    load_teachers,
    spread_gains,
    taught_takes,
    teach,
)
from tests.data.talker import Loudness, rhythm, talk


def network(seed: int, features: str = "loudness", feature_dim: int = 4) -> MotionModel:
    torch.manual_seed(seed)
    config = replace(plain(), features=features, feature_dim=feature_dim, channels=16)
    vae = MotionVae(config)
    vae.scale.fill_(0.02)
    return MotionModel(vae, 0.02)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    for i in range(3):
        talk(root / "made" / str(i), seconds=3 + i, seed=40 + i)
        (root / f"voice{i}.wav").write_bytes((root / "made" / str(i) / "audio.wav").read_bytes())
    (root / "made").rename(root.parent / f"{root.name}-made")
    return root


@pytest.fixture(scope="module")
def tracked(tmp_path_factory) -> list[Take]:
    root = tmp_path_factory.mktemp("tracked")
    clips = [talk(root / f"c{i}", seed=i, speaker="a") for i in range(3)]
    build_takes(clips, Loudness(), rhythm, root / "takes", TakeConfig(seconds=6, versions=1))
    return load_takes(root / "takes")


def test_the_mean_of_the_teachers_is_spoken(sounds: Path, tmp_path: Path) -> None:
    teachers = [Teacher(network(seed), Loudness()) for seed in (1, 2)]
    clips = teach(sounds, teachers, rhythm, tmp_path)
    assert [clip.n_frames for clip in clips] == [75, 100, 125]
    sound = read_audio(clips[1].audio_path)
    single = [t.model.generate(t.ears(sound), rhythm(sound), temperature=0.0) for t in teachers]
    np.testing.assert_allclose(clips[1].arrays["landmarks_cano"], np.mean(single, axis=0), atol=1e-4)
    before = (tmp_path / "voice0" / "clip.json").stat().st_mtime_ns
    assert len(teach(sounds, [], rhythm, tmp_path)) == 3
    assert (tmp_path / "voice0" / "clip.json").stat().st_mtime_ns == before


def test_spread_is_given_back(tracked: list[Take]) -> None:
    spoken = [take for take in tracked if take.speaker]
    small = [(0.5 * take.offsets).astype(np.float32) for take in spoken]
    gains = spread_gains(small, tracked)
    assert gains is not None
    made = replace(gains, sharper=0.0, later=0.0)
    opening = np.concatenate([lip_opening(made(motion)) for motion in small]).std()
    true = np.concatenate([lip_opening(take.offsets.astype(np.float32)) for take in spoken]).std()
    assert opening / true == pytest.approx(FREE_SPEECH, abs=0.1)
    assert (gains(np.zeros((2, 68, 3), np.float32)) == 0).all()
    moved = np.ones((2, 68, 3), np.float32)
    assert (gains(moved)[:, EYES] == 1).all()
    assert spread_gains(small, []) is None


def test_lips_are_widened_sharpened_and_delayed(tracked: list[Take]) -> None:
    spoken = [take for take in tracked if take.speaker]
    smiling = [take.offsets.astype(np.float32) for take in spoken]
    wave = [0.008 * np.sin(np.arange(len(motion)) / 5) for motion in smiling]
    for motion, width in zip(smiling, wave, strict=True):
        motion[:, 54, 0] += width
        motion[:, 48, 0] -= width
    people = [replace(take, offsets=motion) for take, motion in zip(spoken, smiling, strict=True)]
    gains = spread_gains(smiling, people)
    assert gains is not None
    made = np.concatenate([replace(gains, sharper=0.0, later=0.0)(motion) for motion in smiling])
    width, opening = made[:, 54, 0] - made[:, 48, 0], lip_opening(made)
    assert width.std() / opening.std() == pytest.approx(FREE_WIDTH, rel=0.05)
    assert np.corrcoef(width, 2 * np.concatenate(wave))[0, 1] > 0.99
    turn = np.zeros((60, 68, 3), np.float32)
    turn[:, 54, 0] = np.sin(np.arange(60) / 2)
    late, still = gains(turn)[5:-5, 54, 0], replace(gains, later=0.0)(turn)[5:-5, 54, 0]
    assert still.std() > 1.02 * replace(gains, sharper=0.0)(turn)[5:-5, 54, 0].std()
    shift = np.arange(len(late)) - LATER
    assert np.abs(late[1:] - np.interp(shift[1:], np.arange(len(still)), still)).max() < 0.05


def test_taught_takes_train_beside_tracked_ones(sounds: Path, tracked: list[Take], tmp_path: Path) -> None:
    ears = load_extractor("mel")
    for seed in (1, 2):
        network(seed, "mel", ears.dim).save(tmp_path / str(seed))
    assert {teacher.ears.name for teacher in load_teachers([tmp_path / "1", tmp_path / "2"])} == {"mel"}
    folders = [tmp_path / "1", tmp_path / "2"]
    taught = taught_takes(sounds, folders, [Loudness()], rhythm, tmp_path / "run", tracked)
    assert all(take.taught and take.amplitude == 0 for take in taught if take.speaker)
    windows = Windows([*tracked, *taught], real_share=0.5)
    assert windows.reference_amplitude == pytest.approx(tracked[0].amplitude)
    losses, loop = training_recipe("plain")
    config = replace(plain(), channels=16, features="loudness")
    loop = replace(loop, steps=2, validate_every=0)
    losses = replace(losses, batch=4, frames=32)
    made = train_motion(tmp_path / "motion", [*tracked, *taught], config, losses, loop)
    assert made.config.latent == 0 and made.context_frames >= 24


def test_a_folder_without_speech_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no sound files"):
        teach(tmp_path, [], rhythm, tmp_path / "out")
