"""One plain training loop for every stage: resumes by default, and a resumed run equals a straight one.

    from emogene.training.loop import Hooks, LoopConfig, train

    def step(index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        batch = dataset.sample(rng)            # all randomness from rng (or torch's global generator)
        loss = ((model(batch.x) - batch.y) ** 2).mean()
        return {"loss": loss, "mse": loss}     # "loss" is differentiated, the rest is logged

    result = train(run_dir, model, step, LoopConfig(steps=2000), Hooks(validate=..., preview=...))

``rng`` is seeded by (seed, index), so data order does not depend on when the run was interrupted; torch's
generator is stored in the checkpoints. The run folder holds run.json (what was asked and how it ended),
metrics.jsonl (one line per ``log_every`` steps and per validation), samples/step-000500/ (previews) and
checkpoints/ (see ``training.checkpoint``).
"""

from __future__ import annotations

import json
import logging
import math
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from emogene.errors import UserError
from emogene.io.files import atomic_folder, atomic_path, read_json, write_json
from emogene.training.checkpoint import CheckpointStore, Progress, load_model

log = logging.getLogger(__name__)

Step = Callable[[int, np.random.Generator], Mapping[str, Tensor | float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How long and how fast to train."""

    steps: int = 1000
    learning_rate: float = 1e-3
    """Peak rate. Groups of an optimizer you bring keep their own rates; the schedule scales them all."""
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    final_rate: float = 0.01
    """Share of the peak rate left at the last step."""
    warmup: int = 50
    """Steps of linear rise at the start."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    """Largest gradient norm; 0: no limit."""
    seed: int = 0
    log_every: int = 50
    validate_every: int = 500
    """0: at the end only."""
    checkpoint_every: int = 500
    keep: int = 2
    max_minutes: float = 0.0
    """Stop (with a checkpoint) after so long; 0: no limit."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")

    def rate(self, step: int) -> float:
        """Learning rate of ``step`` as a share of the peak."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "exponential":
            return float(self.final_rate**progress)
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What a stage may add to the loop.

    validate: returns scores of the model as it is; "score" (lower is better) picks the best checkpoint.
    preview: writes pictures or curves into the folder it gets; runs after each validation.
    optimizer: replaces AdamW over all parameters, for groups with their own rates.
    about: goes into run.json (stage, recipe, data ...). config: the model's configuration.
    progress: called with (steps done, steps in all, seconds left) at every log line.
    """

    validate: Callable[[], Mapping[str, float]] | None = None
    preview: Callable[[Path], None] | None = None
    optimizer: Optimizer | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[int, int, float], None] | None = None


def train(
    run_dir: Path, model: nn.Module, step: Step, config: LoopConfig, hooks: Hooks | None = None
) -> dict[str, float]:
    """Train ``model`` in place, going on from the last checkpoint in ``run_dir`` if there is one.

    With a validation score the model ends as the best checkpoint, else as the last step.

    Args:
        run_dir: the run folder; made if absent.
        model: any module; ``step`` closes over it.
        step: computes one batch's losses, see the module's docstring.
        config: length, rates, intervals.
        hooks: validation, preview, optimizer, notes.

    Returns:
        The last logged means and, if validated, the scores of the best checkpoint.

    Raises:
        UserError: a loss that is not finite.
    """
    hooks = hooks or Hooks()
    run = _Run(Path(run_dir), model, config, hooks)
    torch.manual_seed(config.seed)
    progress = run.resume()
    deadline = time.monotonic() + config.max_minutes * 60 if config.max_minutes else math.inf
    first_step, started = progress.step, time.monotonic()
    model.train()
    for index in range(progress.step, config.steps):
        run.account(index, _update(run, step, index))
        done, out_of_time = index + 1, time.monotonic() > deadline
        last = done == config.steps or out_of_time
        progress = replace(progress, step=done)
        if done % config.log_every == 0 or last:
            per_step = (time.monotonic() - started) / (done - first_step)
            run.log_losses(done, per_step * (config.steps - done))
        if hooks.validate and (last or (config.validate_every and done % config.validate_every == 0)):
            progress = run.validate(progress)
        if last or progress.best_step == done or done % config.checkpoint_every == 0:
            run.store.save(progress, model, run.optimizer, dict(hooks.config))
        if out_of_time:
            log.info("time is up after step %d of %d", done, config.steps)
            break
    return run.finish(progress)


