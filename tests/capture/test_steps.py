from __future__ import annotations

from pathlib import Path

import pytest

from emogene.capture.pose import PoseConfig
from emogene.capture.steps import Steps, content_key


def test_a_finished_step_is_not_repeated_and_a_changed_one_is(tmp_path: Path) -> None:
    calls = []

    def work() -> dict[str, int]:
        calls.append(1)
        (tmp_path / "result").write_text("x")
        return {"n": len(calls)}

    first = Steps(tmp_path).run("a", [1], work, outputs=[tmp_path / "result"])
    again = Steps(tmp_path).run("a", [1], work, outputs=[tmp_path / "result"])
    assert first == again and len(calls) == 1 and Steps(tmp_path).facts("a") == {"n": 1}
    assert Steps(tmp_path).run("a", [2], work) != first
    assert len(calls) == 2
    (tmp_path / "result").unlink()
    Steps(tmp_path).run("a", [2], work, outputs=[tmp_path / "result"])
    assert len(calls) == 3
    assert set(Steps(tmp_path).seconds()) == {"a"}


def test_a_step_that_fails_or_a_broken_record_counts_as_not_done(tmp_path: Path) -> None:
    steps = Steps(tmp_path)

    def fail() -> None:
        raise RuntimeError

    steps.run("a", [], lambda: None)
    with pytest.raises(RuntimeError):
        steps.run("a", ["new"], fail)
    assert not (tmp_path / "steps" / "a.json").exists()
    (tmp_path / "steps" / "a.json").write_text("{")
    done = []
    steps.run("a", [], lambda: done.append(1))
    assert done == [1]


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    seen = []
    steps = Steps(tmp_path, lambda *call: seen.append(call))
    assert list(steps.counted("a", range(3), 5)) == [0, 1, 2]
    assert seen[0] == ("a", 0, 5) and seen[-1] == ("a", 5, 5)


def test_keys_depend_on_values_and_configs() -> None:
    assert content_key(1, "a") == content_key(1, "a") != content_key(2, "a")
    assert content_key(PoseConfig()) != content_key(PoseConfig(sigma_frames=2.0))
