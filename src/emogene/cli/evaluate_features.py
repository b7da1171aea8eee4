"""`emogene evaluate features`: what speech features know of the mouth, in several languages and voices."""

from __future__ import annotations

import sys
from pathlib import Path


def features(
    names: list[str] | None = None,
    *,
    languages: list[str] | None = None,
    data: list[Path] | None = None,
    hold_out: list[str] | None = None,
    others: list[Path] | None = None,
    limit: int = 60,
    json_out: Path | None = None,
) -> None:
    """Measure speech features by linear readouts: visemes of voices never heard, and tracked lips.

    Args:
        names: Features to compare, by name or as the folder of a student; default: emogene whisper.
        languages: Of the synthetic voices: en, it, fi, cs, de, fr, es (default: all; nothing: none).
        data: Folders of clips of real people to read visemes (where words have times) and lips from.
        hold_out: Speakers to test on; of the others every tenth clip is tested.
        others: Folders of clips to test the lips on alone.
        limit: Test clips per group at most, and three times as many to learn from.
        json_out: Write the table there too.
    """
    from emogene.data.corpus import open_corpus, split_corpus
    from emogene.evaluate.features import language_rows, lip_rows, people_rows
    from emogene.features.extractor import load_extractor
    from emogene.io.files import write_json
    from emogene.training.feature_probe import VOICES

    extractors = {
        name: load_extractor("emogene", Path(name)) if Path(name).is_dir() else load_extractor(name)
        for name in names or ["emogene", "whisper"]
    }
    rows = language_rows(extractors, list(VOICES) if languages is None else languages)
    if data:
        training, held = split_corpus(open_corpus(data), hold_out or [])
        training = training[:: max(1, len(training) // (3 * limit))]
        held = {name: clips[:limit] for name, clips in held.items()}
        rows |= people_rows(extractors, training, held)
        rows |= lip_rows(extractors, training, held | ({"others": open_corpus(others)} if others else {}))
    columns = list(extractors)
    width = max(map(len, rows)) + 2
    sys.stdout.write(" " * width + "  ".join(f"{name:>8}" for name in columns) + "\n")
    for name, row in rows.items():
        cells = "  ".join(f"{row[c]:>{max(8, len(c))}.3f}" for c in columns)
        sys.stdout.write(f"{name:<{width}}{cells}\n")
    if json_out is not None:
        write_json(json_out, rows)
