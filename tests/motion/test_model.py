"""The public model: windows agree with the whole, seeds repeat, files round-trip broken ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emogene.errors import FormatError
from emogene.motion.model import MotionModel, load_motion
from emogene.motion.vae import MotionVae, tiny


@pytest.fixture(scope="module")
def model() -> MotionModel:
    torch.manual_seed(3)
    network = MotionVae(tiny())
    for parameter in network.flow.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return MotionModel(network, reference_amplitude=0.02)


def speech(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 8)).astype(np.float32), rng.random((n, 3)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 7, 101])
def test_any_length(model: MotionModel, n: int) -> None:
    assert model.generate(*speech(n)).shape == ((n + 1) // 2, 68, 3)


def test_windows_equal_the_whole(model: MotionModel) -> None:
    features, prosody = speech(600)
    whole = model.generate(features, prosody, seed=4, temperature=0.8)
    block, ahead, context = 24, model.look_ahead_frames, model.context_frames
    assert ahead <= 6
    for first in range(0, 300, block):
        start = max(0, first - context)
        stop = min(300, first + block + ahead)
        rows = slice(2 * start, 2 * stop)
        window = model.generate(features[rows], prosody[rows], seed=4, temperature=0.8, start_frame=start)
        piece = window[first - start : first - start + block]
        np.testing.assert_allclose(piece, whole[first : first + block], atol=2e-5)


def test_seed_and_temperature(model: MotionModel) -> None:
    features, prosody = speech(80)
    first = model.generate(features, prosody, seed=1, temperature=1.0)
    assert np.array_equal(first, model.generate(features, prosody, seed=1, temperature=1.0))
    other = model.generate(features, prosody, seed=2, temperature=1.0)
    assert np.abs(first - other).max() > 1e-4
    cold = [model.generate(features, prosody, seed=seed, temperature=0.0) for seed in (1, 2)]
    assert np.array_equal(*cold)


def test_wrong_features_are_named(model: MotionModel) -> None:
    with pytest.raises(ValueError, match=r"features must be \[T50, 8\]"):
        model.generate(np.zeros((10, 9), np.float32), np.zeros((10, 3), np.float32))
    with pytest.raises(ValueError, match="prosody has 9 rows"):
        model.generate(np.zeros((10, 8), np.float32), np.zeros((9, 3), np.float32))


def test_round_trip(model: MotionModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m", trained_on="nothing")
    again = load_motion(tmp_path / "m")
    assert again.config == model.config and again.reference_amplitude == 0.02
    np.testing.assert_allclose(again.generate(*speech(40)), model.generate(*speech(40)), atol=5e-3)


def test_broken_folder_is_one_sentence(model: MotionModel, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot read"):
        load_motion(tmp_path / "absent")
    model.save(tmp_path / "m")
    config = (tmp_path / "m/config.json").read_text()
    (tmp_path / "m/config.json").write_text(config.replace('"motion"', '"sync"'))
    with pytest.raises(FormatError, match="holds 'sync'"):
        load_motion(tmp_path / "m")
    (tmp_path / "m/config.json").write_text(config.replace('"latent": 4', '"latent": 8'))
    with pytest.raises(FormatError, match="does not fit"):
        load_motion(tmp_path / "m")
    (tmp_path / "m/config.json").write_text(config.replace('"latent": 4', '"latents": 4'))
    with pytest.raises(FormatError, match="unknown fields"):
        load_motion(tmp_path / "m")
