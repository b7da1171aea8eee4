"""Draw a persona on the CPU's OpenGL (EGL, no display): pose -> picture [H, W, 3] and class mask [H, W].

Two samples per axis and a box filter smooth edges; class coverage (head, torso) is drawn into a second
target with the same blending, so masks are exact to the pixel, hair included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from emogene.geometry.blendshapes import units_row
from emogene.geometry.landmarks import lip_opening
from emogene.io.clip import MASK_BACKGROUND, MASK_HEAD, MASK_TORSO
from emogene.io.textures import decode_texture
from emogene.persona import shaders
from emogene.persona.creases import SMILE, Painted, crease_sheets, crease_weights
from emogene.persona.mesh import PersonaMesh, SmoothPart
from emogene.persona.opengl import open_context
from emogene.persona.skin import axis_mm, unroll
from emogene.types import ByteArray, Camera, FloatArray

DM = 0.01
"""Decimetres per millimetre: the shaders' unit."""
KIND = {
    "skin": shaders.SKIN,
    "eyes": shaders.EYES,
    "teeth": shaders.TEETH,
    "tongue": shaders.TONGUE,
    "hair": shaders.HAIR,
    "brows": shaders.HAIR,
    "lashes": shaders.HAIR,
    "clothes": shaders.CLOTH,
}
_PASSES = (
    (0, ("skin", "clothes", "teeth", "tongue", "eyes", "hair", "brows", "lashes")),
    (1, ("brows", "lashes", "hair")),
)
# Brow and lash cards are thin hairs, never quite opaque.
_SOLIDITY = {"brows": 0.92, "lashes": 0.45}
# Depth by which the eyeball steps back (about 4 mm): a squinting lid is thinner than its mesh is exact.
_EYES_BACK = 0.0025
_LIPS_OPEN_MM = 16.0
_SHADOW_SIZE, _BAKE_SIZE = 1024, 512


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Where the camera stands. Lengths in mm relative to the midpoint of the eyes."""

    size_px: int = 512
    supersample: int = 2
    field_of_view_deg: float = 13.6
    distance_mm: float = 1450.0
    look_below_eyes_mm: float = 47.0


class _Buffers:
    """A part's arrays on the device; positions, normals and light are rewritten every frame."""

    def __init__(
        self, context: Any, program: Any, depth: Any, part: SmoothPart, rest_mm: FloatArray, texture: Any
    ) -> None:
        quads = part.faces
        corners = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1)
        uv = np.stack([part.face_uv[:, [0, 1, 2]], part.face_uv[:, [0, 2, 3]]], 1).reshape(-1, 2)
        keys = np.concatenate([corners[:, None], np.round(uv * 8192)], 1).astype(np.int64)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        self.vertex = corners[first]
        self.texture = texture
        n, m = len(first), len(part.offset_mm)
        self._gather = _face_normal_matrix(quads, m)
        self._quads = quads
        self.head = np.round(part.head_weight)[self.vertex]
        self.grown = part.grown[self.vertex]
        self.position, self.normal, self.light = (context.buffer(reserve=n * 12) for _ in range(3))
        corner_uv = context.buffer(np.ascontiguousarray(uv[first], "f4").tobytes())
        index = context.buffer(inverse.astype("i4").tobytes())
        surface = [(self.position, "3f", "P"), (corner_uv, "2f", "U")]
        rest = context.buffer(np.ascontiguousarray(rest_mm[self.vertex], "f4").tobytes())
        lit = [*surface, (self.normal, "3f", "N"), (self.light, "3f", "A"), (rest, "3f", "R")]
        self.array = context.vertex_array(program, lit, index)
        self.depth_array = context.vertex_array(depth, surface, index)

    def upload(self, vertices_dm: FloatArray) -> FloatArray:
        """Send positions and normals; return the normals."""
        a, b, c, d = (vertices_dm[self._quads[:, k]] for k in range(4))
        normals = self._gather @ np.cross(c - a, d - b)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        self.position.write(np.ascontiguousarray(vertices_dm[self.vertex], "f4").tobytes())
        self.normal.write(np.ascontiguousarray(normals[self.vertex], "f4").tobytes())
        return np.asarray(normals, np.float32)

    def shade(self, occlusion: FloatArray) -> None:
        rows = np.stack([occlusion[self.vertex], self.head, self.grown], 1)
        self.light.write(np.ascontiguousarray(rows, "f4").tobytes())


