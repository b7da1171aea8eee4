"""What the decoder starts from: flow, and detail averaged over pictures."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from emogene.io.clip import MASK_HEAD, MASK_TORSO
from emogene.render.detail import Detail, DetailConfig
from emogene.render.inference import PixelGrid
from emogene.training.render import PortraitTrainer, tiny
from emogene.training.render_detail import finish_detail, weigh_detail
from emogene.training.render_frames import open_frames
from emogene.training.render_start import (
    DetailAverage,
    flow,
    lid_range,
    moved,
    shown_frames,
    solid_part,
    write_detail,
)
from emogene.training.render_start_torso import start_torso
from tests.render.toy_clip import toy_neutral, write_toy_clip


def picture(size: int = 96) -> torch.Tensor:
    noise = torch.rand(1, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (size, size), mode="bicubic")[0].clamp(0, 1)


def test_flow_finds_a_shift_and_moving_undoes_it() -> None:
    ours = picture()
    shift = torch.zeros(2, 96, 96)
    shift[0], shift[1] = 1.2, -0.6
    real = moved(ours, -shift)
    found = flow(ours, real)
    middle = (slice(None), slice(20, -20), slice(20, -20))
    mean = found[middle].mean((1, 2))
    torch.testing.assert_close(mean, torch.tensor([1.2, -0.6]), atol=0.3, rtol=0)
    before = (real - ours)[middle].abs().mean()
    assert (moved(real, found) - ours)[middle].abs().mean() < 0.6 * before


def test_average_lays_out_what_is_missed() -> None:
    detail = Detail(DetailConfig(texels=48, layers=1))
    average = DetailAverage(48)
    size = 96
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    place = torch.stack([(x + 0.5) * 2 / size - 1, (y + 0.5) * 2 / size - 1])
    missed = (x.float() / size - 0.5).expand(3, size, size)
    solid = y < size // 2
    average.add(missed, place, solid)
    write_detail(detail, average, [])
    texture = detail.texture.detach()[0]
    across = (torch.arange(48) + 0.5) / 48 - 0.5
    assert torch.allclose(texture[:, 5, 2:-2], across[2:-2].expand(3, -1), atol=0.02)
    assert float(texture[:, 30:].abs().max()) == 0.0


def flat(value: float) -> DetailAverage:
    """Three frames that miss the same everywhere."""
    average = DetailAverage(32)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    place = torch.stack([(x + 0.5) / 32 - 1, (y + 0.5) / 32 - 1])
    average.add(torch.full((3, 64, 64), value), place, torch.ones(64, 64, dtype=torch.bool))
    return average


def test_a_stage_that_nobody_saw_lies_between_its_neighbours() -> None:
    boxes = ((2, 4, 10, 8), (18, 4, 10, 8), (8, 20, 14, 10))
    detail = Detail(DetailConfig(texels=32, layers=1, boxes=boxes, half_lids=3))
    write_detail(detail, flat(0.2), [[None, flat(0.6), None, flat(1.0)], [None] * 4, [flat(0.5)]])
    middle = [float(part.detach()[0, 4, 5]) for part in (*detail.halfway, *detail.other)]
    right, left, other = middle[0:6:2], middle[1:6:2], middle[6:]
    assert np.allclose(right, [0.2, 0.4, 0.6], atol=1e-6)
    # Of an eye that never shut nothing is known: its detail fades.
    assert np.allclose(left, [-0.05, -0.1, -0.15], atol=1e-6)
    assert np.allclose(other, [0.8, -0.2, 0.3], atol=1e-6)


def test_frames_are_sorted_by_their_lids_and_lips() -> None:
    boxes = ((2, 4, 10, 8), (18, 4, 10, 8), (8, 20, 14, 10))
    detail = Detail(DetailConfig(texels=32, layers=1, boxes=boxes, half_lids=1))
    mix = torch.tensor([[0.1, 0.0, 0.0], [0.6, 0.4, 0.1], [1.0, 0.8, 0.0], [0.0, 0.1, 0.9], [0.1, 0.1, 0.5]])
    usual, (right, left, mouth) = shown_frames(detail, F.pad(mix, (0, 2)))
    assert usual.nonzero()[:, 0].tolist() == [0]
    assert [way.nonzero()[:, 0].tolist() for way in right] == [[1], [2]]
    assert [way.nonzero()[:, 0].tolist() for way in left] == [[1], [2]]
    assert [way.nonzero()[:, 0].tolist() for way in mouth] == [[3]]
    assert shown_frames(detail, F.pad(mix[1:3], (0, 2)))[0].all()


def test_the_range_of_lids_is_the_persons() -> None:
    eyes = np.tile(np.array([[1.05, 1.05, 0, 0]], np.float32), (50, 1))
    assert np.allclose(lid_range(eyes), (1.05, 0.15))
    assert np.allclose(lid_range(0.5 * eyes), (0.85, 0.15)) and np.allclose(lid_range(2 * eyes), (1.2, 0.15))


def test_outline_is_not_solid() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[16:48, 16:48] = MASK_HEAD
    solid = solid_part(labels, torch.ones(16, 16))
    assert solid[32, 32] and not solid[18, 32] and not solid[5, 5]
    assert not solid_part(labels, torch.zeros(16, 16)).any()


def test_torso_detail_is_what_small_pictures_miss(tmp_path: Path) -> None:
    clip = write_toy_clip(tmp_path / "clip", n_frames=44)
    frames = open_frames(clip, tmp_path / "frames", low=32, max_frames=100)
    trainer = PortraitTrainer(frames, toy_neutral(), tiny())
    model, torso = trainer.model, trainer.model.torso
    assert 0 < torso.config.detail_top == torso.config.detail - torso.detail.shape[1]
    with torch.no_grad():
        # A torso that is one colour everywhere: the whole of the cloth's stripes is missed.
        torso.leave.weight.zero_()
        torso.leave.bias[:16] = 0.0
        torso.leave.bias[16] = 6.0
        model.head.layer3.bias[0] = -20.0
    start_torso(model, frames, trainer.look, most=6)
    frame = 3
    grid = PixelGrid.of(model, "standard", frames.rgb.shape[1])
    places = grid.small(model, trainer.look(frame))[1]
    shown = 0.5 + torso.fine(places[:, 2:], 4).detach()[0].permute(1, 2, 0).numpy()
    inside = np.array(frames.labels[frame]) == MASK_TORSO
    inside[:-12] = False
    real = frames.rgb[frame].astype(np.float32) / 255
    assert np.abs(shown - real)[inside].mean() < 0.35 * np.abs(real - 0.5)[inside].mean()


def test_detail_that_no_picture_bears_out_fades(tmp_path: Path) -> None:
    clip = write_toy_clip(tmp_path / "clip", n_frames=44)
    frames = open_frames(clip, tmp_path / "frames", low=32, max_frames=100)
    trainer = PortraitTrainer(frames, toy_neutral(), tiny())
    finish_detail(trainer.model, trainer.recipe)
    model, detail = trainer.model, trainer.model.detail
    with torch.no_grad():
        detail.texture.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
        for picture in detail.pictures():
            picture.normal_(0, 0.1)
        model.head.layer3.bias[0] = 6.0
    before = [part.detach().clone() for part in detail.parameters()]
    weigh_detail(model, frames, trainer.look, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, detail.parameters(), strict=True))
    weigh_detail(model, frames, trainer.look, 0.5, most=6)
    shares = [(after / own).detach() for own, after in zip(before, detail.parameters(), strict=True)]
    # Noise is in none of the pictures.
    assert max(float(share.max()) for share in shares) < 0.6
    assert min(float(share.min()) for share in shares) > 0.1
