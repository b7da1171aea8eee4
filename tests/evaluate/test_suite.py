"""The suite's file, its tables on measured numbers, and a whole run on videos without a face."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.errors import UserError
from emogene.evaluate.measured import Measured, meaning_of
from emogene.evaluate.suite import Suite, _jobs, run_suite
from emogene.evaluate.systems import System
from emogene.evaluate.tables import BUILDERS, CHANCE
from emogene.io.video import VideoWriter
from emogene.types import Audio


def clip(name: str, **metrics: float) -> Measured:
    return Measured.of(Path(f"{name}.mp4"), {"metrics": metrics, "aligned": {}, "missing": {}}, None)


def test_names_carry_emotion_dose_and_language() -> None:
    assert meaning_of("speech__happy.mp4").emotion == "happy"
    half = meaning_of("my__speech__sad@0.5.mp4")
    assert (half.clip, half.emotion, half.dose) == ("my__speech", "sad", 0.5)
    assert meaning_of("speech.mp4").condition is None
    language = meaning_of("a__de.mp4")
    assert language.condition == "de" and language.emotion is None


def test_the_papers_tables_have_truth_chance_and_published_rows() -> None:
    results = {
        "reconstruction": {
            "ours": [clip("a", psnr=30.0, ssim=0.9, m_lmd=2.0)],
            "ground truth": [clip("a", psnr=float("inf"), ssim=1.0)],
        },
        "emotion": {"ours": [clip("b__happy", emotion_score=0.5), clip("b__happy@0.5", emotion_score=0.1)]},
        "idle": {"ours": [clip("silence", velocity_mean=0.01)]},
    }
    first, second = BUILDERS["paper"](results, {})
    kinds = {row.name: row.kind for row in first.rows}
    assert kinds["ours"] == "system" and kinds["ground truth"] == "truth" and kinds["chance"] == "chance"
    assert kinds["EmoGene (paper)"] == "published" and "not comparable" in first.note
    ours = next(row for row in first.rows if row.name == "ours")
    assert getattr(ours.values["emotion_score"], "mean", None) == 0.5
    truth = next(row for row in first.rows if row.kind == "truth")
    assert truth.values["psnr"] == float("inf")
    assert any(row.name == "GeneFace++" for row in second.rows)


def test_differences_are_paired_over_clips_of_the_same_name() -> None:
    ours = [clip(f"c{k}", psnr=30.0 + 5 * k) for k in range(6)]
    theirs = [clip(f"c{k}", psnr=29.0 + 5 * k) for k in reversed(range(6))]
    tables = BUILDERS["reconstruction"]({"reconstruction": {"ours": ours, "theirs": theirs}}, {})
    difference = tables[1].rows[0].values["psnr"]
    # The clips differ by 25 dB among themselves, and by 1 dB exactly between systems.
    assert tables[1].rows[0].name == "theirs - ours"
    assert (difference.mean, difference.low, difference.high) == (-1, -1, -1)  # type: ignore[union-attr]


def test_the_ablation_keeps_speech_and_silence_apart() -> None:
    full = [clip("a__happy", emotion_score=0.5), clip("silence", velocity_mean=0.01)]
    still = [clip("silence", velocity_mean=0.0)]
    tables = BUILDERS["ablation"]({"ablation": {"full": full, "pose still": still}}, {})
    assert [table.title for table in tables] == ["Ablation (Table IV)", "Idle ablation (Table V)"]
    assert "pose still" not in {row.name for row in tables[0].rows}
    assert {"full", "pose still", "EmoGene (paper)"} <= {row.name for row in tables[1].rows}


def test_emotion_is_split_by_label_and_dose() -> None:
    rows = [
        clip("a__happy", emotion_score=0.6, emotion_accuracy=1.0),
        clip("a__sad", emotion_score=0.2, emotion_accuracy=0.0),
        clip("a__happy@0.5", emotion_score=0.3, emotion_accuracy=0.5),
    ]
    tables = BUILDERS["emotion"]({"emotion": {"ours": rows}}, {})
    ours = tables[0].rows[0].values
    assert ours["accuracy_happy"].mean == 1 and ours["emotion_score"].mean == pytest.approx(0.4)  # type: ignore[union-attr]
    doses = next(table for table in tables if table.title == "Score by dose").rows[0].values
    assert doses["dose_0.5"].mean == 0.3  # type: ignore[union-attr]


@pytest.mark.parametrize("protocol", sorted(BUILDERS))
def test_every_protocol_makes_tables_of_nothing(protocol: str) -> None:
    assert isinstance(BUILDERS[protocol]({}, {}), list)


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
    with pytest.raises(UserError, match="joyful"):
        read({"emotions": ["joyful"]})
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.mp4").touch()
    with pytest.raises(UserError, match="reference"):
        read({"systems": {"x": "x"}, "protocols": ["reconstruction"]})
    with pytest.raises(UserError, match="colour"):
        read({"systems": {"ours": {"avatar": "mara", "colour": 3}}})
    with pytest.raises(UserError, match="sound to speak"):
        read({"systems": {"ours": {"avatar": "mara"}}, "protocols": ["cross-audio"]})
    with pytest.raises(UserError, match="does not exist"):
        read({"systems": {"x": "x"}, "protocols": ["idle"], "speech": ["no.wav"]})
    with pytest.raises(UserError, match="ablation"):
        read({"systems": {"x": "x"}, "protocols": ["ablation"], "ablation": {"system": "x"}})
    assert read({"systems": {"x": "x"}, "protocols": ["idle"]}).reference is None


def test_rendered_systems_are_told_what_to_show(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    content = {
        "systems": {"ours": {"avatar": "mara"}}, "protocols": ["emotion", "ablation"], "speech": ["a.wav"],
        "emotions": ["neutral", "sad"], "doses": [0.5, 1],
        "ablation": {"system": "ours", "doses": [0, 0.3, 1], "poses": ["still"]},
    }  # fmt: skip
    (tmp_path / "suite.json").write_text(json.dumps(content))
    suite = Suite.read(tmp_path / "suite.json")
    orders = {order.name: order.emotion for order in suite.orders("emotion", System(avatar="mara"))}
    assert orders == {"a__neutral": "neutral:1", "a__sad@0.5": "sad:0.5", "a__sad": "sad:1"}
    names = {"full", "no emotion model", "no LLE projection", "dose 0.3", "pose still"}
    assert set(suite.ablation) == names
    silences = ["silence-1", "silence-2", "silence-3"]
    assert [order.name for order in suite.ablated(suite.ablation["pose still"])] == silences
    assert [order.name for order in suite.ablated(suite.ablation["full"])][-3:] == silences
    assert {order.seed for order in suite.orders("idle", System(avatar="mara"))} == {0, 1, 2}
    assert suite.ablation["no emotion model"].expression == 0


def test_the_chance_row_puts_another_real_video_in_each_ones_place(tmp_path: Path) -> None:
    for folder in ("x", "real"):
        (tmp_path / folder).mkdir()
        for name in "abc":
            (tmp_path / folder / f"{name}.mp4").touch()
    content = {"systems": {"x": "x"}, "reference": "real", "protocols": ["reconstruction"]}
    (tmp_path / "suite.json").write_text(json.dumps(content))
    jobs = _jobs(Suite.read(tmp_path / "suite.json"), tmp_path / "out", lambda _: None)
    chance = [job for job in jobs if job.system == CHANCE]
    assert [(job.video.stem, job.reference.stem) for job in chance if job.reference] == [
        ("b", "a"), ("c", "b"), ("a", "c"),
    ]  # fmt: skip
    assert all(job.audio == job.reference for job in chance)
    rows = {CHANCE: [clip("b", psnr=15.0)], "x": [clip("a", psnr=30.0)]}
    tables = BUILDERS["reconstruction"]({"reconstruction": rows}, {})
    assert [row.kind for row in tables[0].rows] == ["chance", "system"] and len(tables) == 1


def write(path: Path, pictures: np.ndarray) -> None:
    tone = 0.1 * np.sin(np.arange(640 * len(pictures)) / 20).astype(np.float32)
    with VideoWriter(path, (64, 64), audio=Audio(tone), crf=1) as writer:
        for picture in pictures:
            writer.write(picture)


@pytest.mark.skipif(not is_present("face-landmarker"), reason="the face landmarker was not fetched")
def test_a_whole_run_resumes_and_ranks_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real = np.repeat(rng.integers(60, 200, (1, 8, 8, 3)), 8, 1).repeat(8, 2).repeat(10, 0).astype(np.uint8)
    for name, level in (("real", 0), ("good", 4), ("bad", 30)):
        (tmp_path / name).mkdir()
        noise = rng.integers(-level, level + 1, real.shape)
        write(tmp_path / name / "a.mp4", np.clip(real + noise, 0, 255).astype(np.uint8))
    content = {
        "systems": {"good": "good", "bad": "bad"}, "reference": "real",
        "protocols": ["reconstruction", "paper"],
    }  # fmt: skip
    (tmp_path / "suite.json").write_text(json.dumps(content))
    suite = Suite.read(tmp_path / "suite.json")
    report = run_suite(suite, tmp_path / "out", workers=1)
    rows = {row.name: row.values for row in report.tables[0].rows}
    assert rows["good"]["psnr"].mean > rows["bad"]["psnr"].mean + 5  # type: ignore[union-attr]
    assert rows["ground truth"]["psnr"] == float("inf")
    # One real video has no other moment: without a second one there is no chance row.
    assert not any(name.startswith("chance") for name in rows)
    assert any("no face was found" in reason for reason in report.about["not measured"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:video/mp4" in page and "published" in page
    json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cache").iterdir()}
    run_suite(suite, tmp_path / "out", workers=1)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cache").iterdir()}
