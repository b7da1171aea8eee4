"""Several systems on the same clips, protocol by protocol: the paper's tables, with truth and chance rows.

A suite is one JSON file; docs/evaluation.md has every key::

    {"systems": {"theirs": "videos/theirs",
                 "ours": {"avatar": "me", "clip": "clips/me"}},
     "reference": "videos/real", "speech": ["a.wav"], "protocols": ["reconstruction", "paper"]}

Files of the same name belong together; CLIP__EMOTION.mp4 or CLIP__EMOTION@DOSE.mp4 names the emotion that
is meant, CLIP__LANGUAGE.mp4 the language. Every file is observed once and every pair measured once, both
kept by content hash in the output folder: a run that was stopped goes on, and a new system costs its own
time only.
"""

from __future__ import annotations

import multiprocessing
import platform
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from emogene import __version__
from emogene.errors import UserError
from emogene.evaluate.measured import Measured, Results, meaning_of
from emogene.evaluate.nets.weights import MetricWeights
from emogene.evaluate.observe import OBSERVATION_FORMAT, Nets, Observation, observe
from emogene.evaluate.report import Report
from emogene.evaluate.speed import cpu_name
from emogene.evaluate.systems import REAL_POSE, Order, System, real_video, reconstructions, speed_of
from emogene.evaluate.tables import BUILDERS, CHANCE, SILENCE, TRUTH
from emogene.evaluate.video import Seen, measure
from emogene.io.files import read_json, sha256, write_json
from emogene.types import EMOTIONS

PROTOCOLS = (
    "reconstruction",
    "cross-audio",
    "emotion",
    "idle",
    "languages",
    "speed",
    "paper",
    "ablation",
)
NEEDS = {"paper": ("reconstruction", "emotion", "idle"), "speed": ("cross-audio",)}
"""Protocols that are tables over other protocols' videos."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What to measure; see ``read`` for the file."""

    systems: dict[str, System]
    protocols: tuple[str, ...]
    reference: Path | None = None
    weights: Path | None = None
    speech: tuple[Path, ...] = ()
    languages: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    emotions: tuple[str, ...] = EMOTIONS
    doses: tuple[float, ...] = (1.0,)
    seconds: float = 4.0
    ablation: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Suite:
        """Open a suite file; relative paths are relative to it."""
        content, root = read_json(path), path.parent
        unknown = set(content) - set(cls.__dataclass_fields__)
        protocols = tuple(content.get("protocols", ("reconstruction", "emotion", "idle")))
        wrong = [name for name in protocols if name not in PROTOCOLS]
        wrong += [label for label in content.get("emotions", ()) if label not in EMOTIONS]
        if unknown or wrong:
            raise UserError(
                f"{path}: unknown {', '.join([*sorted(unknown), *wrong])}; "
                f"protocols: {', '.join(PROTOCOLS)}; keys: {', '.join(cls.__dataclass_fields__)}"
            )
        systems = {name: System.read(name, entry, root) for name, entry in content.get("systems", {}).items()}
        if not systems:
            raise UserError(f'{path}: name at least one system, {{"systems": {{"ours": "folder of mp4"}}}}')
        reference = content.get("reference")
        if "reconstruction" in protocols and reference is None and not any(s.clip for s in systems.values()):
            raise UserError(f"{path}: reconstruction needs a folder of real videos as reference")
        spoken = _speech(path, content.get("speech", ()))
        if (
            {"cross-audio", "emotion"} & set(protocols)
            and not spoken
            and any(s.avatar for s in systems.values())
        ):
            raise UserError(f'{path}: avatars need sound to speak: "speech": ["speech.wav"]')
        return cls(
            systems=systems,
            protocols=protocols,
            reference=None if reference is None else root / reference,
            weights=None if content.get("weights") is None else root / content["weights"],
            speech=spoken,
            languages={name: _speech(path, files) for name, files in content.get("languages", {}).items()},
            emotions=tuple(content.get("emotions", EMOTIONS)),
            doses=tuple(float(dose) for dose in content.get("doses", (1.0,))),
            seconds=float(content.get("seconds", 4.0)),
            ablation=_ablation(content.get("ablation", {}), systems, path),
        )

    @property
    def needed(self) -> tuple[str, ...]:
        """Protocols whose videos are wanted, in order."""
        wanted = [part for name in self.protocols for part in NEEDS.get(name, (name,))]
        return tuple(name for name in PROTOCOLS if name in wanted and name not in NEEDS)

    def orders(self, protocol: str, system: System) -> list[Order]:
        """What a rendered system has to show in a protocol."""
        if system.driver == "landmarks" and protocol != "reconstruction":
            return []
        if protocol == "reconstruction":
            return self.held_out(system)
        if protocol == "cross-audio":
            return [Order(name=path.stem, speech=path, seconds=self.seconds) for path in self.speech]
        if protocol == "idle":
            return self.silences()
        if protocol == "languages":
            return [
                Order(name=f"{path.stem}__{language}", speech=path, seconds=self.seconds)
                for language, files in self.languages.items()
                for path in files
            ]
        return self.emotional(self.doses)

    def ablated(self, system: System) -> list[Order]:
        """What a variant shows: silence where its pose is varied, speech otherwise, the full one both."""
        if system.pose != self.ablation["full"].pose:
            return self.silences()
        rest = self.held_out(system) + self.emotional([1.0])
        return rest + self.silences() if system == self.ablation["full"] else rest

    def held_out(self, system: System) -> list[Order]:
        """The end of the system's clip, which its avatar was not made from."""
        return [] if system.clip is None else reconstructions(system.clip, self.seconds)

    def silences(self) -> list[Order]:
        """Silence three times over, each with another seed."""
        return [
            Order(name=f"{SILENCE}-{seed + 1}", seconds=max(self.seconds, 4.0), seed=seed)
            for seed in range(3)
        ]

    def emotional(self, doses: Iterable[float]) -> list[Order]:
        """Every sentence in every emotion and dose."""
        return [
            Order(
                name=f"{path.stem}__{label}" + ("" if dose == 1 else f"@{dose:g}"),
                speech=path,
                seconds=self.seconds,
                emotion=f"{label}:{dose:g}",
            )
            for path in self.speech
            for label in self.emotions
            for dose in doses
            if label != "neutral" or dose == 1
        ]


