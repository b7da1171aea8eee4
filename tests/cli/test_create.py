from __future__ import annotations

import re
from pathlib import Path

import pytest

from emogene.cli.create import _Progress
from emogene.errors import FormatError
from emogene.io.clip import open_clip


def test_without_a_terminal_every_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with _Progress() as progress:
        for done in range(4):
            progress("track", done, 3)
        progress("track", 3, 3)
        progress("masks", 0, 2)
    assert re.fullmatch(r"track: \d+ s\n", capsys.readouterr().err)


def test_a_folder_that_is_no_clip_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a clip folder; `emogene create --keep-work"):
        open_clip(tmp_path)
