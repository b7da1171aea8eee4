"""The paper's user study (Table III): a blinded page for raters, and scores from what they send back.

``make_study`` writes a folder with index.html and the clips under neutral names; it works offline, by
keyboard and on a phone, and each rater downloads one JSON file at the end. ``score_study`` turns these
files into mean opinion scores with confidence intervals and rater agreement. Criteria and scale are the
paper's: emotional accuracy, lip synchronisation, realism, quality; 1 (bad) to 5 (excellent).
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emogene.errors import UserError
from emogene.evaluate.published import STUDY
from emogene.evaluate.report import Column, Row, Table
from emogene.evaluate.statistics import Interval, bootstrap_mean, krippendorff_alpha
from emogene.io.files import atomic_folder, read_json, write_json

PAGE = Path(__file__).parent / "pages" / "study.html"
CRITERIA = ("emotion", "lip_sync", "realism", "quality")
AVERAGE = "average"
SCORED = (*CRITERIA, AVERAGE)
ATTENTION_EVERY = 12
"""After this many clips one asks for a given answer, to find raters who do not look."""


def make_study(systems: Mapping[str, Path], out: Path, *, n_per_rater: int = 48, seed: int = 0) -> int:
    """Write the study into ``out`` and return the number of clips.

    Args:
        systems: name -> folder of mp4 files called CLIP__EMOTION.mp4; every system must hold the same files.
        out: the page's folder; the key that maps blinded names to systems is ``key.json`` BESIDE it.
        n_per_rater: clips each rater sees, balanced over systems and emotions.
        seed: order and blinding.
    """
    names = {name: {path.name for path in folder.glob("*.mp4")} for name, folder in systems.items()}
    if not names or not all(names.values()):
        raise UserError(f"a study needs mp4 files of each system; found none in {_empty(systems, names)}")
    files = sorted(set.intersection(*names.values()))
    partial = [name for name, found in names.items() if found != set(files)]
    if not files or partial:
        raise UserError(f"the systems must hold the same files; these differ: {', '.join(partial) or 'all'}")
    unlabelled = [file for file in files if "__" not in file]
    if unlabelled:
        raise UserError(f"{unlabelled[0]} must be called CLIP__EMOTION.mp4 so that raters know what to judge")
    items = []
    with atomic_folder(out) as folder:
        (folder / "clips").mkdir()
        for name, source in systems.items():
            for file in files:
                code = hashlib.sha256(f"{seed}/{name}/{file}".encode()).hexdigest()[:12]
                shutil.copyfile(source / file, folder / "clips" / f"{code}.mp4")
                clip, emotion = Path(file).stem.rsplit("__", 1)
                items.append({"code": code, "system": name, "clip": clip, "emotion": emotion})
        random.Random(seed).shuffle(items)
        shown = [{"code": item["code"], "emotion": item["emotion"], "group": _group(item)} for item in items]
        study = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]
        every = min(ATTENTION_EVERY, max(1, n_per_rater // 2))
        settings = {"items": shown, "n": n_per_rater, "criteria": CRITERIA, "every": every, "study": study}
        page = PAGE.read_text().replace("%SETTINGS%", json.dumps(settings).replace("</", "<\\/"))
        (folder / "index.html").write_text(page)
    key = {"study": study, "systems": list(systems), "items": items}
    write_json(out.with_name(out.name + ".key.json"), key)
    return len(items)


@dataclass(frozen=True)
class StudyResult:
    """What raters said.

    systems: system -> criterion -> mean opinion score. differences: system -> criterion -> its score minus
    the first system's, paired over raters. by_emotion: system -> emotion -> score of the criterion emotion.
    agreement: criterion -> Krippendorff's alpha. raters, left_out, repeated: files that count, that failed
    the attention checks, and that came twice.
    """

    systems: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, Interval]]
    by_emotion: dict[str, dict[str, Interval]]
    agreement: dict[str, float]
    raters: int
    left_out: int
    repeated: int


Ratings = dict[str, dict[str, int]]
"""Clip's code -> criterion -> 1..5."""


