"""`emogene evaluate emotion`: the table of Motion-to-Emotion on exact pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emogene.emotion.apply import EmotionModel


def emotion(
    data: Path,
    *,
    model: list[str] | None = None,
    limit: int = 120,
    json_out: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Score emotion models on held-out pairs of a corpus, beside changing nothing.

    Args:
        data: Folder of clips in pairs, as `emogene data synthetic` makes them.
        model: NAME=FOLDER of a model, several if wanted; the shipped one if not given.
        limit: Pairs at most.
        json_out: Write the table there too.
        picture: Write the displacement of each emotion as an SVG sheet there.
    """
    from dataclasses import asdict

    from emogene.emotion.apply import EmotionModel
    from emogene.evaluate.emotion_motion import System, average_faces, evaluate_emotion, markdown
    from emogene.evaluate.emotion_plot import displacement_sheet
    from emogene.io.files import write_json
    from emogene.training.emotion_pairs import read_pairs, split_pairs

    def system_of(acting: EmotionModel) -> System:
        return lambda offsets, weights: acting.apply(offsets, weights, variation=0.0).offsets

    models = {"shipped": EmotionModel.load()} if not model else _named(model)
    training, held = split_pairs(read_pairs(data))
    held = held[:: max(1, len(held) // limit)][:limit]
    systems: dict[str, System] = {"unchanged": lambda offsets, weights: offsets}
    rows = evaluate_emotion(systems | {name: system_of(m) for name, m in models.items()}, training, held)
    sys.stdout.write(markdown(rows) + "\n")
    if json_out is not None:
        write_json(json_out, {name: asdict(row) for name, row in rows.items()})
    if picture is not None:
        neutral, faces = average_faces(system_of(next(iter(models.values()))), held)
        displacement_sheet(picture, neutral, faces)


def _named(models: list[str]) -> dict[str, EmotionModel]:
    from emogene.emotion.apply import EmotionModel
    from emogene.errors import UserError

    found = {}
    for text in models:
        name, separator, folder = text.partition("=")
        if not separator:
            raise UserError(f"--model {text} must be NAME=FOLDER")
        found[name] = EmotionModel.load(Path(folder))
    return found
