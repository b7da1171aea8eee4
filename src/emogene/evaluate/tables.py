"""Measured videos -> the tables of a report, one builder per protocol.

Every table has a ground-truth row where there are real videos, and a chance row where chance is known. A
second table says how the systems differ from the first one, paired over clips of the same name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from emogene.evaluate import published
from emogene.evaluate.measured import Measured, Results, confusion_of, set_distance
from emogene.evaluate.report import Column, Row, Table
from emogene.evaluate.samples import preview, thumbnail
from emogene.evaluate.statistics import Interval, bootstrap_mean, paired_difference
from emogene.types import EMOTIONS, N_EMOTIONS

TRUTH = "ground truth"
CHANCE = "chance: another moment"
SILENCE = "silence"
"""What the names of clips without speech begin with."""
Speeds = dict[str, list[dict[str, float]]]
SYNC = (
    Column("sync_confidence", "sync", True, "our landmark expert, not SyncNet"),
    Column("sync_offset_frames", "late by frames", None),
    Column("lse_c", "LSE-C", True, "SyncNet"),
    Column("lse_d", "LSE-D", False, "SyncNet"),
)
DISTANCES = (
    Column("set_fd", "FD-EffLite0", False, "Frechet distance of frames, not FID"),
    Column("set_fvd", "FVD-EffLite0", False, "Frechet distance of .64 s windows, not FVD"),
    Column("set_fid", "FID", False),
    Column("set_i3d", "FVD", False),
)
KINDS = {"set_fd": "fd", "set_fvd": "fvd", "set_fid": "fid", "set_i3d": "i3d"}
RECONSTRUCTION = (
    Column("ssim", "SSIM", True),
    Column("psnr", "PSNR dB", True),
    Column("psnr_face", "face dB", True),
    Column("psnr_mouth", "mouth dB", True),
    Column("lpips", "LPIPS", False),
    Column("perceptual_efflite0", "PD-EffLite0", False, "not LPIPS"),
    Column("perceptual_efflite0_face", "PD face", False, "not LPIPS"),
    *DISTANCES,
    Column("vmaf", "VMAF", True),
    Column("sharpness_face", "sharp face", None, "Laplacian energy relative to the real frames; 1 is equal"),
    Column("sharpness_mouth", "sharp mouth", None),
    Column("sharpness_eyes", "sharp eyes", None),
    Column("flicker_excess", "flicker", None, "change per frame beyond the real video's, grey levels"),
    Column("m_lmd", "M-LMD", False, "px of the 256 px crop"),
    Column("f_lmd", "F-LMD", False, "px of the 256 px crop"),
    Column("lip_opening_r", "lip r", True),
    Column("lip_opening_slope", "lip slope", None),
    Column("lip_opening_lag_frames", "lip lag", None, "frames"),
    Column("unit_error_lower", "units lower", False, "mean squared error of ARKit units"),
    Column("unit_error_upper", "units upper", False),
    Column("csim", "CSIM", True, "mobileface, not ArcFace"),
    *SYNC,
)
CROSS = (
    *SYNC,
    Column("sync_distance", "sync distance", False, "1 - cosine"),
    *DISTANCES,
    Column("csim", "CSIM", True, "with the real video of the same name"),
    Column("blinks_per_minute", "blinks/min", None),
    Column("flicker", "flicker", None),
    Column("lip_leak", "mouth open", None, "share of frames"),
    Column("av_length_difference_s", "A/V s", None, "video minus sound"),
)
EMOTION = (
    Column("emotion_score", "score", True, "mean probability of the meant label"),
    Column("emotion_accuracy", "accuracy", True, "share of frames with the meant label on top"),
    *[Column(f"accuracy_{label}", label, True) for label in EMOTIONS],
)
IDLE_HEADS = ("Vel. avg", "Vel. std", "Acc. avg", "Acc. std")
IDLE = (
    *[Column(key, head, False) for key, head in zip(published.MOVEMENT, IDLE_HEADS, strict=True)],
    Column("lip_leak", "lip leak", False, "share of frames with an open mouth"),
    Column("blinks_per_minute", "blinks/min", None),
    Column("blink_duration_s", "blink s", None),
    Column("flicker", "flicker", None),
)
SPEED = (
    Column("fps", "frames/s", True, "after the first frame, video encoding included"),
    Column("real_time_factor", "real-time factor", False, "seconds per second of video"),
    Column("first_frame_s", "first frame s", False),
    Column("cpu_ms_per_frame", "CPU ms/frame", False),
)
TABLE_I = (
    Column("ssim", "SSIM", True),
    Column("psnr", "PSNR", True),
    Column("emotion_score", "Score_emo", True, "share; judge: see docs/evaluation.md"),
    Column("m_lmd", "M-LMD", False),
    Column("f_lmd", "F-LMD", False),
)
TABLE_IV = (
    *TABLE_I,
    Column("emotion_accuracy", "accuracy", True),
    Column("sync_confidence", "sync", True),
    Column("lip_opening_r", "lip r", True),
    Column("lip_opening_slope", "lip slope", None),
    Column("perceptual_efflite0", "PD-EffLite0", False),
)


def reconstruction(results: Results, speeds: Speeds) -> list[Table]:
    """Against the real video of the same take, with the real head pose."""
    systems = results.get("reconstruction", {})
    return _with_differences(_table("Reconstruction", systems, RECONSTRUCTION), systems)


def cross_audio(results: Results, speeds: Speeds) -> list[Table]:
    """Speech of other people: nothing to compare picture by picture."""
    systems = results.get("cross-audio", {})
    return _with_differences(_table("Cross-audio", systems, CROSS), systems)


def emotion(results: Results, speeds: Speeds) -> list[Table]:
    """Score and accuracy of the meant emotion, by label and dose, and who is taken for whom."""
    systems = {
        name: [_by_label(row) for row in rows if row.meaning.emotion is not None]
        for name, rows in results.get("emotion", {}).items()
    }
    full = {name: [row for row in rows if row.meaning.dose == 1] for name, rows in systems.items()}
    note = "The judge errs in a third of acted frames: compare with the ground-truth row."
    table = _table("Emotion", full, EMOTION, note)
    chance = {column.key: 1 / N_EMOTIONS for column in EMOTION}
    table = Table(table.title, table.columns, [*table.rows, Row("chance", dict(chance), "chance")], note)
    tables = _with_differences(table, full)
    tables += [_confusion(name, rows) for name, rows in full.items() if rows]
    doses = sorted({row.meaning.dose for rows in systems.values() for row in rows})
    if len(doses) > 1:
        tables.append(_dose_table(systems, doses))
    return tables


def idle(results: Results, speeds: Speeds) -> list[Table]:
    """Silence: how much the head moves, whether the mouth stays shut; a frozen face wins all but blinks."""
    systems = results.get("idle", {})
    return _with_differences(_table("Idle", systems, IDLE), systems)


def languages(results: Results, speeds: Speeds) -> list[Table]:
    """Cross-audio, split by the language that the file's name gives."""
    rows: dict[str, list[Measured]] = {}
    for name, found in results.get("languages", {}).items():
        for row in found:
            rows.setdefault(f"{name}, {row.meaning.condition or 'no language named'}", []).append(row)
    return [_table("Languages", rows, CROSS)]