def run_suite(
    suite: Suite, out: Path, *, workers: int = 2, say: Callable[[str], None] | None = None
) -> Report:
    """Render what must be rendered, measure all systems, and write the report into ``out``."""
    say = say or (lambda _: None)
    jobs = _jobs(suite, out, say)
    cache = out / "cache"
    names = {
        path: f"{sha256(path)[:24]}-{OBSERVATION_FORMAT}"
        for job in jobs
        for path in (job.video, job.reference)
        if path is not None
    }
    unseen = [path for path in names if not (cache / f"{names[path]}.json").exists()]
    say(f"observing {len(unseen)} of {len(names)} videos")
    weights = suite.weights
    _spread([(path, cache / f"{names[path]}.safetensors", weights) for path in unseen], _observe, workers)
    say(f"measuring {len(jobs)} videos")
    keyed = [
        (job, cache, names[job.video], None if job.reference is None else names[job.reference], weights)
        for job in jobs
    ]
    results: Results = {}
    for job, content in zip(jobs, _spread(keyed, _measure, workers), strict=True):
        rows = results.setdefault(job.protocol, {}).setdefault(job.system, [])
        kept = [cache / f"{names[path]}.safetensors" for path in (job.video, job.reference) if path]
        rows.append(Measured.of(job.video, content, *[path if path.exists() else None for path in kept]))
    speeds = {
        name: speed_of(system, [row.video for row in results.get("cross-audio", {}).get(name, [])])
        for name, system in suite.systems.items()
    }
    tables = [table for protocol in suite.protocols for table in BUILDERS[protocol](results, speeds)]
    report = Report("emogene evaluation", tables, _about(suite, results))
    report.write(out)
    return report


@dataclass(frozen=True)
class _Job:
    """One video of one system in one protocol, and the real one it is compared with."""

    protocol: str
    system: str
    video: Path
    reference: Path | None
    audio: Path | None = None
    """Its driving sound where that is not its own."""


def _jobs(suite: Suite, out: Path, say: Callable[[str], None]) -> list[_Job]:
    jobs: list[_Job] = []
    for protocol in suite.needed:
        systems = suite.systems if protocol != "ablation" else suite.ablation
        real = _real_videos(suite, protocol, out)
        for name, system in systems.items():
            say(f"{protocol}: {name}")
            orders = suite.orders(protocol, system)
            if protocol == "ablation":
                orders = suite.ablated(system)
            for video in system.videos(protocol, orders, out / "videos" / name):
                key = f"{name}/{video.name}" if video.stem.startswith(REAL_POSE) else video.name
                jobs.append(_Job(protocol, name, video, real.get(key, real.get(video.name))))
        if protocol != "ablation":
            # Only a reconstruction says what the truth scores against itself; elsewhere it stands alone.
            itself = protocol == "reconstruction"
            jobs += [
                _Job(protocol, TRUTH, video, video if itself else None)
                for video in dict.fromkeys(real.values())
            ]
            jobs += _chance(protocol, real.values()) if itself else []
    return jobs


def _chance(protocol: str, real: Iterable[Path]) -> list[_Job]:
    """What another moment of the same person scores as a reconstruction: the next real video in its place."""
    folders: dict[Path, list[Path]] = {}
    for video in dict.fromkeys(real):
        folders.setdefault(video.parent, []).append(video)
    return [
        _Job(protocol, CHANCE, other, video, video)
        for videos in folders.values()
        for video, other in zip(videos, videos[1:] + videos[:1], strict=True)
        if other != video
    ]


