"""Train the built-in speech features: `emogene train features`.

The student (``features.student``) learns to give Whisper's layer 4 from sound that is worse than what the
teacher heard (see ``training.feature_sound``). Loss: square error of standardised rows, plus one minus
their cosine. Rows near the ends of a window, where the teacher lacked context, and the teacher's registers
(see ``features.whisper``) do not count.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from emogene.errors import UserError
from emogene.features import student
from emogene.features.extractor import HOP
from emogene.features.student import StudentConfig, StudentNet, load_student, save_student
from emogene.features.whisper import (
    WhisperEncoder,
    WhisperFeatures,
    load_whisper,
    load_whisper_tiny,
    registers,
)
from emogene.training.feature_sound import (
    Shards,
    SoundConfig,
    Windows,
    read_utterances,
    recordings,
    spoil,
    synthetic_utterances,
)
from emogene.training.feature_start import fit_head, start_from_whisper
from emogene.training.loop import Hooks, LoopConfig, train
from emogene.types import SAMPLE_RATE_HZ, FloatArray

log = logging.getLogger(__name__)

TEACHER_EDGE = 50
"""Rows at each end of a teacher's window that are not learnt from."""
CALIBRATION = 8
"""Windows on which the effect of positions is measured."""
WARM_UP_ROWS = 25
"""Rows at the start of a training crop that do not count: the student has heard nothing yet."""


@dataclass(frozen=True, kw_only=True)
class FeatureTraining:
    """A recipe: the student, its sound, and how long."""

    student: StudentConfig
    sound: SoundConfig
    loop: LoopConfig
    shards: int = 14
    held_out_shards: int = 1
    batch: int = 8
    crop_s: float = 5.0
    head_batches: int = 60
    """Batches for the first fit of the head."""
    cosine: float = 0.5
    """Weight of 1 - cosine beside the square error."""


def recipe(name: str) -> FeatureTraining:
    """tiny (tests) or standard (what ships)."""
    if name == "tiny":
        return FeatureTraining(
            student=student.tiny(),
            sound=SoundConfig(window_s=3.0, per_shard=4, synthetic=0),
            loop=LoopConfig(steps=30, learning_rate=3e-3, warmup=3, log_every=10),
            shards=2,
            batch=4,
            crop_s=2.0,
            head_batches=4,
        )
    if name == "standard":
        return FeatureTraining(
            student=student.standard(),
            sound=SoundConfig(synthetic=900),
            loop=LoopConfig(
                steps=2400, learning_rate=5e-4, log_every=50, validate_every=300, checkpoint_every=100
            ),
        )
    raise UserError(f"no recipe is called {name!r}; choose tiny or standard")


def train_features(
    data: Sequence[Path],
    run_dir: Path,
    plan: FeatureTraining | str = "standard",
    *,
    teacher: WhisperFeatures | None = None,
    origin: WhisperEncoder | None = None,
) -> dict[str, float]:
    """Distil a student from recordings; resumes a run that was interrupted.

    Args:
        data: folders with speech of any kind; no labels are needed.
        run_dir: the run; its ``teacher`` folder keeps what the teacher said, ``export`` the student.
        plan: a recipe or its name.
        teacher: Whisper base unless given (tests).
        origin: the encoder whose first blocks the student starts from; Whisper tiny unless given.

    Returns:
        Losses and validation scores.
    """
    plan = recipe(plan) if isinstance(plan, str) else plan
    run_dir = Path(run_dir)
    windows, held_out = _windows(plan, list(data), run_dir, teacher)
    torch.manual_seed(plan.loop.seed)
    net = StudentNet(plan.student)
    _set_scale(net, windows)
    if not (run_dir / "checkpoints").exists():
        _start(net, plan, windows, origin)

    def step(index: int, rng: np.random.Generator) -> Mapping[str, Tensor | float]:
        return losses(net, *_batch(windows, plan, rng), plan.cosine)

    def validate() -> Mapping[str, float]:
        return validation(net, held_out)

    config = asdict(plan.student)
    about = {"stage": "features", "data": [str(path) for path in data], "windows": len(windows)}
    hooks = Hooks(validate=validate, about=about, config=config)
    scores = train(run_dir, net, step, plan.loop, hooks)
    save_student(net, run_dir / "export")
    return scores


