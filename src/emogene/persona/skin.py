"""Paint a person's skin: recipe + neutral mesh -> texture [1024, 1024, 4], without any photograph.

Every texel knows where on the neutral face it lies (a bake of 3D positions), so colour is written as a
function of millimetres around the landmarks: redder cheeks, nose and ears, shaded lids, lips, scalp below
the hair, freckles, stubble. Alpha carries the lips (255 skin .. 55 lip), which shine more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from emogene.io.textures import decode_texture
from emogene.persona.opengl import open_context
from emogene.persona.recipe import RGB, PersonaRecipe
from emogene.persona.sources import Sources

Array = NDArray[Any]
SIZE = 1024
_FACE_TOP, _CHIN_V = 1.0, 0.24


def skin_uv(corners: NDArray[np.float64], landmarks: NDArray[np.float64], inside: NDArray[np.bool_]) -> Array:
    """Texture corners [M, 4, 2] of skin quads [M, 4, 3] mm: unrolled about the head's axis, chin to crown.

    Height runs along y + 0.4 z, so that the underside of chin, lips and nose keeps an extent of its own.
    Quads inside the mouth ([M] ``inside``) share one small patch of their own.
    """
    angle = np.arctan2(corners[..., 0], corners[..., 2] - axis_mm(landmarks))
    # A quad across the back seam: bring its corners to one side.
    across = (angle.max(1) - angle.min(1)) > np.pi
    angle[across] = np.where(angle[across] < 0, angle[across] + 2 * np.pi, angle[across])
    turn = angle / np.pi
    u = 0.5 + 0.5 * np.sign(turn) * np.minimum(np.abs(turn), 1.0) ** 0.85
    along = corners[..., 1] + 0.4 * corners[..., 2]
    below_chin = landmarks[8, 1] + 0.4 * landmarks[8, 2] - 22.0
    v = np.where(
        along > below_chin,
        _CHIN_V + (_FACE_TOP - _CHIN_V) * (along - below_chin) / (along.max() - below_chin),
        _CHIN_V * (along - along.min()) / (below_chin - along.min()),
    )
    uv = np.stack([u, v], -1)
    uv[inside] = 0.001 + 0.012 * np.clip(uv[inside], 0, 1)
    return uv.astype(np.float32)


def inside_mouth(old_uv: NDArray[np.float64], sources: Sources) -> NDArray[np.bool_]:
    """[M] quads that line the mouth, by MakeHuman's region mask."""
    return np.asarray(_mask(sources.mask("inside-mouth"), old_uv.mean(1), 0.0) > 0.5)


def paint_skin(
    recipe: PersonaRecipe,
    corners: NDArray[np.float64],
    uv: Array,
    old_uv: NDArray[np.float64],
    landmarks: NDArray[np.float64],
    hair: NDArray[np.float64],
    sources: Sources,
) -> NDArray[np.uint8]:
    """Paint the texture.

    corners [M, 4, 3] mm and uv [M, 4, 2] of the skin's quads, old_uv [M, 4, 2] their places in the region
    masks, landmarks [68, 3] mm, hair [P, 3] mm: points of the hair, below which lies scalp.
    """
    context = open_context()
    position, mask_uv = unroll(context, uv, np.concatenate([corners, old_uv], -1), axis_mm(landmarks))
    context.release()
    rng = np.random.default_rng(recipe.seed)
    lips = _mask(sources.mask("lips"), mask_uv, 1.2)
    inside = np.zeros_like(lips)
    inside[-20:, :20] = 1.0
    ears = _mask(sources.mask("ears"), mask_uv, 2.0)
    colour = np.broadcast_to(_linear(recipe.skin_rgb), (*lips.shape, 3)).copy()
    colour *= _mottling(position, rng)
    red = 0.55 * ears + _blush(position, landmarks)
    colour *= 1 + red[..., None] * np.array([0.04, -0.20, -0.18], np.float32)
    colour *= _eye_shading(position, landmarks)
    forehead = _bump(position, (landmarks[19] + landmarks[24]) / 2 + [0, 25, 0], 28.0)
    colour *= 1 + forehead[..., None] * np.array([0.03, 0.03, -0.01], np.float32)
    if recipe.stubble:
        colour = _stubble(colour, position, landmarks, recipe.stubble, rng)
    colour = _spots(colour, position, landmarks, recipe.freckles, rng)
    lip_colour = _linear(recipe.lip_rgb) * (0.92 + 0.16 * _noise(position, 1.3, rng))[..., None]
    colour += (lips * 0.8)[..., None] * (lip_colour - colour)
    colour += inside[..., None] * (np.array([0.16, 0.035, 0.03], np.float32) - colour)
    colour = _scalp(colour, position, landmarks, hair, recipe)
    srgb = np.clip(colour, 0, 1) ** (1 / 2.2)
    alpha = 255 - 200 * lips
    return np.dstack([srgb * 255, alpha]).round().astype(np.uint8)


