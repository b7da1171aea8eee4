"""Motion and sync training on a made-up speaker: they learn, resume exactly, and every recipe runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from emogene.data.takes import Take, TakeConfig, build_takes, load_takes
from emogene.errors import UserError
from emogene.evaluate.motion import (
    Truth,
    corrected,
    diversity,
    evaluate_motion,
    follow_table,
    format_table,
    stillness,
    truths,
)
from emogene.evaluate.motion_judges import by_language, controls, projection_table, share_of_truth
from emogene.evaluate.motion_person import _places, person_table, with_common_offset
from emogene.evaluate.sync import evaluate_sync
from emogene.geometry.landmarks import lip_opening
from emogene.io.files import read_json
from emogene.motion.model import MotionModel, load_motion
from emogene.motion.sync import RECIPES as SYNC_RECIPES
from emogene.motion.sync import SyncExpert
from emogene.motion.vae import RECIPES as MOTION_RECIPES
from emogene.motion.vae import MotionVae
from emogene.training.adapt import adapt_motion
from emogene.training.loop import LoopConfig
from emogene.training.motion import train_motion, training_recipe
from emogene.training.sync import train_sync
from emogene.training.sync import training_recipe as sync_recipe
from emogene.types import Audio, FloatArray
from tests.data.talker import Loudness, rhythm, talk


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    return [talk(root / f"c{i}", seed=i, speaker="ab"[i % 2]) for i in range(6)]


@pytest.fixture(scope="module")
def takes(clips, tmp_path_factory) -> list[Take]:
    out = tmp_path_factory.mktemp("takes")
    build_takes(clips, Loudness(), rhythm, out, TakeConfig(seconds=6, versions=1))
    return load_takes(out)


@pytest.fixture(scope="module")
def model(takes, tmp_path_factory):
    config, (losses, loop) = MOTION_RECIPES["tiny"](), training_recipe("tiny")
    loop = replace(loop, steps=150, learning_rate=1e-2)
    config = replace(config, dropout=0.0)
    return train_motion(tmp_path_factory.mktemp("run"), takes, config, replace(losses, batch=8), loop)


def test_learns_to_follow(model, clips) -> None:
    truth = truths(clips, Loudness(), rhythm)
    row = evaluate_motion(model, truth, temperature=0.0)
    assert row["r_opening"] > 0.7 and row["nmse"] < 0.7 and abs(row["lag"]) < 1
    still = stillness(model, Loudness(), rhythm, clips[:1])
    assert still["zeros"] < 0.3
    spread = diversity(model, truth[:2], samples=2)
    assert spread["diversity"] > 0 and "r_opening" in format_table({"toy": row})


def test_truth_scores_perfectly(clips) -> None:
    truth = truths(clips, Loudness(), rhythm)
    row = follow_table(truth, [clip.offsets for clip in truth])
    assert row["r_opening"] > 0.999 and row["nmse"] < 1e-6 and abs(row["std_opening"] - 1) < 1e-3
    late = follow_table(truth, [np.roll(clip.offsets, 2, axis=0) for clip in truth])
    assert late["lag"] == pytest.approx(2, abs=0.3)


def test_resumes_exactly(takes, tmp_path: Path) -> None:
    config, (losses, _) = MOTION_RECIPES["tiny"](), training_recipe("tiny")
    loop = LoopConfig(steps=6, checkpoint_every=3, warmup=1)

    def weights(folder: Path, steps: int) -> torch.Tensor:
        train_motion(folder, takes, config, losses, replace(loop, max_minutes=0 if steps == 6 else 1e-9))
        return train_motion(folder, takes, config, losses, loop).network.leave.weight

    assert torch.equal(weights(tmp_path / "straight", 6), weights(tmp_path / "stopped", 1))


@pytest.mark.parametrize("name", ["standard", "paper"])
def test_recipes_run_small(name: str, takes, tmp_path: Path) -> None:
    config, (losses, loop) = MOTION_RECIPES[name](), training_recipe(name)
    config = replace(config, channels=16, hidden=16, flow_hidden=8)
    losses = replace(losses, batch=2, frames=32)
    made = train_motion(tmp_path, takes, config, losses, replace(loop, steps=2, validate_every=0))
    features = np.zeros((20, 4), np.float32)
    assert made.generate(features, np.zeros((20, 3), np.float32)).shape == (10, 68, 3)


def test_sync_expert_guides_and_finds_offsets(takes, clips, tmp_path: Path) -> None:
    config, (batches, loop) = SYNC_RECIPES["tiny"](), sync_recipe("tiny")
    loop = replace(loop, steps=150, learning_rate=5e-3)
    expert = train_sync(tmp_path / "sync", takes, config, batches, loop)
    truth = truths(clips, Loudness(), rhythm)
    table = evaluate_sync(expert, truth)
    assert table["against_5"] > 0.8 and table["within_1"] > 0.6
    failing = controls(expert, truth)
    assert failing["still_against_5"] == 0.5
    assert failing["backwards_against_5"] < table["against_5"]
    assert failing["late_within_1"] < table["within_1"]
    same = share_of_truth(expert, truth, [clip.offsets for clip in truth])
    assert same["share_of_truth"] == pytest.approx(1)
    losses, motion_loop = training_recipe("tiny")
    motion_loop = replace(motion_loop, steps=2)
    train_motion(tmp_path / "m", takes, MOTION_RECIPES["tiny"](), losses, motion_loop, expert=expert)


def test_projection_brings_foreign_mouths_to_the_person(clips) -> None:
    truth = truths(clips, Loudness(), rhythm)
    table = projection_table(truth, [2 * clip.offsets for clip in truth])
    assert list(table) == ["none", "blend 0", "blend 0.2", "blend 0.5"]
    assert table["blend 0.5"]["outside"] < table["none"]["outside"]
    languages = {clip.name: "de" if clip.speaker == "a" else "" for clip in truth}
    assert by_language(truth, languages, [clip.offsets for clip in truth])["r_opening_de"] > 0.99


def test_fitting_is_judged_on_what_is_left(model, tmp_path: Path) -> None:
    pieces = [talk(tmp_path / f"p{i}", seconds=8, seed=20 + i, speaker="p") for i in range(3)]
    pieces.append(talk(tmp_path / "short", seconds=8, seed=30, speaker="q"))
    rows = person_table(pieces, model, Loudness(), rhythm, tmp_path / "work", seconds=15)
    assert list(rows) == ["as everybody", "fitted"]
    assert set(rows["fitted"]["per_speaker"]) == {"p-0", "p-1"}
    assert rows["fitted"]["nmse"] < rows["as everybody"]["nmse"]
    third = [len(judged) for _, judged in _places(pieces[:3], 0.6)]
    assert third == [1, 1, 1]
    assert [learned for learned, _ in _places(pieces[:3], 0.6)][2] == [pieces[0], pieces[2]]
    late = [replace(clip, about=clip.about | {"av_offset_frames": k}) for k, clip in enumerate(pieces)]
    assert [clip.about["av_offset_frames"] for clip in with_common_offset(late)] == [1, 1, 1, 3]


class Hearing(SyncExpert):
    """Sure that lips open as far as the sound is loud."""

    def similarity(self, features: FloatArray, landmarks: FloatArray) -> FloatArray:
        opening = lip_opening(landmarks)
        sound, mouth = features[::2, 0] / features[:, 0].max(), (opening - opening.min()) / np.ptp(opening)
        return np.asarray(-((sound[:, None] - mouth[None]) ** 2), np.float32)


def test_offsets_are_taken_out_whole_or_exactly(tmp_path: Path) -> None:
    clip = talk(tmp_path / "late", seconds=12, late=2)
    landmarks = gaussian_filter1d(clip.arrays["landmarks_cano"], 1, axis=0)
    halfway = 0.6 * landmarks[:-1] + 0.4 * landmarks[1:]
    clip = replace(clip, arrays=clip.arrays | {"landmarks_cano": np.concatenate([landmarks[:1], halfway])})
    expert = Hearing(SYNC_RECIPES["tiny"]())
    whole, exact = (
        corrected(clip, expert, Loudness(), rhythm, exact).about["av_offset_frames"]
        for exact in (False, True)
    )
    assert whole == 3 and exact == pytest.approx(2.6, abs=0.2)


def _holds_as_windows_and_on_disk(own: MotionModel, clip: Truth, folder: Path) -> None:
    """A fitted model hears its past: a window with context says what the whole does, and so does its file."""
    whole = own.generate(clip.features, clip.prosody, seed=3)
    start = 2 * own.context_frames
    window = slice(2 * (start - own.context_frames), None)
    part = own.generate(
        clip.features[window], clip.prosody[window], seed=3, start_frame=start - own.context_frames
    )
    np.testing.assert_allclose(part[own.context_frames :], whole[start:], atol=1e-5)
    own.save(folder)
    again = load_motion(folder)
    assert again.config.moments == own.config.moments
    np.testing.assert_allclose(again.generate(clip.features, clip.prosody, seed=3), whole, atol=2e-3)


def test_adapts_to_a_person(model, tmp_path: Path) -> None:
    speech = [talk(tmp_path / f"p{i}", seconds=9, seed=20 + i, speaker="p") for i in range(2)]
    before = model.network.regress.weight.clone()
    own = adapt_motion(tmp_path / "run", speech, model, Loudness(), rhythm)
    assert torch.equal(own.network.condition.enter.weight, model.network.condition.enter.weight)
    assert not torch.equal(own.network.regress.weight, before)
    assert torch.equal(model.network.regress.weight, before)
    assert own.reference_amplitude == model.reference_amplitude
    fit = read_json(tmp_path / "run" / "fit.json")
    assert fit["seconds"] == 18 and min(fit["left_out_error"].values()) < 1
    more = truths([talk(tmp_path / "more", seconds=9, seed=30, speaker="p")], Loudness(), rhythm)

    def speak(who: MotionModel):
        return who.generate(more[0].features, more[0].prosody, temperature=0.0, mouth_amp=0.9)

    errors = [follow_table(more, [speak(who)])["nmse"] for who in (model, own)]
    assert errors[1] < errors[0]
    assert 0.85 < follow_table(more, [speak(own)])["velocity"] < 1.2
    quiet = Audio(np.zeros(2 * 16_000, np.float32))
    rests = [m.generate(Loudness()(quiet), rhythm(quiet), temperature=0.0) for m in (model, own)]
    assert np.abs(rests[1] - rests[0]).max() < 0.01
    _holds_as_windows_and_on_disk(own, more[0], tmp_path / "own")
    with pytest.raises(UserError, match="fitted to a person already"):
        adapt_motion(tmp_path / "again", speech, own, Loudness(), rhythm)
    paper = MotionModel(MotionVae(replace(MOTION_RECIPES["paper"](), feature_dim=4, channels=16)))
    with pytest.raises(UserError, match="recipe paper cannot be fitted"):
        adapt_motion(tmp_path / "paper", speech, paper, Loudness(), rhythm)
    with pytest.raises(UserError, match="9 s of speech are too short"):
        adapt_motion(tmp_path / "short", speech[:1], model, Loudness(), rhythm)
