"""Pose a persona: 52 units + head angles -> vertices of every part, landmarks and the head's matrix.

Millimetres in MakeHuman's world: x to the person's left, y up, z out of the face, the same axes as
canonical head space. The skull turns rigidly; the neck follows in part, the shoulders not at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from emogene.geometry.blendshapes import UNIT
from emogene.geometry.landmarks import OUTER_EYE_CORNERS, eye_opening
from emogene.persona.kit import Kit, KitPart
from emogene.persona.subdivision import catmull_clark
from emogene.types import FloatArray

HEAD_SHARE = 0.6
"""Part of the head's rotation made at the skull joint; the rest is made at the base of the neck."""
FRAY_MM = 8.0
"""Strands of cut hair end within this much of the longest."""
LOWER_LID_LIMIT, SNEER_RAISES = 0.85, 0.5
"""Sum of cheekSquint, eyeSquint and this share of noseSneer at which the lower lid stops rising."""
_RIGID = ("eyes", "teeth", "tongue", "brows", "lashes")
# What one unit of eyeLook turns the eyeball by (a rigid fit to the unit targets), radians.
_LOOK_SIDE_RAD, _LOOK_UP_RAD, _LOOK_DOWN_RAD = 0.264, 0.171, 0.198


@dataclass(frozen=True)
class SmoothPart:
    """A part ready to draw: matrix [m, n_base] and offset [m, 3] give its vertices; faces, corners' uv.

    head_weight, neck_weight [m]: how far each vertex follows the head. grown [m]: 0 where hair is cut .. 1
    ``FRAY_MM`` above.
    """

    matrix: sp.csr_matrix
    offset_mm: FloatArray
    faces: NDArray[np.int64]
    face_uv: FloatArray
    head_weight: FloatArray
    neck_weight: FloatArray
    grown: FloatArray


