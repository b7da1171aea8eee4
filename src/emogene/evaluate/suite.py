"""Several systems on the same clips: the paper's Tables I and II, with truth, chance and published rows.

A suite is one JSON file::

    {"systems": {"ours": "videos/ours", "theirs": "videos/theirs"},
     "reference": "videos/real",                       optional, for reconstruction
     "protocols": ["reconstruction", "emotion", "idle"]}

A system is a folder of mp4 files. Files of the same name belong together; CLIP__EMOTION.mp4 names the
emotion that is meant. Every (system, file) is measured once and kept by content hash in the output
folder, so a run that was stopped goes on, and a new system costs only its own time.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogene import __version__
from emogene.errors import UserError
from emogene.evaluate import published
from emogene.evaluate.report import Column, Report, Row, Table
from emogene.evaluate.statistics import Interval, bootstrap_mean
from emogene.io.files import read_json, sha256, write_json
from emogene.types import EMOTIONS, N_EMOTIONS

PROTOCOLS = ("reconstruction", "emotion", "idle")
RECONSTRUCTION_COLUMNS = (
    Column("ssim", "SSIM", True),
    Column("psnr", "PSNR dB", True),
    Column("psnr_face", "face dB", True),
    Column("psnr_mouth", "mouth dB", True),
    Column("sharpness_face", "sharpness", None, "Laplacian energy relative to the real frames; 1 is equal"),
    Column("m_lmd", "M-LMD", False, "px of the 256 px crop"),
    Column("f_lmd", "F-LMD", False, "px of the 256 px crop"),
    Column("lip_opening_r", "lip r", True),
    Column("lip_opening_slope", "lip slope", None),
    Column("csim", "CSIM", True, "mobileface, not ArcFace"),
    Column("sync_confidence", "sync", True, "our landmark expert, not SyncNet"),
    Column("emotion_score", "emotion score", True),
)
EMOTION_COLUMNS = (
    Column("emotion_score", "score", True),
    Column("emotion_accuracy", "accuracy", True),
    *[Column(f"accuracy_{label}", label, True) for label in EMOTIONS],
)
IDLE_COLUMNS = (
    *[Column(name, name.replace("_", " "), False) for name in published.IDLE["EAT"]],
    Column("lip_leak", "lip leak", False, "share of frames with an open mouth"),
    Column("blinks_per_minute", "blinks per minute", None),
)


@dataclass(frozen=True)
class Suite:
    """What to measure; ``reference`` may be None where no protocol needs it."""

    systems: dict[str, Path]
    reference: Path | None
    protocols: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Suite:
        """Open a suite file; relative paths are relative to it."""
        content = read_json(path)
        unknown = set(content) - {"systems", "reference", "protocols"}
        protocols = tuple(content.get("protocols", PROTOCOLS))
        wrong = [name for name in protocols if name not in PROTOCOLS]
        if unknown or wrong:
            raise UserError(
                f"{path}: unknown {', '.join([*unknown, *wrong])}; protocols: {', '.join(PROTOCOLS)}"
            )
        systems = {name: path.parent / folder for name, folder in content.get("systems", {}).items()}
        for name, folder in systems.items():
            if not any(folder.glob("*.mp4")):
                raise UserError(f"{path}: system {name!r} has no mp4 files in {folder}")
        if not systems:
            raise UserError(f'{path}: name at least one system, {{"systems": {{"ours": "folder of mp4"}}}}')
        reference = content.get("reference")
        if "reconstruction" in protocols and reference is None:
            raise UserError(f"{path}: reconstruction needs a folder of real videos as reference")
        return cls(systems, None if reference is None else path.parent / reference, protocols)


def run_suite(suite: Suite, out: Path, *, workers: int = 2) -> Report:
    """Measure all systems and write the report into ``out``."""
    systems = dict(suite.systems)
    if suite.reference is not None:
        systems["ground truth"] = suite.reference
    jobs = []
    for name, folder in systems.items():
        for video in sorted(folder.glob("*.mp4")):
            real = None if suite.reference is None else suite.reference / video.name
            jobs.append((name, video, real if real is not None and real.exists() else None, out / "cache"))
    with ProcessPoolExecutor(max_workers=min(workers, len(jobs))) as pool:
        measured = list(pool.map(_measure, jobs))
    results: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in systems}
    for (name, video, _, _), metrics in zip(jobs, measured, strict=True):
        results[name][video.name] = metrics
    builders = {"reconstruction": reconstruction_table, "emotion": emotion_table, "idle": idle_table}
    report = Report(
        "emogene evaluation",
        [builders[protocol](results) for protocol in suite.protocols],
        {
            "emogene": __version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
            "intervals": "95 % bootstrap over clips",
            "clips": {name: len(clips) for name, clips in results.items()},
            "not measured": sorted(
                {note for clips in results.values() for m in clips.values() for note in m["missing"]}
            ),
        },
    )
    report.write(out)
    return report


Results = dict[str, dict[str, dict[str, Any]]]


def reconstruction_table(results: Results) -> Table:
    """The shape of the paper's Table I."""
    rows = _rows(results, RECONSTRUCTION_COLUMNS)
    rows.append(Row("chance", {"emotion_score": 1 / N_EMOTIONS}, kind="chance"))
    rows += [Row(name, dict(v), kind="published") for name, v in published.RECONSTRUCTION.items()]
    return Table("Reconstruction (Table I)", RECONSTRUCTION_COLUMNS, rows, published.NOTE)


