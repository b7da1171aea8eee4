"""`emogene study`: the paper's user study, blinded: build the page, score what raters send back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro


def make(
    systems: Annotated[list[str], tyro.conf.Positional],
    /,
    *,
    out: Path = Path("study"),
    clips: int = 48,
    seed: int = 0,
) -> None:
    """Build a blinded user-study page from folders of CLIP__EMOTION.mp4.

    Args:
        systems: NAME=FOLDER for each system; all must hold the same files.
        out: Folder of the page; the key that unblinds it is written beside it.
        clips: Clips that each rater sees, balanced over systems and emotions.
        seed: Of names and order.
    """
    from emogene.errors import UserError
    from emogene.evaluate.study import make_study

    wrong = [item for item in systems if "=" not in item]
    if wrong:
        raise UserError(f"give each system as NAME=FOLDER, not {wrong[0]!r}")
    folders = {name: Path(folder) for name, _, folder in (item.partition("=") for item in systems)}
    if len(folders) != len(systems):
        raise UserError("two systems have the same name; give each its own NAME=FOLDER")
    count = make_study(folders, out, n_per_rater=clips, seed=seed)
    sys.stdout.write(
        f"wrote {out / 'index.html'} with {count} clips; keep {out}.key.json to yourself, "
        "and send the folder (or its zip) to raters: it works without a network\n"
    )


def score(
    answers: Annotated[list[Path], tyro.conf.Positional], /, *, key: Path, json_out: Path | None = None
) -> None:
    """Mean opinion scores with confidence intervals from the raters' files.

    Args:
        answers: The JSON files that raters saved, or folders of them.
        key: The key file written by `emogene study make`.
        json_out: Write the numbers there too.
    """
    from dataclasses import asdict

    from emogene.evaluate.report import text_table
    from emogene.evaluate.study import score_study, study_tables
    from emogene.io.files import write_json

    files = [file for path in answers for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    result = score_study(files, key)
    for table in study_tables(result):
        sys.stdout.write(text_table(table) + "\n")
    if json_out is not None:
        write_json(json_out, asdict(result))


SUBCOMMANDS = {"make": make, "score": score}
