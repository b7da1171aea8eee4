from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emogene.capture.preflight import judge
from emogene.capture.survey import Survey, _irregular
from emogene.errors import UserError
from emogene.types import Audio

VIDEO = Path("me.mp4")


def good_survey(**changes: Any) -> Survey:
    n = 200
    survey = Survey(
        1280, 720, 25.0, 80.0, 2000, 0, True, 0.0, "h264", "yuv420p",
        boxes=[[640.0, 300.0, 260.0]] * n, n_faces=[1] * n, brightness=[120.0] * n, sharpness=[0.2] * n,
        yaw=[0.05] * n, border_change=[0.3] * n,
    )  # fmt: skip
    return replace(survey, **changes)


def voice(seconds: float = 80.0, level: float = 0.1) -> Audio:
    return Audio(np.random.default_rng(0).normal(0, level, int(16000 * seconds)).clip(-0.9, 0.9))


def test_good_footage_has_nothing_to_say() -> None:
    report = judge(VIDEO, good_survey(), voice(), offset_s=0.0)
    assert not report.errors and not report.warnings
    report.raise_errors()


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"n_frames": 150}, "error", "too short"),
    ({"n_frames": 500}, "warning", "a minute or more"),
    ({"n_frames": 165, "looked_s": 11.0, "fps": 15.0}, "warning", "11 s will do"),
    ({"n_frames": 1200, "looked_s": 80.0, "cuts": [150]}, "warning", "1 cut (at 10.0 s)"),
    ({"duration_s": 3600.0, "n_frames": 7500}, "warning", "only the first 5 minutes"),
    ({"boxes": [None] * 200, "n_faces": [0] * 200}, "error", "no face was found"),
    ({"n_faces": [0] * 100 + [1] * 100}, "error", "visible in only 50%"),
    ({"n_faces": [0] * 20 + [1] * 180}, "warning", "lost in 10%"),
    ({"n_faces": [2] * 200}, "error", "more than one face"),
    ({"n_faces": [2] * 20 + [1] * 180}, "warning", "second face"),
    ({"yaw": [0.7] * 200}, "warning", "turned far"),
    ({"boxes": [[640.0, 300.0, 60.0]] * 200}, "error", "only 60 px"),
    ({"boxes": [[640.0, 300.0, 150.0]] * 200}, "warning", "150 px high"),
    ({"boxes": [[640.0, 360.0, 700.0]] * 200}, "error", "fills the picture"),
    ({"brightness": [30.0] * 200}, "warning", "dark"),
    ({"brightness": [240.0] * 200}, "warning", "over-exposed"),
    ({"sharpness": [0.01] * 200}, "warning", "blurred"),
    ({"irregular_share": 0.4}, "warning", "frame rate varies"),
    ({"fps": 15.0}, "warning", "few for lips"),
    ({"fps": 59.94}, "good", "brought to 25"),
    ({"rotation_deg": 90}, "good", "turned upright"),
    ({"cuts": [100, 300]}, "warning", "2 cuts (at 4.0, 12.0 s)"),
    ({"left_out": list(range(100, 200))}, "warning", "4.0 s show another place, person or look"),
    ({"cuts": [100]}, "warning", "1 cut (at 4.0 s)"),
    ({"roll_deg": [-91.0] * 200}, "error", "on its side (by 91 degrees)"),
    ({"roll_deg": [25.0] * 200}, "warning", "leans by 25 degrees"),
    ({"border_change": [6.0] * 200}, "warning", "camera or the background moves"),
    ({"boxes": [[300.0, 300.0, 260.0], [900.0, 300.0, 260.0]] * 100}, "warning", "head travels"),
]


@pytest.mark.parametrize(("changes", "level", "words"), CASES)
def test_every_fault_has_its_sentence(changes: dict[str, Any], level: str, words: str) -> None:
    report = judge(VIDEO, good_survey(**changes), voice())
    matching = [finding for finding in report.findings if words in finding.sentence]
    assert [finding.level for finding in matching] == [level]
    assert "\n" not in matching[0].sentence


def test_sound_is_judged() -> None:
    def levels(audio: Audio | None) -> list[tuple[str, str]]:
        return [
            (f.level, f.sentence) for f in judge(VIDEO, good_survey(), audio).findings if f.topic == "sound"
        ]

    assert levels(None)[0][0] == "error" and "no sound" in levels(None)[0][1]
    assert "silent" in levels(voice(level=0.0))[0][1]
    assert "quiet" in levels(voice(level=0.002))[0][1]
    clipped = Audio(np.sign(voice().samples))
    assert any("clipped" in sentence for _, sentence in levels(clipped))
    short = judge(VIDEO, good_survey(), voice(seconds=4.0)).errors
    assert "4.0 s" in short[0].sentence


def test_an_offset_is_named_with_its_side() -> None:
    late = judge(VIDEO, good_survey(), voice(), offset_s=0.12).warnings
    assert "120 ms late" in late[0].sentence
    early = judge(VIDEO, good_survey(), voice(), offset_s=-0.2).warnings
    assert "200 ms early" in early[0].sentence


def test_errors_stop_with_one_sentence() -> None:
    report = judge(VIDEO, good_survey(n_frames=100, has_audio=False), None)
    with pytest.raises(UserError, match=r"me\.mp4: .*and 1 more") as caught:
        report.raise_errors()
    assert "\n" not in str(caught.value)


def test_varying_time_stamps_are_seen() -> None:
    even = [index / 30 for index in range(60)]
    assert _irregular(even) == 0
    uneven = np.cumsum(np.where(np.arange(60) % 4 == 0, 0.1, 1 / 30)).tolist()
    assert _irregular(uneven) > 0.2
