from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from emogene.errors import AssetError, FormatError, UserError
from emogene.geometry.blendshapes import N_UNITS, UNIT, units_row
from emogene.geometry.landmarks import INNER_LIP, MIRROR, eye_opening, lip_opening
from emogene.io.clip import MASK_BACKGROUND, MASK_HEAD, MASK_TORSO, open_clip
from emogene.io.images import read_mask, read_rgb
from emogene.persona.kit import Kit, shipped_kit
from emogene.persona.mesh import PersonaMesh, settle_lids
from emogene.persona.parts import _faces
from emogene.persona.portrait_clip import (
    REST_FRAMES,
    STRIDE,
    TAKE_FRAMES,
    build_portrait_clip,
    write_script,
)
from emogene.persona.recipe import PERSONAS, persona_recipe
from emogene.persona.render_gl import Renderer, Studio
from emogene.persona.sources import Sources
from emogene.persona.subdivision import catmull_clark
from emogene.types import FloatArray

REST = np.zeros(N_UNITS, np.float32)
ZERO = np.zeros(3, np.float32)
TURNED = np.array([0.1, -0.3, 0.08], np.float32)
MOVED = np.array([5.0, -3.0, 8.0], np.float32)


@pytest.fixture(scope="module")
def mesh() -> PersonaMesh:
    return PersonaMesh(shipped_kit("mara"))


@pytest.fixture(scope="module")
def renderer(mesh: PersonaMesh) -> Renderer:
    try:
        return Renderer(mesh, Studio(size_px=128, supersample=1))
    except UserError as error:
        pytest.skip(str(error))


def project(renderer: Renderer, cano: FloatArray, pose: FloatArray) -> FloatArray:
    camera = renderer.camera
    points = cano @ pose[:3, :3].T + pose[:3, 3]
    return camera.focal_px * points[:, :2] / points[:, 2:] + np.array([camera.cx_px, camera.cy_px])


class TestSubdivision:
    def test_constant_and_linear_fields_survive(self) -> None:
        grid = np.stack(np.meshgrid(np.arange(5), np.arange(4), indexing="ij"), -1).reshape(-1, 2)
        corner = np.array(
            [[i * 4 + j, i * 4 + j + 1, i * 4 + j + 5, i * 4 + j + 4] for i in range(4) for j in range(3)]
        )
        uv = grid[corner].astype(np.float32)
        matrix, faces, face_uv = catmull_clark(corner, uv, len(grid))
        assert np.allclose(matrix.sum(1), 1, atol=1e-6)
        assert len(faces) == 4 * len(corner)
        # Inside a regular grid a linear field is reproduced, so texture and place agree.
        inner = np.all((face_uv > 0.6) & (face_uv < [3.4, 2.4]), axis=(1, 2))
        assert np.allclose((matrix @ grid)[faces[inner]], face_uv[inner], atol=1e-5)

    def test_triangles_are_quads_with_a_repeated_corner(self) -> None:
        faces = np.array([[0, 1, 2, 2], [0, 2, 3, 3]])
        matrix, smooth, _ = catmull_clark(faces, np.zeros((2, 4, 2), np.float32), 5)
        assert len(smooth) == 6 and smooth.max() < matrix.shape[0]
        assert np.allclose(matrix.sum(1), 1, atol=1e-6)
        assert matrix[4, 4] == 1, "a vertex without faces stays"


