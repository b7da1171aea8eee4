"""The loop learns, resumes exactly, keeps the right checkpoints, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from emogene.errors import FormatError, UserError
from emogene.training.checkpoint import CheckpointStore, load_model, save_model
from emogene.training.loop import Hooks, LoopConfig, read_metrics, train


def make_model() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))


def make_step(model: nn.Module):
    def step(index: int, rng: np.random.Generator):
        x = torch.from_numpy(rng.standard_normal((16, 3)).astype(np.float32))
        loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
        return {"loss": loss, "twice": 2 * loss.detach()}

    return step


def run(folder: Path, config: LoopConfig, stop_after: int | None = None, **hooks) -> nn.Module:
    """Train, or die like a killed process after ``stop_after`` steps."""
    model = make_model()
    step = make_step(model)

    def dying(index: int, rng: np.random.Generator):
        if index == stop_after:
            raise KeyboardInterrupt
        return step(index, rng)

    train(folder, model, dying, config, Hooks(**hooks))
    return model


def test_learns(tmp_path: Path) -> None:
    config = LoopConfig(steps=300, learning_rate=0.02, log_every=20, warmup=5)
    run(tmp_path, config)
    losses = [record["loss"] for record in read_metrics(tmp_path)]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("stop_after", [17, 20, 23])
def test_resumed_equals_straight_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    config = LoopConfig(steps=40, checkpoint_every=10, log_every=5, warmup=5, validate_every=10)
    scores = iter(np.linspace(1, 0, 100))
    hooks = {"validate": lambda: {"score": float(torch.rand(()) * 0 + next(scores))}}
    straight = run(tmp_path / "straight", config, **hooks)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "resumed", config, stop_after, **hooks)
    resumed = run(tmp_path / "resumed", config, **hooks)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    first, second = (
        [r for r in read_metrics(tmp_path / name) if "loss" in r] for name in ("straight", "resumed")
    )
    assert [r["step"] for r in first] == [r["step"] for r in second]
    assert first[-1] == second[-1]


def test_keeps_best_and_ends_on_it(tmp_path: Path) -> None:
    scores = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    states = []
    model = make_model()

    def validate() -> dict[str, float]:
        states.append([p.detach().clone() for p in model.parameters()])
        return {"score": next(scores)}

    config = LoopConfig(steps=50, validate_every=10, checkpoint_every=10, keep=1)
    result = train(tmp_path, model, make_step(model), config, Hooks(validate=validate))
    store = CheckpointStore(tmp_path)
    assert store.best() is not None and store.best().name == "step-000020"
    assert store.latest().name == "step-000050"
    assert len(list(store.folder.glob("step-*"))) == 2
    assert result["score"] == 1.0
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), states[1], strict=True))


def test_preview_lands_in_samples(tmp_path: Path) -> None:
    config = LoopConfig(steps=4, validate_every=2)
    run(tmp_path, config, validate=lambda: {}, preview=lambda folder: (folder / "a.txt").write_text("x"))
    assert (tmp_path / "samples/step-000002/a.txt").exists()


def test_time_limit_stops_and_resumes(tmp_path: Path) -> None:
    run(tmp_path, LoopConfig(steps=50, max_minutes=1e-9))
    assert CheckpointStore(tmp_path).latest().name == "step-000001"
    run(tmp_path, LoopConfig(steps=5))
    assert CheckpointStore(tmp_path).latest().name == "step-000005"


def test_nan_is_refused(tmp_path: Path) -> None:
    model = make_model()

    def step(index: int, rng: np.random.Generator):
        return {"loss": model(torch.full((1, 3), torch.nan)).sum()}

    with pytest.raises(UserError, match="not finite at step 0"):
        train(tmp_path, model, step, LoopConfig(steps=2))


def test_half_precision_files_load(tmp_path: Path) -> None:
    model, other = make_model(), nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    save_model(tmp_path / "m.safetensors", model, torch.float16)
    load_model(tmp_path / "m.safetensors", other)
    assert torch.allclose(model[0].weight, other[0].weight, atol=1e-3)
    with pytest.raises(FormatError, match="does not fit"):
        load_model(tmp_path / "m.safetensors", nn.Linear(3, 8))
    (tmp_path / "m.safetensors").write_bytes(b"junk")
    with pytest.raises(FormatError, match="damaged"):
        load_model(tmp_path / "m.safetensors", other)


def test_config_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        LoopConfig(steps=0)