class Renderer:
    """Draws one persona. Each owns a GL context and makes it current while it draws, so several can live."""

    def __init__(self, mesh: PersonaMesh, studio: Studio | None = None) -> None:
        self.mesh, self.studio = mesh, studio or Studio()
        self.context = open_context()
        wide = self.studio.size_px * self.studio.supersample
        colour, region = (self.context.texture((wide, wide), 4) for _ in range(2))
        self._frame = self.context.framebuffer(
            [colour, region], self.context.depth_renderbuffer((wide, wide))
        )
        self._shadow_map = self.context.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_frame = self.context.framebuffer(depth_attachment=self._shadow_map)
        self._program = self.context.program(shaders.VERTEX, shaders.FRAGMENT)
        self._depth_program = self.context.program(shaders.DEPTH_VERTEX, shaders.DEPTH_FRAGMENT)
        self._backdrop_program = self.context.program(shaders.BACKDROP_VERTEX, shaders.BACKDROP_FRAGMENT)
        square = self.context.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self._backdrop = self.context.vertex_array(self._backdrop_program, [(square, "2f", "Q")])
        self._detail = self._texture(skin_detail(), repeat=True)
        self._parts, self._gain = {}, {}
        for name, part in mesh.parts.items():
            picture = decode_texture(mesh.kit.parts[name].texture)
            solid = picture[..., 3] > 128
            luminance = ((picture[..., :3] / 255.0) ** 2.2 @ np.array([0.3, 0.5, 0.2]))[solid]
            self._gain[name] = float(0.55 / max(np.percentile(luminance, 80), 1e-3))
            texture = self._texture(picture)
            rest = part.matrix @ mesh.kit.base_mm + part.offset_mm - mesh.origin_mm
            self._parts[name] = _Buffers(
                self.context, self._program, self._depth_program, part, rest, texture
            )
            if name == "teeth":
                self._arch_mm = float(rest[:, 2].max())
        self._creases = self._crease_textures()
        self.view = self._view()
        self.camera = self._camera()
        self._light = _orthographic(2.6, 0.1, 20.0) @ _look_at(
            self._target + 9 * _unit(np.array(shaders.KEY_FROM)), self._target
        )
        self._occlusion = {name: part.occlusion / np.float32(255) for name, part in mesh.kit.parts.items()}

    def draw(
        self, units: FloatArray, euler_rad: FloatArray, translation_mm: FloatArray
    ) -> tuple[ByteArray, ByteArray]:
        """Picture [H, W, 3] and class mask [H, W] (io.clip's classes) of one pose."""
        with self.context:
            return self._drawn(units, euler_rad, translation_mm)

    def background(self) -> ByteArray:
        """The backdrop alone [H, W, 3]."""
        with self.context:
            self._frame.use()
            self._frame.clear(0, 0, 0, 1, depth=1.0)
            self._draw_backdrop()
            return self._read()[0]

    def pose(self, euler_rad: FloatArray, translation_mm: FloatArray) -> FloatArray:
        """camera_from_head [4, 4] in canonical units for :attr:`camera`."""
        head = self.mesh.head_matrix(euler_rad, translation_mm).astype(np.float64)
        flip = np.diag([1.0, -1.0, -1.0])
        turn = flip @ self.view[:3, :3]
        matrix = np.eye(4)
        matrix[:3, :3] = turn @ head[:3, :3]
        place = head[:3, :3] @ self.mesh.origin_mm + head[:3, 3]
        matrix[:3, 3] = (turn @ place + flip @ self.view[:3, 3] / DM) / self.mesh.unit_mm
        return matrix.astype(np.float32)

    def sky_seen(self, units: FloatArray, directions: NDArray[np.float64]) -> dict[str, FloatArray]:
        """Share [m] in 0..1 of ``directions`` [D, 3] that each vertex of each part sees, by depth maps."""
        with self.context:
            return self._sky_seen(units, directions)

    def _sky_seen(self, units: FloatArray, directions: NDArray[np.float64]) -> dict[str, FloatArray]:
        zero = np.zeros(3, np.float32)
        vertices = {k: v * DM for k, v in self.mesh.vertices(units, zero, zero).items()}
        normals = self._upload(units, zero, zero)
        target = self.context.depth_texture((_BAKE_SIZE, _BAKE_SIZE))
        frame = self.context.framebuffer(depth_attachment=target)
        seen = {name: np.zeros(len(v)) for name, v in vertices.items()}
        total = {name: np.full(len(v), 1e-6) for name, v in vertices.items()}
        for direction in directions:
            matrix = _orthographic(2.6, 0.1, 20.0) @ _look_at(self._target + 9 * direction, self._target)
            frame.use()
            frame.clear(depth=1.0)
            self._draw_depth(matrix)
            depth = np.frombuffer(target.read(), np.float32).reshape(_BAKE_SIZE, _BAKE_SIZE)
            for name, vertex in vertices.items():
                strands = KIND[name] == shaders.HAIR
                facing = np.ones(len(vertex)) if strands else np.maximum(normals[name] @ direction, 0)
                place = (vertex + normals[name] * 0.012) @ matrix[:3, :3].T + matrix[:3, 3]
                column, row = (
                    np.clip(np.round((place[:, i] * 0.5 + 0.5) * (_BAKE_SIZE - 1)), 0, _BAKE_SIZE - 1).astype(
                        int
                    )
                    for i in range(2)
                )
                seen[name] += facing * (place[:, 2] * 0.5 + 0.5 < depth[row, column] + 0.0016)
                total[name] += facing
        frame.release()
        target.release()
        return {name: (seen[name] / total[name]).astype(np.float32) for name in vertices}

    def _drawn(
        self, units: FloatArray, euler_rad: FloatArray, translation_mm: FloatArray
    ) -> tuple[ByteArray, ByteArray]:
        self._upload(units, euler_rad, translation_mm)
        gap_mm = float(lip_opening(self.mesh.landmarks(units, euler_rad, translation_mm)))
        opened = float(np.clip(gap_mm / _LIPS_OPEN_MM, 0, 1) ** 0.7)
        for name, part in self._parts.items():
            shut, wide = self._occlusion[name]
            part.shade(shut * (1 - opened) + wide * opened)
        self._shadow_frame.use()
        self._shadow_frame.clear(depth=1.0)
        self._draw_depth(self._light)
        self._frame.use()
        self._frame.clear(0, 0, 0, 1, depth=1.0)
        self._draw_backdrop()
        self._set_face(units, euler_rad, translation_mm)
        self._draw_parts()
        return self._read()

    def _upload(self, units: FloatArray, euler: FloatArray, translation: FloatArray) -> dict[str, FloatArray]:
        vertices = self.mesh.vertices(units, euler, translation)
        return {name: self._parts[name].upload(v * DM) for name, v in vertices.items()}

    def _draw_backdrop(self) -> None:
        import moderngl

        self.context.disable(moderngl.DEPTH_TEST | moderngl.BLEND)
        self._backdrop_program["tint"].value = tuple(self.mesh.kit.about["recipe"]["background_rgb"])
        self._backdrop.render(moderngl.TRIANGLE_STRIP)
        self.context.enable(moderngl.DEPTH_TEST)

    def _set_face(self, units: FloatArray, euler_rad: FloatArray, translation_mm: FloatArray) -> None:
        """Tell the shader where the head is, where the lips part and how deep each crease is."""
        program, mesh = self._program, self.mesh
        head = mesh.head_matrix(euler_rad, translation_mm).astype(np.float64)
        from_world = np.linalg.inv(head) @ np.diag([1 / DM, 1 / DM, 1 / DM, 1.0])
        from_world[:3, 3] -= mesh.origin_mm
        program["to_head"].write(np.ascontiguousarray(from_world.T, "f4").tobytes())
        lips = mesh.landmarks_cano(units, euler_rad, translation_mm)[60:68] * mesh.unit_mm
        program["lips"].value = tuple(float(lips[i, 1]) for i in (2, 6, 0, 4))
        middle, half = (lips[0, 0] + lips[4, 0]) / 2, (lips[4, 0] - lips[0, 0]) / 2
        program["mouth"].value = float(middle), float(max(half, 5.0)), self._arch_mm
        for side, row in zip(("right", "left"), crease_weights(units), strict=True):
            program[f"deep_{side}"].write(row.tobytes())

    def _crease_textures(self) -> list[Any]:
        sheets = crease_sheets(self._painted({}), self._painted(SMILE))
        # The lining of the mouth has this corner to itself.
        sheets[-20:, :20] = 128
        return [self._texture(np.ascontiguousarray(sheets[..., k : k + 4])) for k in (0, 4)]

    def _painted(self, face: dict[str, float]) -> Painted:
        """Where the texels of the skin and the landmarks lie on an unturned face, mm from the eyes."""
        skin, mesh, still = self.mesh.kit.parts["skin"], self.mesh, np.zeros(3, np.float32)
        units = units_row(face)
        corners = (mesh.express(units)[skin.refs[:, 0]] - mesh.origin_mm)[skin.faces]
        values = np.concatenate([corners, np.zeros((*corners.shape[:2], 2))], -1)
        rest = mesh.neutral_cano * mesh.unit_mm
        place, _ = unroll(self.context, skin.face_uv, values, axis_mm(rest.astype(np.float64)))
        return place, mesh.landmarks(units, still, still) - mesh.origin_mm

    def _draw_parts(self) -> None:
        import moderngl

        program, recipe = self._program, self.mesh.kit.about["recipe"]
        program["camera"].write((self._projection() @ self.view).T.astype("f4").tobytes())
        program["light"].write(self._light.T.astype("f4").tobytes())
        program["eye"].value, program["key_from"].value = tuple(self._eye), shaders.KEY_FROM
        program["colour"].value, program["shadows"].value, program["detail"].value = 0, 1, 2
        self._shadow_map.use(1)
        self._detail.use(2)
        for place, texture in enumerate(self._creases, 3):
            program[f"creases_{place - 3}"].value = place
            texture.use(place)
        self.context.enable(moderngl.BLEND)
        self.context.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        tints = {"hair": "hair_rgb", "brows": "brow_rgb", "clothes": "clothes_rgb", "eyes": "eye_rgb"}
        for blended, names in _PASSES:
            program["blended"].value = blended
            self._frame.depth_mask = not blended
            for name in names:
                part = self._parts[name]
                program["kind"].value = KIND[name]
                program["back"].value = _EYES_BACK if name == "eyes" else 0.0
                program["gain"].value = self._gain[name]
                program["solidity"].value = _SOLIDITY.get(name, 1.0)
                program["tint"].value = tuple(recipe[tints[name]]) if name in tints else (0.10, 0.07, 0.05)
                part.texture.use(0)
                part.array.render()
        self._frame.depth_mask = True

    def _draw_depth(self, light: NDArray[np.float64]) -> None:
        import moderngl

        self.context.enable(moderngl.DEPTH_TEST)
        self.context.disable(moderngl.BLEND)
        self._depth_program["light"].write(light.T.astype("f4").tobytes())
        self._depth_program["colour"].value = 0
        for name, part in self._parts.items():
            if name in ("brows", "lashes"):
                continue
            self._depth_program["cutout"].value = int(name in ("hair", "eyes"))
            part.texture.use(0)
            part.depth_array.render()

    def _read(self) -> tuple[ByteArray, ByteArray]:
        n, k = self.studio.size_px, self.studio.supersample
        pictures = []
        for attachment in range(2):
            raw = np.frombuffer(self._frame.read(components=3, attachment=attachment), np.uint8)
            samples = raw.reshape(n, k, n, k, 3)[::-1]
            total = np.zeros((n, n, 3), np.uint16)
            for row in range(k):
                for column in range(k):
                    total += samples[:, row, :, column]
            pictures.append(total / np.float32(k * k))
        picture, region = pictures
        head, torso = region[..., 0], region[..., 1]
        mask = np.full(head.shape, MASK_BACKGROUND, np.uint8)
        person = head + torso >= 127.5
        mask[person & (head >= torso)] = MASK_HEAD
        mask[person & (head < torso)] = MASK_TORSO
        return np.round(picture).astype(np.uint8), mask

    def _view(self) -> NDArray[np.float64]:
        eyes = np.array(self.mesh.origin_mm) * DM
        self._eye = np.array([0.0, eyes[1] - 0.35, eyes[2] + self.studio.distance_mm * DM])
        self._target = np.array([0.0, eyes[1] - self.studio.look_below_eyes_mm * DM, eyes[2] - 0.5])
        return _look_at(self._eye, self._target)

    def _camera(self) -> Camera:
        n = self.studio.size_px
        focal = n / 2 / np.tan(np.radians(self.studio.field_of_view_deg) / 2)
        return Camera(float(focal), n / 2, n / 2, n, n)

    def _projection(self) -> NDArray[np.float64]:
        near, far = 5.0, 30.0
        scale = 1 / np.tan(np.radians(self.studio.field_of_view_deg) / 2)
        depth = [(far + near) / (near - far), 2 * far * near / (near - far)]
        return np.array([[scale, 0, 0, 0], [0, scale, 0, 0], [0, 0, *depth], [0, 0, -1, 0]])

    def _texture(self, picture: ByteArray, repeat: bool = False) -> Any:
        import moderngl

        texture = self.context.texture(picture.shape[1::-1], 4, np.ascontiguousarray(picture[::-1]).tobytes())
        texture.build_mipmaps()
        texture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        texture.repeat_x = texture.repeat_y = repeat
        texture.anisotropy = 1.0
        return texture