def speed(results: Results, speeds: Speeds) -> list[Table]:
    """Seconds on this machine; folders of mp4 can bring a speed.json."""
    rows = []
    for name, found in speeds.items():
        values: dict[str, Interval | float] = {
            column.key: bootstrap_mean([entry[column.key] for entry in found if column.key in entry])
            for column in SPEED
            if any(column.key in entry for entry in found)
        }
        rows.append(Row(name, values))
    note = "Rendered here, other work on the machine included; a folder's own speed.json is quoted as it is."
    return [Table("Speed", SPEED, rows, note)]


def paper(results: Results, speeds: Speeds) -> list[Table]:
    """EmoGene's Tables I and II: our rows beside the published ones."""
    first = _table("Table I", results.get("reconstruction", {}), TABLE_I)
    scores = {row.name: row.values for row in _table("", _labelled(results), TABLE_I).rows}
    rows = [
        Row(row.name, row.values | _only(scores.get(row.name, {}), "emotion_score"), row.kind, row.picture)
        for row in first.rows
    ]
    rows += [
        Row(name, {"emotion_score": values["emotion_score"]})
        for name, values in scores.items()
        if name not in {row.name for row in rows} and "emotion_score" in values
    ]
    rows.append(Row("chance", {"emotion_score": 1 / N_EMOTIONS}, "chance"))
    rows += [Row(name, dict(values), "published") for name, values in published.RECONSTRUCTION.items()]
    second = _table("Table II", results.get("idle", {}), IDLE[:4])
    idle_rows = [*second.rows, *[Row(n, dict(v), "published") for n, v in published.IDLE.items()]]
    return [
        Table("Table I", TABLE_I, rows, published.NOTE),
        Table("Table II", IDLE[:4], idle_rows, published.NOTE),
    ]


def ablation(results: Results, speeds: Speeds) -> list[Table]:
    """Our system with parts taken away, shaped like the paper's Table IV and RealTalk's dose table."""
    systems = _where(results.get("ablation", {}), lambda row: not row.meaning.clip.startswith(SILENCE))
    table = _table("Ablation (Table IV)", systems, TABLE_IV)
    rows = [
        *table.rows,
        *[Row(name, dict(values), "published") for name, values in published.ABLATION.items()],
    ]
    tables = [Table(table.title, TABLE_IV, rows, published.NOTE), *_with_differences(table, systems)[1:]]
    silent = _where(results.get("ablation", {}), lambda row: row.meaning.clip.startswith(SILENCE))
    if len(silent) > 1:
        idle_table = _table("Idle ablation (Table V)", silent, IDLE)
        lines = [
            *idle_table.rows,
            *[Row(name, dict(values), "published") for name, values in published.IDLE_ABLATION.items()],
        ]
        tables.append(Table(idle_table.title, idle_table.columns, lines, published.NOTE))
    return tables