class TestMesh:
    def test_landmarks_are_canonical_and_symmetric(self, mesh: PersonaMesh) -> None:
        neutral = mesh.neutral_cano
        assert np.allclose(neutral[36] + neutral[45], 0, atol=1e-4)
        assert np.isclose(np.linalg.norm(neutral[45] - neutral[36]), 1, atol=1e-5)
        assert neutral[45, 0] > 0 > neutral[36, 0], "x points to the person's left"
        assert neutral[8, 1] < neutral[57, 1] < neutral[30, 1] < 0 < neutral[30, 2]
        assert np.abs(neutral - neutral[MIRROR] * [-1, 1, 1]).max() < 2e-3

    def test_turning_the_head_leaves_canonical_landmarks(self, mesh: PersonaMesh) -> None:
        turned = mesh.landmarks_cano(REST, TURNED, MOVED)
        assert np.abs(turned - mesh.neutral_cano)[17:].max() < 1e-4
        assert np.abs(turned - mesh.neutral_cano)[:17].max() < 0.05, "the jaw's ends follow the neck a little"

    def test_units_do_what_they_say(self, mesh: PersonaMesh) -> None:
        def marks(**units: float) -> FloatArray:
            return mesh.landmarks_cano(units_row(units), ZERO, ZERO)

        shut = lip_opening(mesh.neutral_cano)
        assert abs(shut) < 0.02 and lip_opening(marks(jawOpen=0.6)) > shut + 0.15
        assert abs(lip_opening(marks(jawOpen=0.3, mouthClose=0.3)) - shut) < 0.02
        assert (eye_opening(marks(eyeBlink=1.0)) < 0.25 * eye_opening(mesh.neutral_cano)).all()
        smile = marks(mouthSmile=0.8)
        assert smile[54, 1] > mesh.neutral_cano[54, 1] and smile[54, 0] > mesh.neutral_cano[54, 0]

    def test_gaze_and_lids(self, mesh: PersonaMesh) -> None:
        units = units_row({"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5, "eyeLookUp": 0.4})
        left, right, yaw, pitch = mesh.eyes(units, mesh.neutral_cano)
        assert np.isclose(left, 1) and np.isclose(right, 1) and yaw > 0.1 and pitch > 0.05
        settled = settle_lids(units_row({"eyeBlink": 1.0, "cheekSquint": 1.0}))
        assert np.allclose(settled, units_row({"eyeBlink": 1.0}))
        squeezed = settle_lids(units_row({"cheekSquint": 0.6, "eyeSquint": 0.5, "noseSneer": 1.0}))
        raised = squeezed[UNIT["cheekSquintLeft"]] + squeezed[UNIT["eyeSquintLeft"]]
        assert 0.5 < raised < 0.85 and squeezed[UNIT["noseSneerLeft"]] == 1, "the lower lid has a limit"
        smile = units_row({"cheekSquint": 0.4, "eyeSquint": 0.2})
        assert np.allclose(settle_lids(smile), smile)


class TestKit:
    def test_round_trip(self, mesh: PersonaMesh, tmp_path: Path) -> None:
        mesh.kit.save(tmp_path / "kit")
        again = Kit.load(tmp_path / "kit")
        assert np.array_equal(again.base_mm, mesh.kit.base_mm)
        assert np.abs(again.units_mm - mesh.kit.units_mm).max() < 0.03
        assert again.about == mesh.kit.about and set(again.parts) == set(mesh.kit.parts)
        assert again.about["synthetic"] is True and again.about["licence"] == "CC0-1.0"

    def test_newer_format_is_refused(self, mesh: PersonaMesh, tmp_path: Path) -> None:
        mesh.kit.save(tmp_path / "kit")
        header = tmp_path / "kit" / "kit.json"
        header.write_text(header.read_text().replace('"format_version": 1', '"format_version": 99'))
        with pytest.raises(FormatError, match="upgrade"):
            Kit.load(tmp_path / "kit")

    def test_only_core_parts_are_read(self, tmp_path: Path) -> None:
        with pytest.raises(AssetError, match="CC0"):
            Sources(tmp_path, tmp_path).part("hair", "long2_alpha7")

    def test_persona_names(self) -> None:
        assert persona_recipe("mara").name == "mara" and len(PERSONAS) >= 2
        with pytest.raises(UserError, match="there are"):
            persona_recipe("nobody")
        with pytest.raises(UserError, match="build one"):
            shipped_kit("nobody")

    def test_face_stream(self) -> None:
        faces, uv = _faces([11, 4, 5, 6, 7, 0, 0, 1, 2, 3, 10, 1, 2, 3, 0, 8, 9, 10])
        assert faces.tolist() == [[4, 5, 6, 7], [1, 2, 3, 3]]
        assert uv.tolist() == [[0, 1, 2, 3], [8, 9, 10, 10]]


class TestRenderer:
    def test_person_before_backdrop(self, renderer: Renderer) -> None:
        picture, mask = renderer.draw(REST, ZERO, ZERO)
        assert picture.shape == (128, 128, 3) and set(np.unique(mask)) == {
            MASK_BACKGROUND,
            MASK_HEAD,
            MASK_TORSO,
        }
        behind = renderer.background()
        outside = mask == MASK_BACKGROUND
        rim = np.abs(picture.astype(int) - behind)[outside]
        assert np.mean(rim.max(-1) <= 1) > 0.98, "what is not the person is the backdrop exactly"
        assert mask[60, 64] == MASK_HEAD and mask[120, 64] == MASK_TORSO and mask[5, 5] == MASK_BACKGROUND

    def test_landmarks_land_on_the_face(self, renderer: Renderer) -> None:
        mesh = renderer.mesh
        cano = mesh.landmarks_cano(REST, TURNED, MOVED)
        pixels = project(renderer, cano, renderer.pose(TURNED, MOVED))
        world = mesh.landmarks(REST, TURNED, MOVED) * 0.01
        clip = np.c_[world, np.ones(68)] @ (renderer._projection() @ renderer.view).T
        drawn = np.stack([clip[:, 0], -clip[:, 1]], 1) / clip[:, 3:] * 64 + 64
        assert np.abs(pixels - drawn).max() < 0.01
        _, mask = renderer.draw(REST, TURNED, MOVED)
        columns, rows = pixels[17:].astype(int).T
        assert (mask[rows, columns] == MASK_HEAD).all()

    def test_mouth_darkens_when_it_opens(self, renderer: Renderer) -> None:
        opened = units_row({"jawOpen": 0.7})
        pixels = project(
            renderer, renderer.mesh.landmarks_cano(opened, ZERO, ZERO), renderer.pose(ZERO, ZERO)
        )
        column, row = pixels[INNER_LIP].mean(0).astype(int)
        shut, wide = (renderer.draw(units, ZERO, ZERO)[0][row, column].sum() for units in (REST, opened))
        assert wide < 0.7 * shut

    def test_drawing_is_repeatable(self, renderer: Renderer) -> None:
        first, second = (renderer.draw(REST, TURNED, MOVED) for _ in range(2))
        assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


class TestPortraitClip:
    def test_script_is_a_prefix_of_a_longer_one(self) -> None:
        short, long = write_script(REST_FRAMES + 90, 3), write_script(REST_FRAMES + 300, 3)
        for name in ("units", "head_euler_rad", "head_translation_mm", "emotion"):
            assert np.array_equal(getattr(short, name), getattr(long, name)[: len(short.units)])
        assert not short.units[:REST_FRAMES].any()
        assert np.allclose(short.emotion.sum(1), 1, atol=1e-5)

    def test_script_goes_round_all_emotions(self) -> None:
        script = write_script(2700, 0)
        assert (script.emotion.max(0) > 0.85).all()
        assert np.abs(script.head_euler_rad).max() < 0.45

    def test_every_take_shuts_the_eyes_on_a_drawn_frame(self) -> None:
        script = write_script(REST_FRAMES + 3 * TAKE_FRAMES, 1)
        blinks = script.units[REST_FRAMES:, UNIT["eyeBlinkLeft"]].reshape(3, TAKE_FRAMES)[:, ::STRIDE]
        assert (blinks.max(1) >= 0.999).all() and ((blinks > 0.3) & (blinks < 0.8)).any(1).all()

    def test_clip_folder(self, renderer: Renderer, tmp_path: Path) -> None:
        kit, studio = renderer.mesh.kit, Studio(size_px=64, supersample=1)
        build_portrait_clip(tmp_path / "clip", 2, seed=1, kit=kit, studio=studio)
        before = (tmp_path / "clip" / "frames" / "000000.jpg").read_bytes()
        build_portrait_clip(tmp_path / "clip", 14, seed=1, kit=kit, studio=studio)
        clip = open_clip(tmp_path / "clip")
        assert clip.n_frames == 14 * STRIDE and clip.valid.sum() == 14
        assert clip.frame_path(0).read_bytes() == before, "an extended clip keeps its pictures"
        assert read_rgb(clip.frame_path(13 * STRIDE)).shape == (64, 64, 3)
        assert set(np.unique(read_mask(clip.mask_path(0)))) == {0, 1, 2}
        assert clip.background_path.exists() and clip.camera is not None and clip.camera.width_px == 64
        assert {"landmarks_cano", "eyes", "pose", "blendshapes", "emotion"} <= set(clip.arrays)
        assert clip.motion.eyes[:, :2].max() <= 2.0


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("EMOGENE_NETWORK_TESTS"), reason="set EMOGENE_NETWORK_TESTS=1 to fetch"
)
def test_shipped_kit_is_what_the_build_makes(mesh: PersonaMesh) -> None:
    from emogene.persona.build import build_kit
    from emogene.persona.sources import fetch

    kit = build_kit(persona_recipe("mara"), fetch())
    assert np.allclose(kit.base_mm, mesh.kit.base_mm, atol=1e-3)
    assert np.abs(kit.units_mm - mesh.kit.units_mm).max() < 0.03
    for name, part in kit.parts.items():
        assert np.array_equal(part.faces, mesh.kit.parts[name].faces)
