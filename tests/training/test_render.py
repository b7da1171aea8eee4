"""Training a portrait of the toy person: it learns, resumes and leaves a portrait behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emogene.errors import UserError
from emogene.io.clip import Clip
from emogene.render.portrait import Portrait
from emogene.training.loop import read_metrics
from emogene.training.render import RECIPES, PortraitTrainer, planned, tiny, train_portrait
from emogene.training.render_composites import draw_composites
from emogene.training.render_frames import block_mean, neutral_of, open_frames
from emogene.training.render_patches import PatchSampler
from emogene.training.render_space import fit_box, largest_piece, visual_hull
from tests.render.toy_clip import toy_neutral, write_toy_clip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return write_toy_clip(tmp_path_factory.mktemp("toy"), n_frames=22, size=128)


def test_frames_are_decoded_once_and_split(clip: Clip, tmp_path: Path) -> None:
    frames = open_frames(clip, tmp_path, low=32, max_frames=100)
    assert len(frames) == 22 and frames.n_train == 20
    assert frames.rgb.shape == (22, 128, 128, 3) and frames.low_cover.max() == 255
    stamp = (tmp_path / "rgb.u8").stat().st_mtime_ns
    assert len(open_frames(clip, tmp_path, low=32, max_frames=100)) == 22
    assert (tmp_path / "rgb.u8").stat().st_mtime_ns == stamp
    assert np.allclose(neutral_of(clip), toy_neutral())
    assert block_mean(np.full((8, 8, 1), 7, np.uint8), 2).tolist() == [[[7], [7]], [[7], [7]]]


def test_box_and_hull_hold_the_head(clip: Clip, tmp_path: Path) -> None:
    frames = open_frames(clip, tmp_path, low=32, max_frames=100)
    box = fit_box(frames)
    inside = box.to_cube(toy_neutral())
    assert inside.min() > 0 and inside.max() < 1
    hull = visual_hull(frames, box, 32)
    cell = (inside[27] * 32).astype(int)
    assert hull[cell[2], cell[1], cell[0]]
    assert 0.02 < hull.float().mean() < 0.6


@pytest.mark.parametrize("draft", [False, True])
def test_patches_show_what_was_drawn_there(clip: Clip, tmp_path: Path, draft: bool) -> None:
    frames = open_frames(clip, tmp_path, low=32, max_frames=100)
    trainer = PortraitTrainer(frames, toy_neutral(), tiny())
    chosen = np.array([3, 11])
    quality, block = ("draft", 8) if draft else ("standard", 4)
    drawn = draw_composites(trainer.model, chosen, trainer.look, quality, tmp_path / "drawn")
    drawn.pictures[:, :3] = [_means(frames.rgb[frame], block) for frame in chosen]
    patch = PatchSampler(frames, drawn, 8, 3, (1, 1, 1, 1)).draw(np.random.default_rng(0))
    assert (
        patch.draft == draft and patch.composite.shape == (3, 18, 8, 8) and patch.place.shape == (3, 4, 8, 8)
    )
    assert patch.rgb.shape == (3, 3, 32, 32) and set(patch.frames.tolist()) <= set(chosen.tolist())
    assert torch.allclose(patch.composite[:, :3], F.avg_pool2d(patch.rgb, 4), atol=2e-3)


def test_what_floats_beside_the_head_goes() -> None:
    cells = torch.zeros(8, 8, 8, dtype=torch.bool)
    cells[2:6, 2:6, 2:6] = True
    head = cells.clone()
    cells[7, 7, 5:8] = True
    assert torch.equal(largest_piece(cells), head) and torch.equal(largest_piece(head), head)


def _means(picture: np.ndarray, block: int) -> torch.Tensor:
    return F.avg_pool2d(torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255, block)


def test_training_learns_and_resumes(clip: Clip, tmp_path: Path) -> None:
    recipe = replace(tiny(), warmup_steps=40, decoder_steps=24, checkpoint_every=12, preview_every=24)
    portrait = train_portrait(clip, tmp_path / "run", recipe)
    assert (tmp_path / "run" / "preview.png").exists()
    losses = [x["mse"] for x in read_metrics(tmp_path / "run" / "field") if "mse" in x]
    assert losses[-1] < 0.06
    loaded = Portrait.load(tmp_path / "run" / "portrait")
    again = train_portrait(clip, tmp_path / "run", recipe)
    for one in (loaded, again):
        for name, tensor in portrait.model.decoder.state_dict().items():
            assert torch.allclose(one.model.decoder.state_dict()[name], tensor, atol=2e-3), name


def test_recipes_build(clip: Clip, tmp_path: Path) -> None:
    small = tiny()
    for make in RECIPES.values():
        recipe = replace(
            make(),
            low=32,
            patch=12,
            patches=1,
            warmup_rays=64,
            warmup_frames=2,
            head=small.head,
            max_frames=30,
        )
        recipe = replace(recipe, perceptual_weight=0.0)
        frames = open_frames(clip, tmp_path, low=32, max_frames=recipe.max_frames)
        trainer = PortraitTrainer(frames, toy_neutral(), recipe)
        trainer.draw(None, most=4)
        for step in (trainer.warm_step, trainer.decoder_step):
            assert torch.isfinite(torch.as_tensor(step(10**9, np.random.default_rng(0))["loss"]))


def test_a_clip_without_pose_is_refused(tmp_path: Path, clip: Clip) -> None:
    blind = Clip(clip.folder, clip.n_frames, {"landmarks_cano": clip.arrays["landmarks_cano"]})
    with pytest.raises(UserError, match="emogene create"):
        open_frames(blind, tmp_path, low=32, max_frames=10)


def test_a_time_budget_is_planned_once_and_never_starves(clip: Clip, tmp_path: Path) -> None:
    frames = open_frames(clip, tmp_path / "frames", low=32, max_frames=100)
    recipe = replace(tiny(), warmup_steps=400, decoder_steps=2000)
    trainer = PortraitTrainer(frames, toy_neutral(), recipe)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    short = planned(trainer, tmp_path / "plan.json", minutes=0.01)
    assert (short.warmup_steps, short.decoder_steps) == (400, 800)
    assert planned(trainer, tmp_path / "plan.json", minutes=60.0) == short
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name