def axis_mm(landmarks: NDArray[np.float64]) -> float:
    """Depth of the axis about which the skin is unrolled."""
    return float(landmarks[[0, 16], 2].mean() - 5.0)


def _linear(rgb: RGB) -> Array:
    return np.array(rgb, np.float32) ** 2.2


def unroll(context: Any, uv: Array, values: NDArray[Any], axis: float) -> tuple[Array, Array]:
    """Draw per-corner values [M, 4, 5] into the texture: positions [S, S, 3] and mask places [S, S, 2]."""
    import moderngl

    program: Any = context.program(
        "#version 330\nuniform float axis; in vec2 U; in vec3 P; in vec2 M; out vec3 p; out vec2 m;\n"
        "void main() {\n"
        "p = P; m = M; float away = length(P.xz - vec2(0.0, axis)) / 400.0;\n"
        "gl_Position = vec4(U * 2.0 - 1.0, 1.0 - away, 1.0); }",
        "#version 330\nin vec3 p; in vec2 m; layout(location=0) out vec4 a; layout(location=1) out vec4 b;\n"
        "void main() { a = vec4(p, 1.0); b = vec4(m, 0.0, 1.0); }",
    )
    order = [0, 1, 2, 0, 2, 3]
    rows = np.concatenate([uv, values], -1)[:, order].reshape(-1, 7).astype("f4")
    array = context.vertex_array(program, [(context.buffer(rows.tobytes()), "2f 3f 2f", "U", "P", "M")])
    targets = [context.texture((SIZE, SIZE), 4, dtype="f4") for _ in range(2)]
    frame = context.framebuffer(targets, context.depth_renderbuffer((SIZE, SIZE)))
    frame.use()
    frame.clear(depth=1.0)
    # Where quads overlap (nostrils, folds of the lids) the one further from the axis is seen: it wins.
    context.enable(moderngl.DEPTH_TEST)
    program["axis"].value = axis
    array.render()
    place, mask = (np.frombuffer(t.read(), "f4").reshape(SIZE, SIZE, 4)[::-1].copy() for t in targets)
    frame.release()
    # Texels beyond the last quad take the nearest one's place, so that no seam shows when filtered.
    empty = place[..., 3] < 0.5
    rows_, columns = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    return place[rows_, columns, :3], mask[rows_, columns, :2]


def _mask(data: NDArray[np.uint8], mask_uv: Array, soften: float) -> Array:
    picture = decode_texture(data)[..., 0].astype(np.float32) / 255
    height, width = picture.shape
    rows, columns = (1 - mask_uv[..., 1]) * height - 0.5, mask_uv[..., 0] * width - 0.5
    sampled = ndimage.map_coordinates(ndimage.gaussian_filter(picture, 0.7), [rows, columns], order=1)
    return np.asarray(ndimage.gaussian_filter(sampled, soften) if soften else sampled, np.float32)


def _bump(position: Array, centre: NDArray[np.float64], radius_mm: float) -> Array:
    """Gaussian around a point, mirrored left to right."""
    away = np.abs(position[..., 0]) - abs(centre[0])
    square = away**2 + ((position[..., 1:] - centre[1:]) ** 2).sum(-1)
    return np.asarray(np.exp(-0.5 * square / radius_mm**2), np.float32)


def _noise(position: Array, grain_mm: float, rng: np.random.Generator) -> Array:
    """Smooth 3D noise of unit variance sampled on the surface, so that no seam or stretch shows."""
    low = position.reshape(-1, 3).min(0)
    cells = np.ceil((position.reshape(-1, 3).max(0) - low) / grain_mm).astype(int) + 3
    cells = np.minimum(cells, 200)
    grid = rng.standard_normal(tuple(cells)).astype(np.float32)
    place = np.moveaxis((position - low) / grain_mm, -1, 0)
    return np.asarray(ndimage.map_coordinates(grid, place, order=1, mode="grid-wrap") * 1.5)


def _mottling(position: Array, rng: np.random.Generator) -> Array:
    tone = (
        0.024 * _noise(position, 14, rng)
        + 0.018 * _noise(position, 5, rng)
        + 0.016 * _noise(position, 2, rng)
    )
    hue = 0.012 * _noise(position, 9, rng) + 0.010 * _noise(position, 3, rng)
    return 1 + tone[..., None] + hue[..., None] * np.array([1.0, -1.0, -0.8], np.float32)


def _blush(position: Array, landmarks: NDArray[np.float64]) -> Array:
    cheek = 0.62 * landmarks[46] + 0.38 * landmarks[54] + [4, -3, 0]
    chin = 0.5 * (landmarks[8] + landmarks[57])
    return np.asarray(
        0.75 * _bump(position, cheek, 15.0)
        + 0.55 * _bump(position, landmarks[30], 8.0)
        + 0.45 * _bump(position, landmarks[35], 6.0)
        + 0.30 * _bump(position, chin, 9.0)
    )