def _update(run: _Run, step: Step, index: int) -> Mapping[str, Tensor | float]:
    """One optimizer step; returns the losses."""
    for group, peak in zip(run.optimizer.param_groups, run.peak_rates, strict=True):
        group["lr"] = peak * run.config.rate(index)
    losses = step(index, np.random.default_rng((run.config.seed, index)))
    loss = losses["loss"]
    if not isinstance(loss, Tensor):
        raise TypeError('step must return its "loss" as a tensor')
    if not torch.isfinite(loss):
        raise UserError(f"the loss is not finite at step {index} of {run.folder}; use a lower learning rate")
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if run.config.clip_norm:
        nn.utils.clip_grad_norm_(run.model.parameters(), run.config.clip_norm)
    run.optimizer.step()
    return losses


class _Run:
    """Book-keeping of one run folder."""

    def __init__(self, folder: Path, model: nn.Module, config: LoopConfig, hooks: Hooks) -> None:
        self.folder, self.model, self.config, self.hooks = folder, model, config, hooks
        self.store = CheckpointStore(folder, config.keep)
        self.optimizer = hooks.optimizer or torch.optim.AdamW(
            (p for p in model.parameters() if p.requires_grad),
            config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.sums: dict[str, float] = {}
        self.count = 0
        self.means: dict[str, float] = {}
        self.scores: dict[str, float] = {}

    def resume(self) -> Progress:
        """Load the newest checkpoint; forget metrics that were logged after it."""
        progress = self.store.restore(self.model, self.optimizer)
        metrics = self.folder / "metrics.jsonl"
        if metrics.exists():
            lines = metrics.read_text().splitlines()
            with atomic_path(metrics) as temporary:
                temporary.write_text(
                    "".join(f"{x}\n" for x in lines if json.loads(x)["step"] <= progress.step)
                )
        if progress.step:
            log.info("going on from step %d of %s", progress.step, self.folder)
        self._write_status("running")
        return progress

    def account(self, index: int, losses: Mapping[str, Tensor | float]) -> None:
        for name, value in losses.items():
            number = float(value.detach()) if isinstance(value, Tensor) else float(value)
            self.sums[name] = self.sums.get(name, 0.0) + number
        self.count += 1

    def log_losses(self, step: int, seconds_left: float) -> None:
        self.means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        rate = self.optimizer.param_groups[0]["lr"]
        self._append({"step": step, "lr": rate, **self.means})
        shown = "  ".join(f"{name} {value:.4g}" for name, value in self.means.items())
        log.info("step %d/%d  %s  ETA %s", step, self.config.steps, shown, _clock(seconds_left))
        if self.hooks.progress:
            self.hooks.progress(step, self.config.steps, seconds_left)

    def validate(self, progress: Progress) -> Progress:
        assert self.hooks.validate is not None
        # Validation and previews may draw random numbers: they must not change the training that follows.
        state = torch.get_rng_state()
        self.model.eval()
        with torch.no_grad():
            scores = {name: float(value) for name, value in self.hooks.validate().items()}
            if self.hooks.preview:
                with atomic_folder(self.folder / "samples" / f"step-{progress.step:06d}") as folder:
                    self.hooks.preview(folder)
        self.model.train()
        torch.set_rng_state(state)
        self._append({"step": progress.step, "validation": scores})
        log.info("validation  %s", "  ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        score = scores.get("score")
        if score is not None and (progress.best_score is None or score < progress.best_score):
            self.scores = scores
            return replace(progress, best_score=score, best_step=progress.step)
        return progress

    def finish(self, progress: Progress) -> dict[str, float]:
        best = self.store.best()
        if best is not None and progress.best_step != progress.step:
            load_model(best / "model.safetensors", self.model)
        self.model.eval()
        complete = progress.step >= self.config.steps
        self._write_status(
            "complete" if complete else "stopped", step=progress.step, best=progress.best_score
        )
        return self.means | self.scores

    def _append(self, record: Mapping[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")

    def _write_status(self, status: str, **more: Any) -> None:
        path = self.folder / "run.json"
        before = read_json(path) if path.exists() else {}
        machine = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
        record = before | dict(self.hooks.about) | {"loop": asdict(self.config), **machine, "status": status}
        write_json(path, record | more)


def read_metrics(run_dir: Path) -> Iterable[dict[str, Any]]:
    """Yield the records of a run's metrics.jsonl."""
    for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines():
        yield json.loads(line)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
