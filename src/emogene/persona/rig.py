"""The landmark rig: head shape + 52 units -> 68 landmarks in mm and in canonical space, without a mesh.

Points P = 72: the 68 landmarks, head joint, neck joint, left and right eyeball centre. Axes as in
``types``: x to the person's left, y up, z out of the face. The data file is built by ``build_rig``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from emogene.geometry.landmarks import OUTER_EYE_CORNERS, eye_opening
from emogene.io.files import check_format_version, read_json
from emogene.io.tensors import load_arrays
from emogene.persona.identity import HeadShape
from emogene.persona.phones import Reals
from emogene.types import N_LANDMARKS, Camera, FloatArray

RIG_FORMAT = 1
HEAD_JOINT, NECK_JOINT = N_LANDMARKS, N_LANDMARKS + 1
CAMERA_DISTANCE_MM, CAMERA_BELOW_EYES_MM, FIELD_OF_VIEW_DEG = 1450.0, 42.0, 12.5
_UPPER_LIDS, _LOWER_LIDS = (37, 38, 43, 44), (41, 40, 47, 46)
_LID_GAP_MM = 0.4
_INNER_UPPER, _INNER_LOWER = [61, 62, 63], [67, 66, 65]
_LIP_GAP_MM = 0.3


def rig_folder() -> Path:
    """Folder of the rig that ships with the package."""
    return Path(__file__).parent / "data"


@dataclass(frozen=True)
class LandmarkRig:
    """Displacements of the 72 points in mm: units [52, P, 3], macro and local shape targets by name."""

    base_mm: Reals
    units_mm: Reals
    macro_mm: dict[str, Reals]
    local_mm: dict[str, tuple[Reals, Reals]]

    @classmethod
    def load(cls, folder: Path | None = None) -> LandmarkRig:
        """Read the rig; None: the one that ships."""
        folder = folder or rig_folder()
        header = read_json(folder / "rig.json")
        check_format_version(header, RIG_FORMAT, folder / "rig.json")
        arrays = {
            name: value.astype(np.float64) for name, value in load_arrays(folder / "rig.safetensors").items()
        }
        return cls(
            base_mm=arrays["base_mm"],
            units_mm=arrays["units_mm"],
            macro_mm=dict(zip(header["macro"], arrays["macro_mm"], strict=True)),
            local_mm={
                name: (more, less)
                for name, more, less in zip(
                    header["local"], arrays["more_mm"], arrays["less_mm"], strict=True
                )
            },
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Local features a head shape may vary."""
        return tuple(self.local_mm)

    def face(self, shape: HeadShape | None = None) -> RigFace:
        """The face of one person; None: the average."""
        shape = shape or HeadShape()
        points = self.base_mm.copy()
        for name, weight in shape.macro_weights().items():
            points += weight * self.macro_mm[name]
        for name, weight in shape.local.items():
            more, less = self.local_mm[name]
            points += weight * more if weight > 0 else -weight * less
        _shut_lips(points)
        return RigFace(points, self.units_mm)

    def sampled_face(self, seed: int) -> RigFace:
        """The face of a random person."""
        return self.face(HeadShape.sampled(seed, self.features))


