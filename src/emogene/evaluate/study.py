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
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emogene.errors import UserError
from emogene.evaluate.statistics import Interval, bootstrap_mean, krippendorff_alpha
from emogene.io.files import atomic_folder, read_json, write_json

PAGE = Path(__file__).parent / "pages" / "study.html"
CRITERIA = ("emotion", "lip_sync", "realism", "quality")
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
        settings = {"items": shown, "n": n_per_rater, "criteria": CRITERIA, "every": ATTENTION_EVERY}
        page = PAGE.read_text().replace("%SETTINGS%", json.dumps(settings))
        (folder / "index.html").write_text(page)
    write_json(out.with_name(out.name + ".key.json"), {"items": items})
    return len(items)


def score_study(answers: Sequence[Path], key: Path) -> dict[str, Any]:
    """Mean opinion scores per system and criterion from raters' files.

    Raters who failed more than a third of the attention checks are left out and counted.

    Returns:
        {"systems": {name: {criterion: Interval}}, "agreement": {criterion: alpha}, "raters", "left_out"}
    """
    system_of = {item["code"]: item["system"] for item in read_json(key)["items"]}
    kept, left_out = [], 0
    for path in answers:
        rater = read_json(path)
        checks = rater.get("checks", [])
        if checks and sum(1 for check in checks if not check["passed"]) * 3 > len(checks):
            left_out += 1
        else:
            kept.append({answer["code"]: answer["scores"] for answer in rater["answers"]})
    if not kept:
        raise UserError("no rater's file is left to score; collect the JSON files that the study page saves")
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rater in kept:
        for code, given in rater.items():
            if code not in system_of:
                raise UserError(f"answer {code!r} is not of this study; give the key file that belongs to it")
            for criterion in CRITERIA:
                scores[system_of[code]][criterion].append(float(given[criterion]))
    systems: dict[str, dict[str, Interval]] = {
        name: {criterion: bootstrap_mean(values[criterion]) for criterion in CRITERIA}
        for name, values in scores.items()
    }
    codes = sorted(system_of)
    agreement = {
        criterion: krippendorff_alpha(
            [[float(rater[code][criterion]) if code in rater else None for code in codes] for rater in kept]
        )
        for criterion in CRITERIA
    }
    return {"systems": systems, "agreement": agreement, "raters": len(kept), "left_out": left_out}


def _group(item: Mapping[str, str]) -> str:
    """What the page balances over, without giving the system away."""
    return hashlib.sha256(f"{item['system']}/{item['emotion']}".encode()).hexdigest()[:8]


def _empty(systems: Mapping[str, Path], names: Mapping[str, set[str]]) -> str:
    return ", ".join(str(folder) for name, folder in systems.items() if not names[name]) or "no folder at all"
