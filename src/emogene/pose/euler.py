"""Head rotations as angles: pitch (positive: down), yaw (to the person's left), roll (left side up).

R = Rz(roll) Ry(yaw) Rx(pitch) in the canonical head frame.
"""

from __future__ import annotations

import numpy as np

from emogene.pose.noise import Reals


def matrices(euler_rad: Reals) -> Reals:
    """[..., 3] angles -> [..., 3, 3]."""
    (sx, sy, sz), (cx, cy, cz) = (np.moveaxis(f(np.asarray(euler_rad)), -1, 0) for f in (np.sin, np.cos))
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def angles(rotation: Reals) -> Reals:
    """[..., 3, 3] -> [..., 3], the inverse of ``matrices`` for yaws within +-90 degrees."""
    pitch = np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    yaw = np.arcsin(np.clip(-rotation[..., 2, 0], -1, 1))
    roll = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.stack([pitch, yaw, roll], -1)


def nearest_rotation(matrix: Reals) -> Reals:
    """Project [..., 3, 3] onto rotations."""
    u, _, vt = np.linalg.svd(matrix)
    sign = np.ones(u.shape[:-1])
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    return np.asarray((u * sign[..., None, :]) @ vt)
