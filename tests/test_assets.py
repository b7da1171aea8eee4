from __future__ import annotations

import io
import os
import re
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from emogene import assets
from emogene.assets import TABLE, Asset, AssetFile
from emogene.cli.assets import assets as command
from emogene.errors import AssetError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EMOGENE_ASSETS", raising=False)
    return tmp_path / "cache"


def asset_of(content: dict[str, bytes], **changes: str) -> Asset:
    files = tuple(
        AssetFile(name, sha256(data).hexdigest(), len(data), (("no-such-package-of-ours==0", name),))
        for name, data in content.items()
    )
    return replace(Asset("part", "MIT", "a test", files), **changes)


def test_the_table_is_complete() -> None:
    for name, asset in TABLE.items():
        assert asset.name == name and asset.licence and asset.why and asset.n_bytes > 0
        assert asset.registry in ("pypi", "npm")
        for file in asset.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            for package, member in file.members:
                # Pinned exactly; nothing above the package's own folder.
                assert re.fullmatch(r"\S+(==|@)[0-9.]+", package) and ".." not in member


def test_a_folder_prepared_by_hand_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = asset_of({"a.bin": b"hello", "a.json": b"{}"})
    monkeypatch.setitem(TABLE, "part", part)
    assert not assets.is_present("part")
    folder = tmp_path / "offline" / "part"
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"hello")
    (folder / "a.json").write_bytes(b"{}")
    monkeypatch.setenv("EMOGENE_ASSETS", str(tmp_path / "offline"))
    assert assets.is_present("part")
    assert assets.fetch("part") == folder / "a.bin"


def test_a_wrong_hash_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = asset_of({"a.bin": b"hello"})
    monkeypatch.setitem(TABLE, "part", part)
    (tmp_path / "a.bin").write_bytes(b"other")
    monkeypatch.setenv("EMOGENE_ASSETS", str(tmp_path))
    with pytest.raises(AssetError) as error:
        assets.fetch("part")
    assert part.files[0].sha256 in str(error.value)
    assert sha256(b"other").hexdigest() in str(error.value)


def test_the_cache_is_used_without_network(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = asset_of({"a.bin": b"hello"})
    monkeypatch.setitem(TABLE, "part", part)
    path = own_cache / "emogene" / "assets" / "part" / "a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"hello")
    assert assets.fetch("part") == path


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setitem(TABLE, "part", asset_of({"a.bin": b"hello"}))
    with pytest.raises(AssetError, match="EMOGENE_ASSETS"):
        assets.fetch("part")


def test_without_npm_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(TABLE, "part", asset_of({"a.bin": b"hello"}, registry="npm"))
    with pytest.raises(AssetError, match="npm is not installed"):
        assets.fetch("part")


def test_members_of_wheels_and_tarballs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("pkg/a.bin", b"hello")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tarball:
        info = tarfile.TarInfo("package/model/a.bin")
        info.size = 5
        tarball.addfile(info, io.BytesIO(b"hello"))
    assert assets._read_member(tmp_path / "a.whl", "pkg/a.bin") == b"hello"
    assert assets._read_member(tmp_path / "a.tgz", "model/a.bin") == b"hello"
    with pytest.raises(AssetError, match="does not hold"):
        assets._read_member(tmp_path / "a.whl", "pkg/b.bin")


def test_unknown_names_and_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssetError, match="choose from whisper"):
        assets.fetch("hubert")
    command()
    printed = capsys.readouterr().out
    assert all(name in printed and asset.licence.split()[0] in printed for name, asset in TABLE.items())


@pytest.mark.network
@pytest.mark.skipif(
    not os.environ.get("EMOGENE_NETWORK_TESTS"), reason="set EMOGENE_NETWORK_TESTS=1 to fetch"
)
def test_a_small_part_can_really_be_fetched() -> None:
    path = assets.fetch("face-landmarker")
    assert path.stat().st_size == TABLE["face-landmarker"].n_bytes