def _real_videos(suite: Suite, protocol: str, out: Path) -> dict[str, Path]:
    """Real videos by the name of the videos they belong to."""
    real: dict[str, Path] = {}
    if suite.reference is not None:
        special = suite.reference / protocol
        folder = special if special.is_dir() else suite.reference
        real |= {path.name: path for path in sorted(folder.glob("*.mp4"))}
    systems = suite.ablation if protocol == "ablation" else suite.systems
    if protocol in ("reconstruction", "ablation"):
        for name, system in systems.items():
            if system.clip is not None:
                folder = out / "videos" / TRUTH / f"{system.clip.name}-{system.size}"
                for order in suite.held_out(system):
                    real[f"{name}/{order.name}.mp4"] = real_video(system.clip, order, folder, system.size)
    return real


def _spread(items: list[Item], work: Callable[[Item], Result], workers: int) -> list[Result]:
    """Results in order; worker processes start fresh, because forking a process with threads may hang."""
    if workers < 2 or len(items) < 2:
        return [work(item) for item in items]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(items)), mp_context=context) as pool:
        return list(pool.map(work, items))


@cache
def _nets(weights: Path | None) -> Nets:
    """One set of loaded nets per process."""
    return Nets(MetricWeights(weights))


def _observe(job: tuple[Path, Path, Path | None]) -> None:
    import torch

    video, kept, weights = job
    torch.set_num_threads(1)
    try:
        observe(video, _nets(weights)).save(kept)
    except UserError as error:
        write_json(kept.with_suffix(".json"), {"error": str(error)})


def _measure(job: tuple[_Job, Path, str, str | None, Path | None]) -> dict[str, Any]:
    """Metrics of one video, from the cache where the same files were measured before."""
    import torch

    (order, cache, name, real_name, weights) = job
    meaning = meaning_of(order.video.name)
    sound = "-other-sound" if order.audio is not None else ""
    kept = cache / f"{name}-{real_name or 'alone'}-{meaning.emotion}{sound}.json"
    if kept.exists():
        return read_json(kept)
    torch.set_num_threads(1)
    about = read_json(cache / f"{name}.json")
    if "error" in about:
        return {"metrics": {}, "aligned": {}, "missing": {order.video.name: about["error"]}}
    seen = Seen(order.video, Observation.load(cache / f"{name}.safetensors"))
    real: Seen | None = None
    trouble: dict[str, str] = {}
    if order.reference is not None and real_name is not None:
        if "error" in read_json(cache / f"{real_name}.json"):
            trouble["reference"] = read_json(cache / f"{real_name}.json")["error"]
        else:
            real = Seen(order.reference, Observation.load(cache / f"{real_name}.safetensors"))
    try:
        report = measure(seen, real, _nets(weights), audio=order.audio, emotion=meaning.emotion)
        report.missing |= trouble
        content = report.plain()
    except UserError as error:
        content = {"metrics": {}, "aligned": {}, "missing": {order.video.name: str(error)}}
    write_json(kept, content)
    return content


def _speech(path: Path, files: Iterable[str]) -> tuple[Path, ...]:
    found = tuple(path.parent / file for file in files)
    for file in found:
        if not file.is_file():
            raise UserError(f"{path}: the speech {file} does not exist")
    return found


def _ablation(content: dict[str, Any], systems: dict[str, System], path: Path) -> dict[str, System]:
    """The variants of one rendered system: what is taken away, other motion weights, and doses."""
    if not content:
        return {}
    unknown = set(content) - {"system", "motion", "doses", "poses"}
    name = content.get("system", "")
    if unknown or name not in systems or not systems[name].avatar:
        raise UserError(
            f'{path}: ablation needs "system": one of the rendered systems; known: motion, doses, poses'
        )
    full = systems[name]
    variants = {
        "full": full,
        "no emotion model": full.varied(expression=0.0),
        "no LLE projection": full.varied(blend=0.0),
    }
    for label, folder in content.get("motion", {}).items():
        if not (path.parent / folder).is_dir():
            raise UserError(f"{path}: the motion weights {path.parent / folder} are not there")
        variants[label] = full.varied(motion=path.parent / folder)
    for dose in content.get("doses", ()):
        if dose not in (0, 1):
            variants[f"dose {dose:g}"] = full.varied(expression=float(dose))
    for pose in content.get("poses", ()):
        if pose not in ("take", "paper", "still"):
            raise UserError(f"{path}: the poses of an ablation are take, paper and still, not {pose!r}")
        variants[f"pose {pose}"] = full.varied(pose=pose)
    return variants


def _about(suite: Suite, results: Results) -> dict[str, Any]:
    missing: dict[str, int] = {}
    faceless = 0
    for systems in results.values():
        for row in (row for rows in systems.values() for row in rows):
            faceless += int(row.aligned.get("frames_without_face", 0))
            for name, reason in row.missing.items():
                missing[f"{name}: {reason}"] = missing.get(f"{name}: {reason}", 0) + 1
    return {
        "emogene": __version__,
        "machine": f"{cpu_name()}, {multiprocessing.cpu_count()} cores, {platform.system()}",
        "clips": {
            protocol: {name: len(rows) for name, rows in systems.items()}
            for protocol, systems in results.items()
        },
        "intervals": "95 % bootstrap over clips; differences are paired over clips of the same name",
        "frames without a face": faceless,
        "not measured": {reason: f"{count} videos" for reason, count in sorted(missing.items())},
        "seconds per rendered clip": suite.seconds,
    }