def score_study(answers: Sequence[Path], key: Path) -> StudyResult:
    """Mean opinion scores per system and criterion from raters' files.

    Raters who failed more than a third of the attention checks are left out and counted. Intervals come
    from a bootstrap over raters, because one rater's scores hang together.

    Raises:
        UserError: a file is not of this study or not complete, or nobody is left.
    """
    content = read_json(key)
    if "items" not in content:
        raise UserError(f"{key} is not a study's key; give the .key.json that `emogene study make` wrote")
    items = {item["code"]: item for item in content["items"]}
    kept: dict[str, Ratings] = {}
    left_out = repeated = 0
    for path in answers:
        answer = read_json(path)
        ratings = _ratings(answer, items, path)
        checks = answer.get("checks", [])
        name = str(answer.get("rater", path))
        if name in kept:
            repeated += 1
        elif checks and sum(1 for check in checks if not check.get("passed")) * 3 > len(checks):
            left_out += 1
        elif ratings:
            kept[name] = ratings
    if not kept:
        raise UserError("no rater's file is left to score; collect the JSON files that the study page saves")
    raters = list(kept.values())
    names = content.get("systems") or sorted({item["system"] for item in items.values()})
    means = {name: {c: _rater_means(raters, items, c, "system", name) for c in SCORED} for name in names}
    emotions = sorted({item["emotion"] for item in items.values()})
    return StudyResult(
        systems={name: {c: _interval(values[c]) for c in SCORED} for name, values in means.items()},
        differences={
            name: {c: _interval(_less(means[name][c], means[names[0]][c])) for c in SCORED}
            for name in names[1:]
        },
        by_emotion={
            name: {
                emotion: _interval(_rater_means(raters, items, "emotion", "system", name, emotion))
                for emotion in emotions
            }
            for name in names
        },
        agreement={
            c: krippendorff_alpha(
                [[float(rater[code][c]) if code in rater else None for code in items] for rater in raters]
            )
            for c in CRITERIA
        },
        raters=len(raters),
        left_out=left_out,
        repeated=repeated,
    )


def study_tables(result: StudyResult) -> list[Table]:
    """The paper's Table III with our raters' scores, differences, and scores by emotion."""
    columns = [Column(name, name.replace("_", " "), True) for name in SCORED]
    title = f"Opinion of {result.raters} raters ({result.left_out} left out by attention checks"
    title += f", {result.repeated} files came twice)" if result.repeated else ")"
    rows = [Row(name, dict(values)) for name, values in result.systems.items()]
    rows.append(Row("agreement (alpha)", dict(result.agreement), kind="truth"))
    rows += [Row(f"{name}, published", dict(values), "published") for name, values in STUDY.items()]
    tables = [Table(title, columns, rows, "Published rows: other clips, other raters (EmoGene, Table III).")]
    if result.differences:
        lines = [
            Row(f"{name} - {next(iter(result.systems))}", dict(values), "difference")
            for name, values in result.differences.items()
        ]
        tables.append(
            Table("Differences, paired over raters", columns, lines, "* marks an interval without 0.")
        )
    emotions = list(next(iter(result.by_emotion.values())))
    lines = [Row(name, dict(values)) for name, values in result.by_emotion.items()]
    heads = [Column(emotion, emotion, True) for emotion in emotions]
    return [*tables, Table("Emotional accuracy by emotion", heads, lines)]


def _ratings(answer: dict[str, Any], items: Mapping[str, Any], path: Path) -> Ratings:
    """A rater's scores, checked."""
    if not isinstance(answer.get("answers"), list):
        raise UserError(f"{path} holds no answers; give the files that the study page saves")
    ratings: Ratings = {}
    for entry in answer["answers"]:
        code, scores = entry.get("code"), entry.get("scores")
        if code not in items:
            raise UserError(f"{path}: {code!r} is not of this study; give the key file that belongs to it")
        if scores is None:
            continue
        wrong = [c for c in CRITERIA if scores.get(c) not in (1, 2, 3, 4, 5)]
        if wrong:
            raise UserError(
                f"{path}: clip {code} has no score from 1 to 5 for {', '.join(wrong)}; leave the file out"
            )
        ratings[code] = {c: scores[c] for c in CRITERIA}
    return ratings


def _rater_means(
    raters: Sequence[Ratings],
    items: Mapping[str, Any],
    criterion: str,
    field: str,
    name: str,
    emotion: str = "",
) -> list[float]:
    """Each rater's mean score of a system; nan where the rater saw none of it."""
    means = []
    for rater in raters:
        given = [
            float(np.mean(list(scores.values()))) if criterion == AVERAGE else float(scores[criterion])
            for code, scores in rater.items()
            if items[code][field] == name and (not emotion or items[code]["emotion"] == emotion)
        ]
        means.append(float(np.mean(given)) if given else float("nan"))
    return means


def _less(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(first, second, strict=True)]


def _interval(values: Sequence[float]) -> Interval:
    return bootstrap_mean(values)


def _group(item: Mapping[str, str]) -> str:
    """What the page balances over, without giving the system away."""
    return hashlib.sha256(f"{item['system']}/{item['emotion']}".encode()).hexdigest()[:8]


def _empty(systems: Mapping[str, Path], names: Mapping[str, set[str]]) -> str:
    return ", ".join(str(folder) for name, folder in systems.items() if not names[name]) or "no folder at all"
