import json
from pathlib import Path

import pytest

from emogene.errors import UserError
from emogene.evaluate.study import CRITERIA, make_study, score_study, study_tables


@pytest.fixture
def study(tmp_path: Path) -> Path:
    systems = {}
    for name in ("ours", "theirs"):
        folder = tmp_path / name
        folder.mkdir()
        for emotion in ("happy", "sad"):
            (folder / f"a__{emotion}.mp4").write_bytes(f"{name}{emotion}".encode())
        systems[name] = folder
    assert make_study(systems, tmp_path / "page", n_per_rater=4) == 4
    return tmp_path


def rate(study: Path, file: str, score_of: dict[str, int], passed: bool = True) -> Path:
    key = json.loads((study / "page.key.json").read_text())["items"]
    answers = [
        {"code": item["code"], "scores": dict.fromkeys(CRITERIA, score_of[item["system"]])} for item in key
    ]
    path = study / file
    path.write_text(json.dumps({"answers": answers, "checks": [{"passed": passed}]}))
    return path


def test_the_page_does_not_name_the_systems(study: Path) -> None:
    page = (study / "page" / "index.html").read_text()
    assert "ours" not in page.replace("yours", "") and "theirs" not in page
    assert len(list((study / "page" / "clips").glob("*.mp4"))) == 4


def test_scores_agreement_and_careless_raters(study: Path) -> None:
    files = [
        rate(study, "r1.json", {"ours": 4, "theirs": 2}),
        rate(study, "r2.json", {"ours": 5, "theirs": 2}),
        rate(study, "r3.json", {"ours": 1, "theirs": 5}, passed=False),
    ]
    result = score_study(files, study / "page.key.json")
    assert result.raters == 2 and result.left_out == 1
    ours = result.systems["ours"]["emotion"]
    assert (ours.mean, ours.low, ours.high, ours.n) == (4.5, 4, 5, 2)
    assert result.systems["theirs"]["quality"].mean == 2 and result.systems["ours"]["average"].mean == 4.5
    assert (
        result.differences["theirs"]["emotion"].mean == -2.5
        and result.differences["theirs"]["emotion"].high < 0
    )
    assert result.by_emotion["ours"]["happy"].mean == 4.5
    assert result.agreement["realism"] > 0.7


def test_tables_stand_beside_the_papers(study: Path) -> None:
    result = score_study([rate(study, "r1.json", {"ours": 4, "theirs": 2})], study / "page.key.json")
    first, differences, emotions = study_tables(result)
    assert any(row.kind == "published" for row in first.rows) and "1 raters" in first.title
    assert differences.rows[0].name == "theirs - ours"
    assert [column.key for column in emotions.columns] == ["happy", "sad"]


def test_a_rater_who_sends_twice_counts_once(study: Path) -> None:
    path = rate(study, "r1.json", {"ours": 4, "theirs": 2})
    content = json.loads(path.read_text()) | {"rater": "abc"}
    for name in ("r1.json", "copy.json"):
        (study / name).write_text(json.dumps(content))
    result = score_study([study / "r1.json", study / "copy.json"], study / "page.key.json")
    assert result.raters == 1 and result.repeated == 1


def test_a_clip_that_did_not_play_is_left_out(study: Path) -> None:
    path = rate(study, "r1.json", {"ours": 4, "theirs": 2})
    content = json.loads(path.read_text())
    content["answers"][0]["scores"] = None
    path.write_text(json.dumps(content))
    result = score_study([path], study / "page.key.json")
    assert result.systems["ours"]["emotion"].mean == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"answers": [{"code": "nobody", "scores": {}}]}, "not of this study"),
        ({"something": 1}, "no answers"),
        ({"answers": [{"code": "CODE", "scores": {"emotion": 9}}]}, "1 to 5"),
        ({"answers": []}, "no rater"),
    ],
)
def test_broken_answers_are_named(study: Path, content: dict[str, object], says: str) -> None:
    code = json.loads((study / "page.key.json").read_text())["items"][0]["code"]
    path = study / "broken.json"
    path.write_text(json.dumps(content).replace("CODE", code))
    with pytest.raises(UserError, match=says):
        score_study([path], study / "page.key.json")


def test_the_page_needs_nothing_from_outside(study: Path) -> None:
    page = (study / "page" / "index.html").read_text()
    assert "http://" not in page and "https://" not in page and "%SETTINGS%" not in page
    settings = json.loads(page.split("const S = ")[1].split(";\n")[0])
    assert len(settings["items"]) == 4 and settings["every"] == 2
    assert {item["code"] + ".mp4" for item in settings["items"]} == {
        path.name for path in (study / "page" / "clips").iterdir()
    }


def test_what_a_study_cannot_be_made_of(tmp_path: Path, study: Path) -> None:
    with pytest.raises(UserError, match="found none"):
        make_study({"x": tmp_path / "nowhere"}, tmp_path / "p")
    (study / "ours" / "b__sad.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="ours"):
        make_study({"ours": study / "ours", "theirs": study / "theirs"}, tmp_path / "p")
    with pytest.raises(UserError, match="no rater"):
        score_study([], study / "page.key.json")