def emotion_table(results: Results) -> Table:
    """Score and accuracy of the meant emotion, overall and per label."""
    for clips in results.values():
        for name, found in clips.items():
            label = label_of(name)
            if label and "emotion_accuracy" in found["metrics"]:
                found["metrics"][f"accuracy_{label}"] = found["metrics"]["emotion_accuracy"]
    rows = _rows(results, EMOTION_COLUMNS)
    chance = {column.key: 1 / N_EMOTIONS for column in EMOTION_COLUMNS}
    rows.append(Row("chance", dict(chance), kind="chance"))
    note = "The judge knows no contempt but by rules; compare with the ground-truth row, not with 1."
    return Table("Emotion", EMOTION_COLUMNS, rows, note)


def idle_table(results: Results) -> Table:
    """The shape of the paper's Table II, with the mouth beside it: a frozen face would win otherwise."""
    rows = _rows(results, IDLE_COLUMNS)
    rows += [Row(name, dict(values), kind="published") for name, values in published.IDLE.items()]
    return Table("Idle (Table II)", IDLE_COLUMNS, rows, published.NOTE)


def label_of(name: str) -> str | None:
    """The emotion in CLIP__EMOTION.mp4, None where the name has none."""
    label = Path(name).stem.rsplit("__", 1)[-1]
    return label if label in EMOTIONS else None


def _rows(results: Results, columns: Sequence[Column]) -> list[Row]:
    rows = []
    for name, clips in results.items():
        values: dict[str, Interval | float] = {}
        for column in columns:
            found = [metrics["metrics"].get(column.key) for metrics in clips.values()]
            numbers = [float(value) for value in found if value is not None]
            if numbers:
                values[column.key] = bootstrap_mean(numbers)
        rows.append(Row(name, values, kind="truth" if name == "ground truth" else "system"))
    return rows


def _measure(job: tuple[str, Path, Path | None, Path]) -> dict[str, Any]:
    """Metrics of one video, from the cache where the same files were measured before."""
    import torch

    from emogene.evaluate.video import evaluate_video

    _, video, reference, cache = job
    key = sha256(video)[:20] + ("" if reference is None else sha256(reference)[:20])
    kept = cache / f"{key}-{label_of(video.name)}.json"
    if kept.exists():
        return read_json(kept)
    torch.set_num_threads(1)
    try:
        content = evaluate_video(video, reference=reference, emotion=label_of(video.name)).plain()
    except UserError as error:
        content = {"metrics": {}, "aligned": {}, "missing": {video.name: str(error)}}
    write_json(kept, content)
    return content
