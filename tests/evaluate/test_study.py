import json
from pathlib import Path

import pytest

from emogene.errors import UserError
from emogene.evaluate.study import CRITERIA, make_study, score_study


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
    assert result["raters"] == 2 and result["left_out"] == 1
    assert result["systems"]["ours"]["emotion"].mean == 4.5
    assert result["systems"]["theirs"]["quality"].mean == 2
    assert result["agreement"]["realism"] > 0.7


def test_what_a_study_cannot_be_made_of(tmp_path: Path, study: Path) -> None:
    with pytest.raises(UserError, match="found none"):
        make_study({"x": tmp_path / "nowhere"}, tmp_path / "p")
    (study / "ours" / "b__sad.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="ours"):
        make_study({"ours": study / "ours", "theirs": study / "theirs"}, tmp_path / "p")
    with pytest.raises(UserError, match="no rater"):
        score_study([], study / "page.key.json")
