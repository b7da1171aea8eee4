"""`emogene train motion|sync` and `emogene data` end to end at tiny size, on a made-up speaker."""

from __future__ import annotations

from pathlib import Path

import pytest

from emogene.cli import main
from emogene.io.files import read_json
from emogene.motion.model import load_motion
from emogene.motion.sync import load_sync
from tests.data.talker import talk


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    for i in range(6):
        talk(root / f"c{i}", seed=i, speaker="ab"[i % 2])
    return root


def test_trains_motion_with_a_sync_expert(corpus: Path, tmp_path: Path, capsys) -> None:
    common = ["--data", str(corpus), "--recipe", "tiny", "--features", "mel", "--versions", "1"]
    assert main(["train", "sync", *common, "--out", str(tmp_path / "s"), "--steps", "3"]) == 0
    assert load_sync(tmp_path / "s/model").config.features == "mel"
    judge = ["--sync", str(tmp_path / "s/model"), "--hold-out", "b"]
    assert main(["train", "motion", *common, *judge, "--out", str(tmp_path / "m"), "--steps", "3"]) == 0
    assert (
        load_motion(tmp_path / "m/model").config.feature_dim
        == load_sync(tmp_path / "s/model").config.feature_dim
    )
    assert "unseen" in capsys.readouterr().out
    assert list((tmp_path / "m/samples").rglob("lip-opening.png"))
    assert read_json(tmp_path / "m/run.json")["status"] == "complete"
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "m/takes").rglob("*.safetensors")}
    shared = ["--takes", str(tmp_path / "m/takes"), "--seed", "5", "--steps", "1", "--speaker-power", "1"]
    assert main(["train", "motion", *common, *judge, *shared, "--out", str(tmp_path / "again")]) == 0
    assert made and all(path.stat().st_mtime_ns == before for path, before in made.items())
    assert not (tmp_path / "again/takes").exists()
    table = tmp_path / "table.json"
    models = ["--model", str(tmp_path / "m/model"), "--sync", str(tmp_path / "s/model")]
    spoken = ["--data", str(corpus), "--features", "mel", "--hold-out", "b", "--json-out", str(table)]
    assert main(["evaluate", "motion", *spoken, *models]) == 0
    rows = read_json(table)
    assert "pause" in rows["unseen"] and "unseen, projection none" in rows


def test_mistakes_exit_with_one_line(corpus: Path, tmp_path: Path, capsys) -> None:
    assert (
        main(["train", "motion", "--data", str(tmp_path), "--out", str(tmp_path / "m"), "--features", "mel"])
        == 2
    )
    assert "holds no clips" in capsys.readouterr().err
    assert (
        main(["train", "sync", "--data", str(corpus), "--recipe", "huge", "--out", str(tmp_path / "s")]) == 2
    )
    assert "choose from tiny, standard, paper" in capsys.readouterr().err


def test_data_sources_and_synthetic_preparation(corpus: Path, tmp_path: Path, capsys) -> None:
    assert main(["data", "sources"]) == 0
    assert "voxceleb2" in capsys.readouterr().out
    assert main(["data", "prepare", "synthetic", str(corpus), "--out", str(tmp_path)]) == 0
    assert "6 clips" in capsys.readouterr().out


def test_an_ablation_leaves_parts_out(corpus: Path, tmp_path: Path) -> None:
    common = ["--data", str(corpus), "--recipe", "tiny", "--features", "mel", "--versions", "1"]
    parts = ["--steps", "1", "--without", "flow", "sync"]
    assert main(["train", "motion", *common, *parts, "--out", str(tmp_path)]) == 0
    assert load_motion(tmp_path / "model").config.flow_couplings == 0
