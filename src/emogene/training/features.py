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

from emogene.data.augment import change_speed, change_throat
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
    make_window,
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
RESEMBLING, RESEMBLING_S = 60, 14.0
"""Windows, and their length, on which a mean learns to speak like the student before it."""
DISGUISED = 0.7
"""Share of the crops that are heard in another voice, where the recipe asks for it."""
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
    disguise: float = 0.0
    """Deviation of the logarithm of pitch and throat length of another voice in which the student, not the
    teacher, hears most crops: what is said stays, whoever says it."""


def recipe(name: str) -> FeatureTraining:
    """tiny (tests), standard (from Whisper tiny), or languages (going on from another student)."""
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
    if name == "languages":
        return FeatureTraining(
            student=student.standard(),
            sound=SoundConfig(synthetic=900, speed_spread=0.15, seed=1),
            loop=LoopConfig(
                steps=300, learning_rate=3e-4, log_every=50, validate_every=300, checkpoint_every=100
            ),
        )
    raise UserError(f"no recipe is called {name!r}; choose tiny, standard or languages")


def train_features(
    data: Sequence[Path],
    run_dir: Path,
    plan: FeatureTraining | str = "standard",
    *,
    teacher: WhisperFeatures | None = None,
    origin: WhisperEncoder | None = None,
    start: Path | None = None,
) -> dict[str, float]:
    """Distil a student from recordings; resumes a run that was interrupted.

    Args:
        data: folders with speech of any kind; no labels are needed.
        run_dir: the run; its ``teacher`` folder keeps what the teacher said, ``export`` the student.
        plan: a recipe or its name.
        teacher: Whisper base unless given (tests).
        origin: the encoder whose first blocks the student starts from; Whisper tiny unless given.
        start: a student to go on from instead, whose scale stays.

    Returns:
        Losses and validation scores.
    """
    plan = recipe(plan) if isinstance(plan, str) else plan
    run_dir = Path(run_dir)
    windows, held_out = _windows(plan, list(data), run_dir, teacher)
    torch.manual_seed(plan.loop.seed)
    net = StudentNet(plan.student)
    if start is not None:
        net.load_state_dict(load_student(start).net.state_dict())
    else:
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


def average_students(
    folders: Sequence[Path], out: Path, *, like: Path | None = None, data: Sequence[Path] = ()
) -> None:
    """Write the mean of the weights of students that began at the same start (Wortsman et al. 2022).

    A short run stays near what Whisper's own blocks know of phones in any voice, a long one knows noise and
    rooms; their mean keeps both.

    Args:
        folders: students.
        out: where the mean is written.
        like: a student whose rows those of the mean shall resemble, so that models that learned through it go
            on as they are: the head is fitted anew.
        data: folders of speech on which it is fitted.
    """
    nets = [load_student(folder).net for folder in folders]
    if len({net.config for net in nets}) != 1:
        raise UserError("only students of one size can be averaged; give at least one folder, all alike")
    states = [net.state_dict() for net in nets]
    nets[0].load_state_dict({name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]})
    if like is not None:
        _resemble(nets[0], load_student(like).net, data)
    save_student(nets[0], out)


def _resemble(net: StudentNet, like: StudentNet, data: Sequence[Path]) -> None:
    """Fit the head of ``net`` so that it says what ``like`` says of the same sound, half of it spoilt."""
    rng = np.random.default_rng(0)
    sources = [read_utterances(recordings([folder], held_out=False)) for folder in data]

    def batch() -> tuple[Tensor, Tensor]:
        clean = make_window(sources, round(RESEMBLING_S * SAMPLE_RATE_HZ), rng)
        sound = torch.from_numpy(spoil(clean, rng) if rng.random() < 0.5 else clean)[None]
        return sound, like.raw(like(sound))

    fit_head(net, batch, RESEMBLING, ridge=1e-3)


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
        hidden = plan.disguise > 0 and rng.random() < DISGUISED
        speed, throat = np.exp(rng.normal(0, plan.disguise, 2)) if hidden else (1.0, 1.0)
        speed = min(speed, windows.rows.shape[1] / n)
        rows = int(np.ceil(n * speed))
        start = int(rng.integers(0, windows.rows.shape[1] - rows + 1))
        clean = windows.samples(index)[start * HOP : (start + rows) * HOP]
        target = _target(windows, index, start, start + rows)
        if hidden:
            clean = change_throat(change_speed(clean, speed)[: n * HOP], throat)
            target = _faster(target, speed, n)
        target[:WARM_UP_ROWS] = torch.nan
        sounds.append(torch.from_numpy(spoil(clean, rng)))
        targets.append(target)
    return torch.stack(sounds), torch.stack(targets)


def _faster(rows: Tensor, speed: float, n: int) -> Tensor:
    """The first ``n`` rows of what was said ``speed`` times faster, NaN where a neighbour is."""
    place = (torch.arange(n) * speed).clamp_max(len(rows) - 1)
    low = place.long().clamp_max(len(rows) - 2)
    share = (place - low)[:, None]
    return (1 - share) * rows[low] + share * rows[low + 1]


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
