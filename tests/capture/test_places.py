"""Places that cannot hold the results are found before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from emogene.capture.person import Order, create_avatar
from emogene.capture.places import check_room, check_writable
from emogene.errors import UserError


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", "choose another")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("wrong", ["work", "folder"])
def test_a_file_in_the_way_is_named_before_the_video_is_read(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").write_text("")
    places = {
        "work": tmp_path / "work",
        "folder": tmp_path / "avatars" / "me",
        wrong: tmp_path / "file" / "me",
    }
    order = Order(video=tmp_path / "absent.mp4", name="me", consent="I agree", **places)
    with pytest.raises(UserError, match=r"cannot write to .*file.*(--work|EMOGENE_AVATARS)"):
        create_avatar(order)


def test_too_little_room_is_said_in_gigabytes(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    with pytest.raises(UserError, match=r"needs [\d.]+ GB .* --work"):
        check_room(tmp_path, 10**10)