def skin_detail(size: int = 512, seed: int = 5) -> ByteArray:
    """A tile of skin [size, size, 4]: mottling, fine grain, hue and pore height, each about 128."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)

    def layer(*mix: tuple[float, float]) -> FloatArray:
        total = np.zeros((size, size))
        for sigma, weight in mix:
            noise = gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap")
            total += weight * noise / noise.std()
        return np.asarray(np.clip(128 + 40 * total / total.std(), 0, 255))

    channels = [
        layer((14, 0.5), (6, 0.4), (2.5, 0.3)),
        layer((1.0, 0.7), (0.5, 0.4)),
        layer((20, 0.6), (8, 0.4)),
        layer((1.6, 0.8), (0.8, 0.4)),
    ]
    return np.dstack(channels).round().astype(np.uint8)


def _face_normal_matrix(quads: NDArray[np.int64], n_vertices: int) -> sp.csr_matrix:
    rows, columns = quads.ravel(), np.repeat(np.arange(len(quads)), 4)
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n_vertices, len(quads)))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def _look_at(eye: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    back = _unit(eye - target)
    up = np.array([0.0, 1.0, 0.0]) if abs(back[1]) < 0.99 else np.array([0.0, 0.0, 1.0])
    right = _unit(np.cross(up, back))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def _orthographic(radius: float, near: float, far: float) -> NDArray[np.float64]:
    matrix = np.diag([1 / radius, 1 / radius, -2 / (far - near), 1.0])
    matrix[2, 3] = -(far + near) / (far - near)
    return matrix
