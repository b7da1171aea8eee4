"""A toy person: a textured ellipsoid whose mouth opens and whose eyes blink, over a moving trapezoid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emogene.io.clip import Clip, write_clip
from emogene.io.images import write_mask, write_rgb
from emogene.types import Camera, FloatArray

RADII = np.array([0.85, 1.2, 0.9], np.float32)
CENTER = np.array([0.0, -0.2, -0.85], np.float32)
DISTANCE = 7.0


def toy_neutral() -> FloatArray:
    """68 plausible landmarks on the ellipsoid's front, canonical units."""

    def arc(count: int, cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> list:
        angles = np.linspace(start, stop, count)
        return [(cx + rx * np.cos(a), cy + ry * np.sin(a)) for a in angles]

    turn = 2 * np.pi
    points = arc(17, 0, -0.1, 0.7, 1.1, np.pi, turn)
    points += arc(5, -0.36, 0.2, 0.22, 0.08, np.pi, 0.2) + arc(5, 0.36, 0.2, 0.22, 0.08, np.pi - 0.2, 0)
    points += [(0, y) for y in (-0.05, -0.17, -0.28, -0.38)] + [
        (x, -0.46) for x in (-0.14, -0.07, 0, 0.07, 0.14)
    ]
    for side in (-1, 1):
        x = 0.34 * side
        points += [
            (x - 0.16, 0),
            (x - 0.06, 0.05),
            (x + 0.06, 0.05),
            (x + 0.16, 0),
            (x + 0.06, -0.05),
            (x - 0.06, -0.05),
        ]
    points += arc(7, 0, -0.75, 0.27, 0.1, np.pi, 0) + arc(7, 0, -0.75, 0.27, 0.1, 0, -np.pi)[1:-1]
    points += arc(5, 0, -0.75, 0.2, 0.01, np.pi, 0) + arc(5, 0, -0.75, 0.2, 0.01, 0, -np.pi)[1:-1]
    xy = np.array(points, np.float32)
    inside = np.clip(1 - (((xy - CENTER[:2]) / RADII[:2]) ** 2).sum(1), 0, None)
    return np.concatenate([xy, (CENTER[2] + RADII[2] * np.sqrt(inside))[:, None]], 1).astype(np.float32)


def toy_motion(n_frames: int, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Offsets [T, 68, 3], eyes [T, 4] and poses [T, 4, 4]."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_frames, dtype=np.float32)
    opening = 0.14 * (1 + np.sin(t * 0.9 + rng.uniform(0, 6))).astype(np.float32)
    offsets = np.zeros((n_frames, 68, 3), np.float32)
    offsets[:, [55, 56, 57, 58, 59, 65, 66, 67], 1] = -opening[:, None]
    offsets[:, 5:12, 1] = -0.7 * opening[:, None]
    eyes = np.tile(np.array([1, 1, 0, 0], np.float32), (n_frames, 1))
    eyes[:, :2] = np.where(np.sin(t * 0.5) > 0.8, 0.0, 1.0)[:, None]
    poses = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32), (n_frames, 1, 1))
    yaw = 0.15 * np.sin(t * 0.37)
    for pose, angle in zip(poses, yaw, strict=True):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        pose[:3, :3] = pose[:3, :3] @ turn
        pose[:3, 3] = (0.2 * np.sin(angle * 4), 0.1, DISTANCE)
    return offsets, eyes, poses


def toy_picture(
    camera: Camera, pose: FloatArray, opening: float, eye: float, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """One frame [H, W, 3] and its labels [H, W]."""
    y, x = np.meshgrid(np.arange(camera.height_px) + 0.5, np.arange(camera.width_px) + 0.5, indexing="ij")
    ray = np.stack(
        [(x - camera.cx_px) / camera.focal_px, (y - camera.cy_px) / camera.focal_px, np.ones_like(x)], -1
    )
    rotation, move = pose[:3, :3], pose[:3, 3]
    direction, origin = ray @ rotation, -rotation.T @ move
    d, o = direction / RADII, (origin - CENTER) / RADII
    a, b, c = (d * d).sum(-1), (d * o).sum(-1), (o * o).sum() - 1
    disc = b * b - a * c
    hit = disc > 0
    t = (-b - np.sqrt(np.maximum(disc, 0))) / a
    point = origin + t[..., None] * direction
    px, py = point[..., 0], point[..., 1]
    colour = np.stack([0.8 + 0.1 * np.sin(9 * px), 0.6 + 0.1 * np.cos(7 * py), 0.5 + 0 * px], -1)
    colour[py > 0.45] = (0.25, 0.15, 0.1)
    for side in (-0.34, 0.34):
        colour[((px - side) / 0.14) ** 2 + (py / max(0.07 * eye, 0.012)) ** 2 < 1] = (0.1, 0.2, 0.4)
    colour[(px / 0.24) ** 2 + ((py + 0.75 + opening / 2) / (0.05 + opening / 2)) ** 2 < 1] = (0.5, 0.1, 0.15)
    u, v = x / camera.width_px, y / camera.height_px
    picture = np.stack([0.3 + 0.3 * u, 0.5 + 0 * u, 0.6 - 0.2 * v], -1)
    torso = (v > 0.72) & (np.abs(u - 0.5 - shift) < 0.15 + 0.9 * (v - 0.72))
    picture[torso] = (0.2, 0.25, 0.5)
    picture[torso & (np.floor(u * 12) % 2 == 0)] = (0.3, 0.35, 0.6)
    picture[hit] = colour[hit]
    labels = np.where(hit, 1, np.where(torso, 2, 0)).astype(np.uint8)
    return (picture.clip(0, 1) * 255).astype(np.uint8), labels


def write_toy_clip(folder: Path, n_frames: int = 22, size: int = 128) -> Clip:
    """Write the toy person as a clip folder."""
    camera = Camera(1.7 * size, size / 2, size * 0.45, size, size)
    offsets, eyes, poses = toy_motion(n_frames)
    for index in range(n_frames):
        opening = -float(offsets[index, 57, 1])
        shift = 0.03 * np.sin(index * 0.7)
        picture, labels = toy_picture(camera, poses[index], opening, float(eyes[index, 0]), shift)
        write_rgb(folder / "frames" / f"{index:06d}.jpg", picture)
        write_mask(folder / "masks" / f"{index:06d}.png", labels)
    away = np.array(poses[0])
    away[:3, 3] = (90, 0, DISTANCE)
    empty, _ = toy_picture(camera, away, 0.1, 1.0, 9.0)
    write_rgb(folder / "background.png", empty)
    arrays = {"landmarks_cano": toy_neutral() + offsets, "eyes": eyes, "pose": poses}
    return write_clip(folder, arrays, camera=camera, speaker="toy", neutral_cano=toy_neutral().tolist())