def average_students(folders: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights of students that began at the same start (Wortsman et al. 2022).

    A short run stays near what Whisper's own blocks know of phones in any voice, a long one knows noise and
    rooms; their mean keeps both.
    """
    nets = [load_student(folder).net for folder in folders]
    if len({net.config for net in nets}) != 1:
        raise UserError("only students of one size can be averaged; give at least one folder, all alike")
    states = [net.state_dict() for net in nets]
    nets[0].load_state_dict({name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]})
    save_student(nets[0], out)


def losses(net: StudentNet, sound: Tensor, target: Tensor, cosine: float) -> dict[str, Tensor]:
    """sound: [B, S]; target: [B, T50, F] raw teacher rows, NaN where they do not count."""
    wanted = (target - net.mean) / net.std  # type: ignore[operator]
    given = net(sound)
    counts = ~target.isnan().any(-1)
    wanted, given = wanted[counts], given[counts]
    square = functional.mse_loss(given, wanted)
    angle = 1 - functional.cosine_similarity(given, wanted, dim=-1).mean()
    return {"loss": square + cosine * angle, "mse": square, "angle": angle}


def validation(net: StudentNet, windows: Windows) -> dict[str, float]:
    """Error on held-out speakers: clean, and as heard in worse rooms."""
    result: dict[str, float] = {}
    for name in ("clean", "spoilt"):
        rng = np.random.default_rng(7)
        sums: dict[str, float] = {}
        for index in range(len(windows)):
            sound = windows.samples(index)
            sound = spoil(sound, rng) if name == "spoilt" else sound
            target = _target(windows, index, 0, len(sound) // HOP)
            for key, value in losses(net, torch.from_numpy(sound)[None], target[None], 0.5).items():
                sums[f"{name}_{key}"] = sums.get(f"{name}_{key}", 0.0) + float(value) / len(windows)
        result |= sums
    return result | {"score": 0.5 * (result["clean_mse"] + result["spoilt_mse"])}


def _windows(
    plan: FeatureTraining, data: list[Path], run_dir: Path, teacher: WhisperFeatures | None
) -> tuple[Windows, Windows]:
    @cache
    def whisper() -> WhisperFeatures:
        return teacher or load_whisper()

    def teach(sound: FloatArray) -> FloatArray:
        return np.asarray(whisper().encode(torch.from_numpy(sound)).numpy(), np.float32)

    def spoken() -> list[list[FloatArray]]:
        robots = synthetic_utterances(plan.sound.synthetic, plan.sound.seed)
        real = [read_utterances(recordings([folder], held_out=False)) for folder in data]
        return [source for source in [*real, robots] if source]

    def kept_back() -> list[list[FloatArray]]:
        real = [read_utterances(recordings([folder], held_out=True)) for folder in data]
        return [source for source in real if source] or spoken()

    shards = Shards(run_dir / "teacher", plan.sound, teach)
    held_out = shards.load(plan.held_out_shards, kept_back, "held-out")
    return shards.load(plan.shards, spoken, "train"), held_out


def _start(net: StudentNet, plan: FeatureTraining, windows: Windows, origin: WhisperEncoder | None) -> None:
    """Whisper's first blocks, then the best head on top of them."""
    encoder = origin or load_whisper_tiny().encoder
    sounds = [windows.samples(index) for index in range(min(CALIBRATION, len(windows)))]
    start_from_whisper(net, encoder, sounds)
    rng = np.random.default_rng((plan.sound.seed, 2))
    fit_head(net, lambda: _batch(windows, plan, rng), plan.head_batches)


def _set_scale(net: StudentNet, windows: Windows) -> None:
    """Mean and deviation of the teacher's rows, part of the weights."""
    some = range(0, len(windows), max(1, len(windows) // 200))
    rows = torch.cat([_target(windows, index, 0, windows.rows.shape[1]) for index in some])
    rows = rows[~rows.isnan().any(1)]
    net.mean.copy_(rows.mean(0))  # type: ignore[operator]
    net.std.copy_(rows.std(0).clamp_min(1e-3))  # type: ignore[operator]


def _batch(windows: Windows, plan: FeatureTraining, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Spoilt sound [B, S] and teacher rows [B, T50, F] of random crops."""
    n = int(plan.crop_s * SAMPLE_RATE_HZ / HOP)
    sounds, targets = [], []
    for index in rng.integers(len(windows), size=plan.batch):
        start = int(rng.integers(0, windows.rows.shape[1] - n + 1))
        clean = windows.samples(index)[start * HOP : (start + n) * HOP]
        target = _target(windows, index, start, start + n)
        target[:WARM_UP_ROWS] = torch.nan
        sounds.append(torch.from_numpy(spoil(clean, rng)))
        targets.append(target)
    return torch.stack(sounds), torch.stack(targets)


def _target(windows: Windows, index: int, start: int, end: int) -> Tensor:
    """Rows [start, end) of a window, NaN where the teacher's say does not count."""
    rows = windows.rows[index].astype(np.float32)
    bad = registers(rows)
    edge = min(TEACHER_EDGE, len(rows) // 4)
    rows[:edge] = np.nan
    rows[len(rows) - edge :] = np.nan
    rows[bad] = np.nan
    return torch.from_numpy(rows[start:end])


def with_limits(plan: FeatureTraining, steps: int = 0, minutes: float = 0.0) -> FeatureTraining:
    """The plan with another number of steps or a time limit."""
    loop = replace(plan.loop, steps=steps or plan.loop.steps, max_minutes=minutes)
    return replace(plan, loop=loop)
