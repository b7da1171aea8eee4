from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emogene.errors import UserError
from emogene.features.extractor import load_extractor
from emogene.features.student import StudentNet, load_student, save_student, tiny
from emogene.features.whisper import WhisperConfig, WhisperEncoder, WhisperFeatures
from emogene.io.audio import write_wav
from emogene.training.feature_probe import Classifier
from emogene.training.feature_sound import fill_pauses, make_window, pauses, recordings, spoil
from emogene.training.features import average_students, recipe, train_features, with_limits
from emogene.training.prompts import PROMPTS, prompt_folders
from emogene.types import Audio


def buzz(seconds: float, hz: float) -> np.ndarray:
    t = np.arange(round(seconds * 16000)) / 16000
    return (0.2 * np.sin(2 * np.pi * hz * t) * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    for k in range(12):
        write_wav(tmp_path / "speech" / f"{k}.wav", Audio(buzz(1.5, 120 + 30 * k)))
    return tmp_path / "speech"


@pytest.fixture
def teacher() -> WhisperFeatures:
    torch.manual_seed(0)
    return WhisperFeatures(WhisperEncoder(WhisperConfig(dim=16, heads=2, layers=1, take=1)))


def test_a_student_learns_resumes_and_loads(tmp_path: Path, speech: Path, teacher: WhisperFeatures) -> None:
    plan = recipe("tiny")
    given = {"teacher": teacher, "origin": WhisperEncoder(WhisperConfig(dim=16, heads=2, layers=2, take=2))}
    first = train_features([speech], tmp_path / "run", with_limits(plan, steps=5), **given)
    longer = train_features([speech], tmp_path / "run", with_limits(plan, steps=40), **given)
    assert longer["clean_mse"] < 0.9 * first["clean_mse"]
    loaded = load_extractor("emogene", tmp_path / "run" / "export")
    rows = loaded(Audio(buzz(1.0, 200)))
    assert rows.shape == (50, 16)
    # The scale is the teacher's, not the standardised one.
    assert np.abs(rows).mean() == pytest.approx(np.abs(teacher(Audio(buzz(1.0, 200)))).mean(), rel=0.6)


def test_students_are_averaged(tmp_path: Path) -> None:
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_student(StudentNet(tiny()), tmp_path / str(seed))
    average_students([tmp_path / "0", tmp_path / "1"], tmp_path / "mean")
    first, second, mean = (load_student(tmp_path / name).net.head.weight for name in ("0", "1", "mean"))
    np.testing.assert_allclose(mean, (first + second) / 2, atol=2e-3)
    with pytest.raises(UserError, match="one size"):
        average_students([], tmp_path / "none")


def test_a_mean_can_resemble_the_student_before_it(tmp_path: Path, speech: Path) -> None:
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = StudentNet(tiny())
        net.head.weight.data *= 3
        save_student(net, tmp_path / str(seed))
    both = [tmp_path / "0", tmp_path / "1"]
    average_students(both, tmp_path / "mean")
    average_students(both, tmp_path / "like", like=both[0], data=[speech])
    sound = Audio(buzz(2.0, 210))
    first, mean, like = (load_student(tmp_path / name)(sound) for name in ("0", "mean", "like"))
    assert np.square(like - first).mean() < 0.5 * np.square(mean - first).mean()


def test_a_student_goes_on_and_keeps_its_scale(
    tmp_path: Path, speech: Path, teacher: WhisperFeatures
) -> None:
    torch.manual_seed(0)
    save_student(StudentNet(tiny()), tmp_path / "start")
    plan = replace(with_limits(recipe("tiny"), steps=2), disguise=0.2)
    train_features([speech], tmp_path / "run", plan, teacher=teacher, start=tmp_path / "start")
    before, after = (load_student(tmp_path / name).net for name in ("start", "run/export"))
    assert torch.equal(before.mean, after.mean) and torch.equal(before.std, after.std)
    assert 0 < (before.head.weight - after.head.weight).abs().max() < 0.1


def test_prompts_are_found_where_packages_put_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="apt install asterisk-core-sounds-it-g722"):
        prompt_folders(tmp_path)
    for speaker in PROMPTS:
        (tmp_path / "usr/share" / speaker.folder).mkdir(parents=True)
    assert len(set(prompt_folders(tmp_path))) == len(PROMPTS) == 6


def test_every_recipe_is_valid() -> None:
    assert recipe("standard").student.dim == 512
    assert recipe("standard").student == recipe("languages").student
    with pytest.raises(UserError, match="tiny, standard or languages"):
        recipe("huge")
    assert with_limits(recipe("tiny"), minutes=3).loop.max_minutes == 3


def test_windows_are_speech_with_pauses() -> None:
    rng = np.random.default_rng(0)
    window = make_window([[buzz(1.0, 150)], [buzz(2.0, 300)]], 10 * 16000, rng)
    assert window.shape == (160_000,) and np.abs(window).max() <= 1
    found = pauses(window)
    assert found and all(not window[a:b].any() and b - a > 2400 for a, b in found)
    filled = fill_pauses(window, rng)
    assert np.array_equal(filled[window != 0], window[window != 0])
    assert any(filled[a:b].any() for a, b in found)


def test_spoiling_keeps_time_and_range() -> None:
    clean = make_window([[buzz(1.0, 150)]], 32_000, np.random.default_rng(1))
    for seed in range(20):
        sound = spoil(clean, np.random.default_rng(seed))
        assert sound.shape == clean.shape and sound.dtype == np.float32
        assert np.isfinite(sound).all() and np.abs(sound).max() < 4


def test_no_recordings_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sound found"):
        recordings([tmp_path], held_out=False)


def test_the_probe_separates_what_is_separable() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 19, 2000)
    x = np.eye(19)[y] @ rng.normal(size=(19, 30)) + 0.1 * rng.normal(size=(2000, 30))
    classifier = Classifier.fit(x[:1500].astype(np.float32), np.where(rng.random(1500) < 0.1, -1, y[:1500]))
    assert (classifier(x[1500:].astype(np.float32)) == y[1500:]).mean() > 0.95
