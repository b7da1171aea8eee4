"""The sync expert learns a simple world, finds its offset, and survives odd input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from emogene.motion.sync import MOUTH_INPUTS, RECIPES, SyncExpert, load_sync, tiny


def world(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Features that the mouth follows linearly."""
    signal = rng.standard_normal((n, 4)).astype(np.float32)
    features = np.repeat(np.concatenate([signal, -signal], 1), 2, axis=0)
    mixing = np.random.default_rng(9).standard_normal((4, 68, 3)).astype(np.float32)
    return features, np.einsum("tk,klc->tlc", signal, mixing)


@pytest.fixture(scope="module")
def expert() -> SyncExpert:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    expert = SyncExpert(tiny())
    optimizer = torch.optim.Adam(expert.parameters(), 3e-3)
    for _ in range(120):
        features, landmarks = world(rng, 60)
        mouth = torch.from_numpy(landmarks[None, :, 48:].reshape(1, 60, MOUTH_INPUTS))
        loss = expert.loss(expert.speech(torch.from_numpy(features)[None])[0], expert.mouth(mouth)[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return expert.eval()


@pytest.mark.parametrize("shift", [0, 4, -3])
def test_finds_the_offset(expert: SyncExpert, shift: int) -> None:
    features, landmarks = world(np.random.default_rng(7), 90)
    late = np.roll(landmarks, shift, axis=0) + 5.0
    confidence, offset = expert.score(features, late)
    assert offset == shift
    assert confidence > 0.3


@pytest.mark.parametrize("shift", [0.3, -0.4, 2.25])
def test_finds_a_fraction_of_a_frame(expert: SyncExpert, shift: float) -> None:
    features, landmarks = world(np.random.default_rng(7), 90)
    landmarks = gaussian_filter1d(landmarks, 1, axis=0)
    times = np.clip(np.arange(90) - shift, 0, 89)
    late = CubicSpline(np.arange(90), landmarks)(times).astype(np.float32)
    assert expert.place(features, late)[1] == pytest.approx(shift, abs=0.25)
    assert expert.score(features, late)[1] == round(shift)


def test_strangers_do_not_match(expert: SyncExpert) -> None:
    features, landmarks = world(np.random.default_rng(7), 90)
    _, other = world(np.random.default_rng(8), 90)
    assert expert.score(features, other)[0] < 0.5 * expert.score(features, landmarks)[0]


def test_silent_mask_and_short_clips(expert: SyncExpert) -> None:
    features, landmarks = world(np.random.default_rng(7), 12)
    assert abs(expert.score(features, landmarks, np.zeros(12, np.float32))[1]) <= 15
    with pytest.raises(ValueError, match="needs 10 frames, not 4"):
        expert.score(features[:8], landmarks)


def test_round_trip(expert: SyncExpert, tmp_path: Path) -> None:
    expert.save(tmp_path / "s", accuracy=1.0)
    again = load_sync(tmp_path / "s")
    features, landmarks = world(np.random.default_rng(3), 40)
    np.testing.assert_allclose(
        again.similarity(features, landmarks), expert.similarity(features, landmarks), atol=0.02
    )


@pytest.mark.parametrize("name", ["standard", "paper"])
def test_recipes_give_a_loss(name: str) -> None:
    config = RECIPES[name]()
    expert = SyncExpert(config)
    n = config.window + 6
    speech = expert.speech(torch.randn(1, 2 * n, config.feature_dim))
    mouth = expert.mouth(torch.randn(1, n, MOUTH_INPUTS))
    assert speech.shape == mouth.shape == (1, 7, config.embedding)
    expert.loss(speech[0], mouth[0]).backward()
