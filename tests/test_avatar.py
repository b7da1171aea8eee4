"""The bundle: saved and opened the same, refused when damaged, newer, unsafe or without consent."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from emogene import avatar as bundles
from emogene.avatar import Avatar, AvatarCard
from emogene.errors import FormatError, UserError
from tests import tiny_avatar


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("avatars") / "tiny"
    tiny_avatar.make(path)
    return path


def test_saved_and_opened_the_same(folder: Path) -> None:
    avatar = Avatar.load(folder)
    assert avatar.card.name == "tiny" and avatar.card.synthetic
    assert np.array_equal(avatar.identity.neutral_cano, tiny_avatar.neutral_face())
    assert avatar.component("motion") == folder / "motion" and avatar.component("hair") is None


def test_a_zip_is_as_good_as_a_folder(folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "tiny"), "zip", folder.parent, folder.name)
    assert Avatar.load(archive).card.name == "tiny"


def test_names_are_found_where_users_keep_avatars(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOGENE_AVATARS", str(folder.parent))
    assert bundles.find_avatar("tiny") == folder
    assert folder in bundles.list_avatars()
    with pytest.raises(UserError, match=r"no avatar 'tyni'.*tiny"):
        bundles.find_avatar("tyni")


def test_a_real_person_must_have_agreed() -> None:
    with pytest.raises(UserError, match="--consent"):
        AvatarCard("someone")
    assert AvatarCard("someone", consent="I agree").consent == "I agree"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: edit(f, format_version=99), "newer than this emogene reads"),
        (lambda f: edit(f, format_version=None), "no format_version"),
        (lambda f: edit(f, hat="blue"), "damaged"),
        (lambda f: (f / "avatar.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "identity.safetensors").write_bytes(b"xx"), "damaged"),
        (lambda f: (f / "identity.safetensors").unlink(), "cannot read"),
        (lambda f: (f / "portrait" / "model.safetensors").write_bytes(b"12345678"), "damaged"),
        (lambda f: (f / "avatar.json").unlink(), "no avatar.json"),
    ],
)
def test_damage_is_one_sentence(folder: Path, tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    damage(broken)
    with pytest.raises(FormatError, match=message):
        Avatar.load(broken)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "avatar.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_zip_cannot_write_outside(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.txt", "x")
    with pytest.raises(FormatError, match="unsafe"):
        Avatar.load(path)
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:20])
    with pytest.raises(FormatError, match="neither an avatar folder nor a whole zip"):
        Avatar.load(tmp_path / "cut.zip")
