"""Wide eyes: where rays are drawn together, and how far lids are then seen apart."""

import numpy as np
import torch

from emogene.geometry.landmarks import LEFT_EYE, RIGHT_EYE
from emogene.render.lens import GAIN, MOST, lenses, through
from tests.render.toy_clip import toy_neutral

POSE = np.array([[1, 0, 0, 0.1], [0, -1, 0, -0.2], [0, 0, -1, 7], [0, 0, 0, 1]], np.float32)
WIDEST = torch.tensor([1.2, 1.1])


def grid(size: int = 128) -> torch.Tensor:
    """Unit directions that see the toy's head."""
    axis = (torch.arange(size) + 0.5) / size * 0.5 - 0.25
    plane = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    directions = torch.cat([plane, torch.ones(size, size, 1)], -1)
    return directions / directions.norm(dim=-1, keepdim=True)


def glasses(*eyes: float) -> torch.Tensor | None:
    stream = torch.tensor([[*eyes, 0.0, 0.0]])
    return lenses(torch.from_numpy(toy_neutral())[None], stream, WIDEST, POSE[None])[0]


def test_eyes_as_wide_as_in_the_video_need_none() -> None:
    assert glasses(1.0, 0.0) is None and glasses(1.2, 1.1) is None
    directions = grid()
    assert through(directions, None) is directions


def test_only_the_wide_eye_is_stretched_and_only_about_it() -> None:
    worn = glasses(1.5, 1.0)
    assert worn is not None
    assert worn[0, 3].item() == np.float32(0.25 * GAIN) and worn[1, 3].item() == 0.0
    directions = grid()
    bent = through(directions, worn)
    assert torch.allclose(bent.norm(dim=-1), torch.ones(128, 128), atol=1e-5)
    moved = (bent - directions).norm(dim=-1) > 1e-6
    seen = torch.from_numpy(toy_neutral() @ POSE[:3, :3].T + POSE[:3, 3])
    plane = seen[:, :2] / seen[:, 2:]
    cells = ((plane + 0.25) / 0.5 * 128).long()
    assert moved[cells[LEFT_EYE, 1], cells[LEFT_EYE, 0]].any()
    assert not moved[cells[RIGHT_EYE, 1], cells[RIGHT_EYE, 0]].any()
    assert moved.float().mean() < 0.03


def test_lids_are_seen_farther_apart_as_asked() -> None:
    assert torch.equal(glasses(9.0, 9.0)[:, 3], torch.full((2,), MOST))
    worn = glasses(1.2 * (1 + 0.25 / GAIN), 1.0)
    x, y, width, _ = worn[0].tolist()
    # Rays up through the middle of the eye: which of them now sees the upper lid?
    up = torch.linspace(0, 0.5 * width, 400)
    rays = torch.stack([torch.full_like(up, x), y - up, torch.ones_like(up)], -1)[None]
    bent = through(rays / rays.norm(dim=-1, keepdim=True), worn)[0]
    sees = y - bent[:, 1] / bent[:, 2]
    lid = 0.15 * width
    shown = up[(sees - lid).abs().argmin()].item()
    assert 1.18 < shown / lid < 1.26
    assert bool((sees.diff() > 0).all())
