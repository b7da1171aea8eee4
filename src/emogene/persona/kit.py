"""The persona kit: everything that drawing one synthetic person needs, in two small files.

Built once from the public sources (``python -m emogene.persona.build --out DIR``), then read without them.
kit.json holds the recipe and where every part comes from; kit.safetensors the control mesh, its 52 ARKit
units, and the parts bound to it, textures as compressed pictures. Lengths are millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.errors import UserError
from emogene.io.files import atomic_folder, check_format_version, read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import FloatArray

KIT_FORMAT = 1
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class KitPart:
    """One surface bound to the control mesh: vertex = sum_k weights_k base[refs_k] + offset.

    faces [M, 4] (a triangle repeats its last corner), face_uv [M, 4, 2] with v 0 at the picture's bottom,
    refs [P, 3], weights [P, 3], offset_mm [P, 3], smooth: subdivide once, texture: WebP bytes [B],
    occlusion [2, m] uint8: share of the sky each drawn vertex sees, mouth shut and wide open.
    """

    faces: IndexArray
    face_uv: FloatArray
    refs: IndexArray
    weights: FloatArray
    offset_mm: FloatArray
    texture: NDArray[np.uint8]
    occlusion: NDArray[np.uint8]
    smooth: bool = True


@dataclass(frozen=True)
class Kit:
    """A person's control mesh and parts.

    base_mm [n, 3] neutral vertices; units_mm [52, n, 3] displacement of each ARKit unit at 1;
    head_weight, neck_weight [n] how much of the head's and the neck's rotation a vertex follows;
    joint_head_mm, joint_neck_mm [3]; landmark_vertices [68, 2]: a landmark is the mean of its two.
    """

    base_mm: FloatArray
    units_mm: FloatArray
    head_weight: FloatArray
    neck_weight: FloatArray
    joint_head_mm: FloatArray
    joint_neck_mm: FloatArray
    landmark_vertices: IndexArray
    parts: dict[str, KitPart]
    about: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the kit; what was in ``folder`` is replaced."""
        arrays: dict[str, NDArray[Any]] = {
            "base_mm": self.base_mm,
            "head_weight": self.head_weight.astype(np.float16),
            "neck_weight": self.neck_weight.astype(np.float16),
            "joints_mm": np.stack([self.joint_head_mm, self.joint_neck_mm]),
            "landmark_vertices": self.landmark_vertices,
        }
        # Units are sparse: keep only the vertices that move, in half precision (within 0.02 mm).
        unit, vertex = np.nonzero(np.abs(self.units_mm).max(-1) > 0.01)
        arrays["units_index"] = np.stack([unit, vertex]).astype(np.uint16)
        arrays["units_mm"] = self.units_mm[unit, vertex].astype(np.float16)
        for name, part in self.parts.items():
            arrays |= {
                f"{name}/faces": part.faces.astype(np.uint16),
                f"{name}/face_uv": np.round(part.face_uv * 8192).astype(np.int16),
                f"{name}/refs": part.refs.astype(np.uint16),
                f"{name}/weights": part.weights.astype(np.float16),
                f"{name}/offset_mm": part.offset_mm.astype(np.float16),
                f"{name}/texture": part.texture,
                f"{name}/occlusion": part.occlusion,
            }
        header = {"format_version": KIT_FORMAT, "smooth": {k: p.smooth for k, p in self.parts.items()}}
        with atomic_folder(folder) as temporary:
            save_arrays(temporary / "kit.safetensors", arrays)
            write_json(temporary / "kit.json", header | self.about)

    @classmethod
    def load(cls, folder: Path) -> Kit:
        """Read a kit folder."""
        about = read_json(folder / "kit.json")
        check_format_version(about, KIT_FORMAT, folder / "kit.json")
        arrays = load_arrays(folder / "kit.safetensors")
        base = arrays["base_mm"]
        units = np.zeros((52, len(base), 3), np.float32)
        unit, vertex = arrays["units_index"]
        units[unit, vertex] = arrays["units_mm"]
        parts = {}
        for name, smooth in about["smooth"].items():
            get = {key: arrays[f"{name}/{key}"] for key in ("faces", "face_uv", "refs", "weights")}
            parts[name] = KitPart(
                faces=get["faces"].astype(np.int32),
                face_uv=(get["face_uv"] / 8192).astype(np.float32),
                refs=get["refs"].astype(np.int32),
                weights=get["weights"].astype(np.float32),
                offset_mm=arrays[f"{name}/offset_mm"].astype(np.float32),
                texture=arrays[f"{name}/texture"],
                occlusion=arrays[f"{name}/occlusion"],
                smooth=smooth,
            )
        return cls(
            base_mm=base,
            units_mm=units,
            head_weight=arrays["head_weight"].astype(np.float32),
            neck_weight=arrays["neck_weight"].astype(np.float32),
            joint_head_mm=arrays["joints_mm"][0],
            joint_neck_mm=arrays["joints_mm"][1],
            landmark_vertices=arrays["landmark_vertices"],
            parts=parts,
            about={k: v for k, v in about.items() if k not in ("format_version", "smooth")},
        )


def shipped_kits() -> tuple[str, ...]:
    """Names of the personas whose kits come with the package."""
    return tuple(sorted(path.parent.name for path in (Path(__file__).parent / "kits").glob("*/kit.json")))


def shipped_kit(name: str) -> Kit:
    """Load a kit that comes with the package."""
    folder = Path(__file__).parent / "kits" / name
    if not folder.is_dir():
        command = f"python -m emogene.persona.build --persona {name} --out DIR"
        raise UserError(
            f"no kit of {name} comes with the package; build one with `{command}` and give its path"
        )
    return Kit.load(folder)