@dataclass(frozen=True)
class RigFace:
    """One person's 72 points at rest [P, 3] and their displacements per unit [52, P, 3], in mm."""

    rest_mm: Reals
    units_mm: Reals

    @cached_property
    def origin_mm(self) -> Reals:
        """Midpoint of the outer eye corners: the origin of canonical space."""
        return np.asarray(self.rest_mm[list(OUTER_EYE_CORNERS)].mean(0))

    @cached_property
    def unit_mm(self) -> float:
        """Outer-eye distance: the unit of canonical space."""
        right, left = self.rest_mm[list(OUTER_EYE_CORNERS)]
        return float(np.linalg.norm(left - right))

    @cached_property
    def neutral_cano(self) -> FloatArray:
        """[68, 3] the relaxed face."""
        rest = self.landmarks_cano(np.zeros((1, len(self.units_mm)), np.float32))
        return np.asarray(rest[0])

    def landmarks_cano(self, units: FloatArray) -> FloatArray:
        """Landmarks [T, 68, 3] of unit weights [T, 52]."""
        moved = self.rest_mm[:N_LANDMARKS] + np.tensordot(units, self.units_mm[:, :N_LANDMARKS], axes=1)
        # Lips and lids meet, they do not cross.
        crossed = np.minimum(moved[:, _INNER_UPPER, 1] - moved[:, _INNER_LOWER, 1], 0) / 2
        moved[:, _INNER_UPPER, 1] -= crossed
        moved[:, _INNER_LOWER, 1] += crossed
        upper = moved[:, _UPPER_LIDS, 1]
        moved[:, _UPPER_LIDS, 1] = np.maximum(upper, moved[:, _LOWER_LIDS, 1] + _LID_GAP_MM)
        return np.asarray((moved - self.origin_mm) / self.unit_mm, np.float32)

    def eyes(self, landmarks_cano: FloatArray, gaze_rad: FloatArray) -> FloatArray:
        """Eye stream [T, 4] (types.EYE_CHANNELS) of landmarks [T, 68, 3] and gaze [T, 2]."""
        opening = eye_opening(landmarks_cano) / eye_opening(self.neutral_cano)
        eyes = np.concatenate([np.clip(opening, 0, None), gaze_rad], 1)
        return np.asarray(eyes, np.float32)

    def camera_from_head(self, euler_rad: FloatArray, translation_mm: FloatArray) -> FloatArray:
        """Head pose [T, 4, 4] of head rotations [T, 3] (pitch, yaw, roll) and translations [T, 3].

        Six tenths of the rotation happen about the head joint, the rest about the neck joint.
        """
        head, neck = (
            (self.rest_mm[joint] - self.origin_mm) / self.unit_mm for joint in (HEAD_JOINT, NECK_JOINT)
        )
        rotation_head, rotation_neck = (
            rotation_from_euler(0.6 * euler_rad),
            rotation_from_euler(0.4 * euler_rad),
        )
        # x -> Rn (Rh (x - head) + head - neck) + neck + translation
        shift = head - neck - rotation_head @ head
        shift = (rotation_neck @ shift[..., None])[..., 0] + neck + np.asarray(translation_mm) / self.unit_mm
        rotation = rotation_neck @ rotation_head
        flip = np.diag([1.0, -1.0, -1.0])
        camera_at = np.array([0, -CAMERA_BELOW_EYES_MM, CAMERA_DISTANCE_MM]) / self.unit_mm
        pose = np.zeros((len(rotation), 4, 4), np.float32)
        pose[:, :3, :3] = flip @ rotation
        pose[:, :3, 3] = (shift - camera_at) @ flip
        pose[:, 3, 3] = 1
        return pose

    def camera(self, size_px: int = 512) -> Camera:
        """The camera that ``camera_from_head`` is meant for: 1.45 m in front, 12.5 degrees wide."""
        focal = size_px / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW_DEG) / 2)
        return Camera(float(focal), size_px / 2, size_px / 2, size_px, size_px)


def _shut_lips(points: Reals) -> None:
    """Let the inner lips of the resting face touch, in place; shape targets leave them apart or crossed."""
    gap = points[_INNER_UPPER, 1] - points[_INNER_LOWER, 1] - _LIP_GAP_MM
    points[_INNER_UPPER, 1] -= gap / 2
    points[_INNER_LOWER, 1] += gap / 2


def rotation_from_euler(euler_rad: Reals) -> Reals:
    """Rotation matrices [T, 3, 3] = Rz(roll) Ry(yaw) Rx(pitch) of angles [T, 3] (pitch, yaw, roll)."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", np.asarray(euler_rad, np.float64)).as_matrix())
