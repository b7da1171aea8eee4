"""Checkpoints of a training run: whole or absent, readable by any tool, no pickle.

runs/<name>/checkpoints/
    step-000500/model.safetensors       the model's state_dict
    step-000500/optimizer.safetensors   tensors of the optimizer, named "<parameter>.<field>"
    step-000500/rng.safetensors         torch's random state
    step-000500/trainer.json            step, best score, the optimizer's numbers
    step-000500/config.json             the model's configuration, so that a checkpoint stands alone
    LATEST, BEST                        text: the folder's name (not links: Windows, network drives)
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from emogene.errors import FormatError
from emogene.io.files import atomic_folder, atomic_path, check_format_version, read_json, write_json

CHECKPOINT_FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """Where a run stands: steps done, the best validation score so far and its step."""

    step: int = 0
    best_score: float | None = None
    best_step: int | None = None


class CheckpointStore:
    """The ``checkpoints`` folder of one run; keeps the last ``keep`` checkpoints and the best one."""

    def __init__(self, run_dir: Path, keep: int = 2) -> None:
        self.folder = Path(run_dir) / "checkpoints"
        self.keep = keep

    def save(
        self, progress: Progress, model: nn.Module, optimizer: Optimizer, config: dict[str, Any] | None = None
    ) -> Path:
        """Write one checkpoint, point LATEST (and BEST, if it is the best) at it, drop old ones."""
        target = self.folder / f"step-{progress.step:06d}"
        tensors, numbers = _split_optimizer(optimizer)
        with atomic_folder(target) as temporary:
            save_model(temporary / "model.safetensors", model)
            save_file(tensors, temporary / "optimizer.safetensors")
            save_file({"torch": torch.get_rng_state()}, temporary / "rng.safetensors")
            write_json(temporary / "config.json", config or {})
            state = {
                "format_version": CHECKPOINT_FORMAT,
                "step": progress.step,
                "best_score": progress.best_score,
                "best_step": progress.best_step,
                "optimizer": numbers,
            }
            write_json(temporary / "trainer.json", state)
        self._point("LATEST", target.name)
        if progress.best_step == progress.step:
            self._point("BEST", target.name)
        self._prune()
        return target

    def latest(self) -> Path | None:
        """Folder of the newest checkpoint; None for a fresh run."""
        return self._follow("LATEST")

    def best(self) -> Path | None:
        """Folder of the checkpoint with the best validation score; None without validation."""
        return self._follow("BEST")

    def restore(self, model: nn.Module, optimizer: Optimizer) -> Progress:
        """Load the newest checkpoint into model, optimizer and torch's random state.

        Returns where it stands; ``Progress()`` if there is none.
        """
        folder = self.latest()
        if folder is None:
            return Progress()
        state = read_json(folder / "trainer.json")
        check_format_version(state, CHECKPOINT_FORMAT, folder / "trainer.json")
        load_model(folder / "model.safetensors", model)
        _join_optimizer(optimizer, _load(folder / "optimizer.safetensors"), state["optimizer"])
        torch.set_rng_state(_load(folder / "rng.safetensors")["torch"])
        return Progress(int(state["step"]), state["best_score"], state["best_step"])

    def _point(self, name: str, target: str) -> None:
        with atomic_path(self.folder / name) as temporary:
            temporary.write_text(target + "\n")

    def _follow(self, name: str) -> Path | None:
        path = self.folder / name
        return self.folder / path.read_text().strip() if path.exists() else None

    def _prune(self) -> None:
        folders = sorted(self.folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
        kept = {self.best()} | set(folders[-self.keep :])
        for folder in folders:
            if folder not in kept:
                shutil.rmtree(folder)


def save_model(path: Path, model: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Write a model's state_dict; ``dtype`` (such as float16) shrinks its floating tensors."""
    state = {}
    for name, tensor in model.state_dict().items():
        small = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        state[name] = small.detach().cpu().clone().contiguous()
    with atomic_path(path) as temporary:
        save_file(state, temporary)


def load_model(path: Path, model: nn.Module) -> None:
    """Load a state_dict into ``model``; names and shapes must match."""
    tensors = _load(path)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise FormatError(f"{path} does not fit this model ({first}); use its own config.json") from None


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise FormatError(f"{path} is damaged ({error}); delete its folder to go on without it") from None


def _split_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of an optimizer's state, and everything else as JSON."""
    state = optimizer.state_dict()
    tensors, numbers = {}, {}
    for index, fields in state["state"].items():
        for name, value in fields.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value.detach().cpu().clone().contiguous()
            else:
                numbers[f"{index}.{name}"] = value
    return tensors, {"state": numbers, "param_groups": state["param_groups"]}


def _join_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in (tensors | numbers["state"]).items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    groups = [
        {key: tuple(value) if key == "betas" else value for key, value in group.items()}
        for group in numbers["param_groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
