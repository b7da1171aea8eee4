import json
from pathlib import Path
from typing import Any

import pytest

from emogene.errors import UserError
from emogene.evaluate.suite import Suite, emotion_table, idle_table, label_of, reconstruction_table


def clip(**metrics: float) -> dict[str, Any]:
    return {"metrics": metrics, "aligned": {}, "missing": {}}


def test_labels_come_from_file_names() -> None:
    assert label_of("speech__happy.mp4") == "happy"
    assert label_of("speech.mp4") is None and label_of("a__b.mp4") is None


def test_tables_have_truth_chance_and_published_rows() -> None:
    results = {
        "ours": {"a__happy.mp4": clip(psnr=30.0, emotion_score=0.5, emotion_accuracy=1.0)},
        "ground truth": {"a__happy.mp4": clip(psnr=99.0, emotion_score=0.6, emotion_accuracy=1.0)},
    }
    table = reconstruction_table(results)
    kinds = {row.name: row.kind for row in table.rows}
    assert kinds["ours"] == "system" and kinds["ground truth"] == "truth" and kinds["chance"] == "chance"
    assert kinds["EmoGene (paper)"] == "published" and "not comparable" in table.note
    happy = next(row for row in emotion_table(results).rows if row.name == "ours").values["accuracy_happy"]
    assert getattr(happy, "mean", happy) == 1.0
    assert any(row.name == "GeneFace++" for row in idle_table(results).rows)


def test_a_suite_file_says_what_is_wrong(tmp_path: Path) -> None:
    def read(content: dict[str, Any]) -> Suite:
        path = tmp_path / "suite.json"
        path.write_text(json.dumps(content))
        return Suite.read(path)

    with pytest.raises(UserError, match="no mp4"):
        read({"systems": {"x": "nowhere"}})
    with pytest.raises(UserError, match="at least one"):
        read({})
    with pytest.raises(UserError, match="colour"):
        read({"colour": 1})
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.mp4").touch()
    with pytest.raises(UserError, match="reference"):
        read({"systems": {"x": "x"}, "protocols": ["reconstruction"]})
    assert read({"systems": {"x": "x"}, "protocols": ["idle"]}).reference is None