BUILDERS: dict[str, Callable[[Results, Speeds], list[Table]]] = {
    "reconstruction": reconstruction,
    "cross-audio": cross_audio,
    "emotion": emotion,
    "idle": idle,
    "languages": languages,
    "speed": speed,
    "paper": paper,
    "ablation": ablation,
}


def _table(
    title: str, systems: Mapping[str, list[Measured]], columns: Sequence[Column], note: str = ""
) -> Table:
    """A row per system with means over its clips; columns nobody has are left out."""
    rows = []
    for name, found in systems.items():
        values: dict[str, Interval | float] = {}
        for column in columns:
            if column.key in KINDS:
                if name == CHANCE:
                    # The same real pictures in another order: as a set they are the truth.
                    continue
                distance = set_distance(found, KINDS[column.key])
                if not math.isnan(distance):
                    values[column.key] = distance
                continue
            numbers = [row.metrics[column.key] for row in found if column.key in row.metrics]
            if numbers:
                # Real videos equal themselves: an infinite PSNR in every clip.
                same = all(math.isinf(number) for number in numbers)
                values[column.key] = math.inf if same else bootstrap_mean(numbers)
        kind = {TRUTH: "truth", CHANCE: "chance"}.get(name, "system")
        shown = found[0].video if found and title else None
        rows.append(
            Row(
                name,
                values,
                kind,
                None if shown is None else thumbnail(shown),
                None if shown is None else preview(shown),
            )
        )
    used = [column for column in columns if any(column.key in row.values for row in rows)]
    return Table(title, used or list(columns), rows, note)


def _with_differences(table: Table, systems: Mapping[str, list[Measured]]) -> list[Table]:
    """The table, and one of paired differences from its first system."""
    names = [name for name in systems if name not in (TRUTH, CHANCE)]
    if len(names) < 2:
        return [table]
    base = {row.video.name: row.metrics for row in systems[names[0]]}
    rows = []
    for name in names[1:]:
        values: dict[str, Interval | float] = {}
        for column in table.columns:
            pairs = [
                (row.metrics[column.key], base[row.video.name][column.key])
                for row in systems[name]
                if column.key in row.metrics and column.key in base.get(row.video.name, {})
            ]
            finite = [pair for pair in pairs if np.isfinite(pair).all()]
            if finite:
                values[column.key] = paired_difference(*map(list, zip(*finite, strict=True)))
        rows.append(Row(f"{name} - {names[0]}", values, "difference"))
    note = "Mean over clips of the same name, 95 % paired bootstrap; * marks an interval without 0."
    return [table, Table(f"{table.title}: differences from {names[0]}", table.columns, rows, note)]


def _where(
    systems: Mapping[str, list[Measured]], wanted: Callable[[Measured], bool]
) -> dict[str, list[Measured]]:
    """The systems' videos that are wanted; systems without any are left out."""
    chosen = {name: [row for row in rows if wanted(row)] for name, rows in systems.items()}
    return {name: rows for name, rows in chosen.items() if rows}


def _by_label(row: Measured) -> Measured:
    """The same video with its accuracy under its own label as well."""
    if "emotion_accuracy" not in row.metrics:
        return row
    extra = {f"accuracy_{row.meaning.emotion}": row.metrics["emotion_accuracy"]}
    return Measured(row.video, row.meaning, row.metrics | extra, row.aligned, row.missing, row.observed)


def _labelled(results: Results) -> dict[str, list[Measured]]:
    return {
        name: [row for row in rows if row.meaning.emotion is not None and row.meaning.dose == 1]
        for name, rows in results.get("emotion", {}).items()
    }


def _only(values: dict[str, Interval | float], key: str) -> dict[str, Interval | float]:
    return {key: values[key]} if key in values else {}


def _confusion(name: str, rows: list[Measured]) -> Table:
    """Shares of judged frames: a row per meant emotion."""
    counts = confusion_of(rows)
    columns = [Column(label, label) for label in EMOTIONS] + [Column("frames", "frames")]
    lines = []
    for label, line in zip(EMOTIONS, counts, strict=True):
        if line.sum():
            shares = {other: float(count / line.sum()) for other, count in zip(EMOTIONS, line, strict=True)}
            lines.append(Row(label, {**shares, "frames": float(line.sum())}))
    return Table(
        f"Who is taken for whom: {name}", columns, lines, "Rows: meant. Columns: judged, share of frames."
    )


def _dose_table(systems: Mapping[str, list[Measured]], doses: Sequence[float]) -> Table:
    columns = [Column(f"dose_{dose:g}", f"dose {dose:g}", True) for dose in doses]
    rows = []
    for name, found in systems.items():
        values: dict[str, Interval | float] = {}
        for dose, column in zip(doses, columns, strict=True):
            numbers = [
                row.metrics["emotion_score"]
                for row in found
                if row.meaning.dose == dose
                and row.meaning.emotion != "neutral"
                and "emotion_score" in row.metrics
            ]
            if numbers:
                values[column.key] = bootstrap_mean(numbers)
        rows.append(Row(name, values, "truth" if name == TRUTH else "system"))
    return Table("Score by dose", columns, rows, "Mean probability of the meant label, neutral left out.")