class PersonaMesh:
    """A kit that can be posed."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.parts = {name: self._smooth(name, part) for name, part in kit.parts.items()}
        self._landmarks = self._landmark_matrix()
        neutral = self._landmarks @ kit.base_mm
        right, left = (neutral[i] for i in OUTER_EYE_CORNERS)
        self.origin_mm: FloatArray = (right + left) / 2
        """Origin of canonical space in the neutral, unturned world."""
        self.unit_mm = float(np.linalg.norm(left - right))
        """Outer-eye distance: one canonical unit."""
        self.neutral_cano: FloatArray = (neutral - self.origin_mm) / self.unit_mm
        self._neutral_opening = eye_opening(self.neutral_cano)

    def express(self, units: FloatArray) -> FloatArray:
        """Control vertices [n, 3] of an expression ([52] units), head unturned."""
        moved = np.tensordot(settle_lids(units), self.kit.units_mm, axes=1)
        return np.asarray(self.kit.base_mm + moved, np.float32)

    def vertices(
        self, units: FloatArray, euler_rad: FloatArray, translation_mm: FloatArray
    ) -> dict[str, FloatArray]:
        """World vertices [m, 3] mm of every part."""
        control = self.express(units)
        return {
            name: self._turn(
                part.matrix @ control + part.offset_mm,
                part.head_weight,
                part.neck_weight,
                euler_rad,
                translation_mm,
            )
            for name, part in self.parts.items()
        }

    def head_matrix(self, euler_rad: FloatArray, translation_mm: FloatArray) -> FloatArray:
        """world_from_head [4, 4] in mm: where the turned skull is."""
        # A long baseline keeps the rotation exact in single precision.
        corners = np.concatenate([np.zeros((1, 3)), 1000 * np.eye(3)]).astype(np.float32)
        one = np.ones(4, np.float32)
        moved = self._turn(corners, one, one, euler_rad, translation_mm)
        matrix = np.eye(4, dtype=np.float32)
        matrix[:3, :3] = (moved[1:] - moved[0]).T / 1000
        matrix[:3, 3] = moved[0]
        return matrix

    def landmarks(self, units: FloatArray, euler_rad: FloatArray, translation_mm: FloatArray) -> FloatArray:
        """World landmarks [68, 3] mm."""
        control = self.express(units)
        head, neck = (self._landmarks @ w for w in (self.kit.head_weight, self.kit.neck_weight))
        return self._turn(self._landmarks @ control, head, neck, euler_rad, translation_mm)

    def landmarks_cano(
        self, units: FloatArray, euler_rad: FloatArray, translation_mm: FloatArray
    ) -> FloatArray:
        """Canonical landmarks [68, 3]: the world ones seen from the turned skull."""
        matrix = self.head_matrix(euler_rad, translation_mm)
        world = self.landmarks(units, euler_rad, translation_mm)
        head = (world - matrix[:3, 3]) @ matrix[:3, :3]
        return np.asarray((head - self.origin_mm) / self.unit_mm, np.float32)

    def eyes(self, units: FloatArray, landmarks_cano: FloatArray) -> FloatArray:
        """Eye channels [4] of types.EYE_CHANNELS: yaw to the person's left and pitch upward positive."""
        opening = eye_opening(landmarks_cano) / self._neutral_opening
        look = {name: float(units[UNIT[name]]) for name in UNIT if name.startswith("eyeLook")}
        yaw = (
            0.5
            * _LOOK_SIDE_RAD
            * (
                look["eyeLookOutLeft"]
                - look["eyeLookInLeft"]
                + look["eyeLookInRight"]
                - look["eyeLookOutRight"]
            )
        )
        up = 0.5 * (look["eyeLookUpLeft"] + look["eyeLookUpRight"])
        down = 0.5 * (look["eyeLookDownLeft"] + look["eyeLookDownRight"])
        pitch = _LOOK_UP_RAD * up - _LOOK_DOWN_RAD * down
        return np.array([*np.clip(opening, 0.0, None), yaw, pitch], np.float32)

    def _turn(
        self,
        points: FloatArray,
        head_weight: FloatArray,
        neck_weight: FloatArray,
        euler_rad: FloatArray,
        translation_mm: FloatArray,
    ) -> FloatArray:
        joint, euler = self.kit.joint_head_mm, np.asarray(euler_rad)
        turned = (points - joint) @ rotation(HEAD_SHARE * euler).T + joint
        nodded = points + head_weight[:, None] * (turned - points)
        joint = self.kit.joint_neck_mm
        turned = (nodded - joint) @ rotation((1 - HEAD_SHARE) * euler).T + joint + translation_mm
        return np.asarray(nodded + neck_weight[:, None] * (turned - nodded), np.float32)

    def _smooth(self, name: str, part: KitPart) -> SmoothPart:
        n_base, n_part = len(self.kit.base_mm), len(part.refs)
        rows = np.repeat(np.arange(n_part), 3)
        columns, values = part.refs.ravel(), part.weights.ravel()
        bind = sp.csr_matrix((values, (rows, columns)), shape=(n_part, n_base), dtype=np.float32)
        matrix, faces, face_uv = catmull_clark(part.faces.astype(np.int64), part.face_uv, n_part)
        if not part.smooth:
            matrix, faces, face_uv = (
                sp.identity(n_part, np.float32, "csr"),
                part.faces.astype(np.int64),
                part.face_uv,
            )
        full = (matrix @ bind).tocsr()
        head, neck = full @ self.kit.head_weight, full @ self.kit.neck_weight
        offset = matrix @ part.offset_mm
        if name in _RIGID:
            head, neck = np.ones_like(head), np.ones_like(neck)
        grown = np.ones_like(head)
        if name == "hair":
            height = full @ self.kit.base_mm + offset
            used = np.unique(part.faces)
            if height[used, 1].min() > self.kit.joint_neck_mm[1]:
                head = neck = np.ones_like(head)
                if self.kit.about.get("recipe", {}).get("hair_cut_mm") is not None:
                    end_mm = height[used, 1].min()
                    grown = np.clip((height[:, 1] - end_mm) / FRAY_MM, 0, 1).astype(np.float32)
            else:
                # Long hair lies on the shoulders: its ends stay there when the head turns.
                share = (height[:, 1] - self.kit.joint_head_mm[1] + 70) / 90
                head = neck = np.clip(share, 0, 1).astype(np.float32)
        return SmoothPart(full, offset, faces, face_uv, head, neck, grown)

    def _landmark_matrix(self) -> sp.csr_matrix:
        """[68, n_base]: landmarks on the smooth skin, each the mean of its two vertices."""
        skin = self.kit.parts["skin"]
        place = np.full(len(self.kit.base_mm), -1)
        place[skin.refs[:, 0]] = np.arange(len(skin.refs))
        rows = place[self.kit.landmark_vertices]
        matrix = self.parts["skin"].matrix
        return (0.5 * (matrix[rows[:, 0]] + matrix[rows[:, 1]])).tocsr()


def settle_lids(units: FloatArray) -> FloatArray:
    """Keep lids from folding through each other: the units that raise the lower lid share a limit, and all
    that widen or narrow the eye step back while it closes."""
    units = np.array(units, np.float32)
    for side in ("Left", "Right"):
        raising = [UNIT[f"{name}{side}"] for name in ("cheekSquint", "eyeSquint")]
        load = units[raising].sum() + SNEER_RAISES * units[UNIT[f"noseSneer{side}"]]
        units[raising] *= min(1.0, LOWER_LID_LIMIT / max(float(load), 1e-6))
        blink = float(np.clip(units[UNIT[f"eyeBlink{side}"]], 0, 1))
        units[UNIT[f"cheekSquint{side}"]] *= 1 - blink
        units[UNIT[f"eyeSquint{side}"]] *= 1 - blink
        units[UNIT[f"eyeWide{side}"]] *= 1 - blink
    return units


def rotation(euler_rad: FloatArray) -> FloatArray:
    """Rz Ry Rx [3, 3] of (pitch, yaw, roll): pitch down, yaw to the person's left, roll to the right."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(euler_rad), np.sin(euler_rad)
    pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    roll = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(roll @ yaw @ pitch, np.float32)