def _eye_shading(position: Array, landmarks: NDArray[np.float64]) -> Array:
    """Lids a little darker and redder, a soft shade below the eye, pink rims."""
    eye = landmarks[42:48].mean(0)
    below = eye + np.array([-2, -13, 0])
    upper = _bump(position, eye + np.array([0, 7, 0]), 9.0)
    folded = np.stack([np.abs(position[..., 0]), position[..., 1], position[..., 2]], -1)
    rim_distance = _distance(folded, _closed(landmarks[42:48]), 8.0)
    rim = np.exp(-0.5 * (rim_distance / 1.6) ** 2)
    corner = _bump(position, landmarks[42], 3.0)
    shade = np.array([-0.10, -0.17, -0.15], np.float32) * upper[..., None]
    shade = shade + np.array([-0.07, -0.10, -0.06], np.float32) * _bump(position, below, 7.0)[..., None]
    shade = shade + np.array([-0.12, -0.34, -0.32], np.float32) * np.maximum(rim, corner)[..., None]
    return np.asarray(1 + shade, np.float32)


def _distance(position: Array, points: NDArray[np.float64], limit_mm: float) -> Array:
    """Distance of each texel to the nearest point, at most ``limit_mm``."""
    low, high = points.min(0) - limit_mm, points.max(0) + limit_mm
    near = ((position > low) & (position < high)).all(-1)
    distance = np.full(position.shape[:2], limit_mm, np.float32)
    found = cKDTree(points).query(position[near], distance_upper_bound=limit_mm, eps=0.2)[0]
    distance[near] = np.minimum(found, limit_mm)
    return distance


def _closed(ring: NDArray[np.float64], per_edge: int = 12) -> NDArray[np.float64]:
    following = np.roll(ring, -1, axis=0)
    steps = np.linspace(0, 1, per_edge, endpoint=False)[:, None, None]
    return (ring + steps * (following - ring)).reshape(-1, 3)


def _stubble(
    colour: Array, position: Array, landmarks: NDArray[np.float64], amount: float, rng: np.random.Generator
) -> Array:
    jaw = np.concatenate([landmarks[3:14], landmarks[[31, 33, 35]] - [0, 8, 0], landmarks[48:60]])
    near = np.exp(-0.5 * (_distance(position, jaw, 45.0) / 13.0) ** 2)
    below_nose = 1 / (1 + np.exp((position[..., 1] - landmarks[33, 1] + 7) / 2.5))
    grain = 0.6 + 0.4 * np.clip(_noise(position, 0.8, rng), -1, 2)
    dark = (amount * 0.42 * near * below_nose * grain)[..., None]
    return np.asarray(colour * (1 - dark * np.array([1.0, 0.92, 0.80], np.float32)))


def _spots(
    colour: Array, position: Array, landmarks: NDArray[np.float64], freckles: float, rng: np.random.Generator
) -> Array:
    """A few moles, and freckles over nose and cheeks."""
    flat = position.reshape(-1, 3)
    front = np.flatnonzero((flat[:, 2] > landmarks[0, 2]) & (flat[:, 1] > landmarks[8, 1] - 60))
    centres = [flat[rng.choice(front)] for _ in range(7)]
    sizes = list(rng.uniform(0.5, 1.1, 7))
    strengths = list(rng.uniform(0.25, 0.6, 7))
    for _ in range(int(160 * freckles)):
        spread = rng.normal(0, 1, 3) * [26, 9, 0]
        centres.append(landmarks[29] + spread + [0, -6, 0])
        sizes.append(rng.uniform(0.4, 0.9))
        strengths.append(rng.uniform(0.08, 0.25))
    for centre, size, strength in zip(centres, sizes, strengths, strict=True):
        box = np.flatnonzero(np.abs(flat[:, :2] - centre[:2]).max(1) < 4 * size)
        box = box[flat[box, 2] > landmarks[0, 2]]
        square = ((flat[box, :2] - centre[:2]) ** 2).sum(1)
        dark = (strength * np.exp(-0.5 * square / size**2))[:, None]
        colour.reshape(-1, 3)[box] *= 1 - dark * np.array([0.55, 0.85, 1.0], np.float32)
    return colour


def _scalp(
    colour: Array,
    position: Array,
    landmarks: NDArray[np.float64],
    hair: NDArray[np.float64],
    recipe: PersonaRecipe,
) -> Array:
    under = 1 / (1 + np.exp((_distance(position, hair, 16.0) - 3.0) / 1.5))
    brow_y = landmarks[17:27, 1].max()
    above = 1 / (1 + np.exp(-(position[..., 1] - brow_y - 22) / 4))
    behind = 1 / (1 + np.exp((position[..., 2] - landmarks[0, 2] + 2) / 3))
    high = 1 / (1 + np.exp(-(position[..., 1] - landmarks[2, 1]) / 4))
    amount = (under * np.maximum(above, behind * high) * recipe.scalp)[..., None]
    return np.asarray(colour + amount * (_linear(recipe.hair_rgb) * 0.8 - colour), np.float32)
