"""What is known of a person's head: where it rests, how far it moves, and a recorded track of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emogene.pose.euler import angles, matrices, nearest_rotation
from emogene.pose.noise import Reals
from emogene.types import FloatArray

NECK_PIVOT = np.array([0.0, -0.9, -0.9])
"""The head turns about the top of the neck: canonical units below and behind the eye corners."""
TYPICAL_EULER_SD = np.array([0.030, 0.055, 0.025])
"""Deviation of pitch, yaw, roll (rad) of a talking head (persona.md 9)."""
TYPICAL_TRANSLATION_SD = np.array([3.0, 1.2, 2.0]) / 90.0
"""Deviation of the translation (canonical units; 3, 1.2 and 2 mm)."""


@dataclass(frozen=True, slots=True)
class PoseBank:
    """A person's head poses.

    rest: [4, 4] camera_from_head at rest. euler_sd: [3] rad, translation_sd: [3] canonical units: how far
    the person's head strays from it. track: [N, 4, 4] recorded poses at 25 fps, or None.
    """

    rest: FloatArray
    euler_sd: FloatArray
    translation_sd: FloatArray
    track: FloatArray | None = None

    def __post_init__(self) -> None:
        for name, shape in (("rest", (4, 4)), ("euler_sd", (3,)), ("translation_sd", (3,))):
            array = np.ascontiguousarray(getattr(self, name), np.float32)
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
            object.__setattr__(self, name, array)
        if self.track is not None:
            track = np.ascontiguousarray(self.track, np.float32)
            if track.ndim != 3 or track.shape[1:] != (4, 4) or len(track) == 0:
                raise ValueError(f"track must have shape (N, 4, 4), not {track.shape}")
            object.__setattr__(self, "track", track)

    @classmethod
    def from_track(cls, poses: FloatArray, valid: NDArray[np.bool_] | None = None) -> PoseBank:
        """Take rest pose, deviations and the track from tracked poses [T, 4, 4], valid frames only."""
        known = np.asarray(poses if valid is None else np.asarray(poses)[valid], np.float64)
        if len(known) == 0:
            raise ValueError("a pose bank needs at least one valid pose")
        rest = np.eye(4)
        rest[:3, :3] = nearest_rotation(known[:, :3, :3].mean(0))
        rest[:3, 3] = np.median(known[:, :3, 3], axis=0)
        relative = np.linalg.inv(rest) @ known
        # 1.48 x the median deviation: one look aside must not widen the whole bank.
        euler_sd = 1.48 * np.median(np.abs(angles(relative[:, :3, :3])), axis=0)
        translation_sd = 1.48 * np.median(np.abs(relative[:, :3, 3]), axis=0)
        return cls(
            rest.astype(np.float32),
            euler_sd.astype(np.float32),
            translation_sd.astype(np.float32),
            known.astype(np.float32),
        )

    @classmethod
    def typical(cls, distance: float = 16.0, drop: float = 0.45) -> PoseBank:
        """A frontal head ``distance`` in front of the camera, the eyes ``drop`` above its axis."""
        rest = np.diag([1.0, -1.0, -1.0, 1.0])
        rest[:3, 3] = 0.0, -drop, distance
        return cls(
            rest.astype(np.float32),
            TYPICAL_EULER_SD.astype(np.float32),
            TYPICAL_TRANSLATION_SD.astype(np.float32),
        )

    def arrays(self) -> dict[str, FloatArray]:
        """Named arrays to be stored; ``from_arrays`` reads them back."""
        named = {"rest": self.rest, "euler_sd": self.euler_sd, "translation_sd": self.translation_sd}
        return named if self.track is None else named | {"track": self.track}

    @classmethod
    def from_arrays(cls, arrays: dict[str, FloatArray]) -> PoseBank:
        """The inverse of ``arrays``."""
        return cls(arrays["rest"], arrays["euler_sd"], arrays["translation_sd"], arrays.get("track"))

    def placed(self, euler_rad: Reals, translation: Reals) -> FloatArray:
        """Return camera_from_head [T, 4, 4] of the head turned about the neck and moved from rest."""
        turn = matrices(euler_rad)
        moved = np.tile(np.eye(4), (len(turn), 1, 1))
        moved[:, :3, :3] = turn
        moved[:, :3, 3] = translation + NECK_PIVOT - turn @ NECK_PIVOT
        return np.asarray(self.rest.astype(np.float64) @ moved, np.float32)
