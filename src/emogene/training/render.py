"""Train a person's portrait from a clip folder: head field, then torso, then decoder and detail.

    portrait = train_portrait(clip, out, standard(), minutes=15)

Three runs in one folder, each resumable at any time:
    rough/    a short one of the field, which then corrects the tracked head poses (``render_register``)
    field/    the head field on scattered low-resolution rays: geometry and colour
    decoder/  decoder and detail on patches of what field and torso show (``render_composites``): 40 x 40 low
              pixels become 160 x 160; colour, edges, texture, perceptual and adversarial losses

Masks say what is head, torso and background. Half of the patches lie on mouth and eyes: errors there are
what people see, and a mouth judged by its mean error alone learns to stay shut and blurred.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.capture.eyes import EYEBALL_RADIUS
from emogene.geometry.landmarks import lip_opening
from emogene.io.clip import Clip
from emogene.io.files import atomic_folder, read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.render.decoder import SCALE
from emogene.render.detail import DetailConfig, enlarged, laid_over, shown_detail
from emogene.render.fused import LossWeights, RayBatch, ray_loss
from emogene.render.inference import Look, looks
from emogene.render.losses import PatchCritic
from emogene.render.model import PortraitConfig, PortraitModel
from emogene.render.portrait import Portrait
from emogene.render.rays import HeadBox, camera_origin, pixel_directions
from emogene.training.loop import Hooks, LoopConfig, train
from emogene.training.render_composites import MOST, draw_composites
from emogene.training.render_detail import finish_detail, weigh_detail
from emogene.training.render_frames import Frames, neutral_of, open_frames
from emogene.training.render_losses import PatchLosses
from emogene.training.render_patches import PatchSampler, RaySampler
from emogene.training.render_poses import are_registered, keep_poses, registered_poses
from emogene.training.render_recipe import RECIPES, RenderRecipe, high, paper, standard, tiny
from emogene.training.render_register import register_heads
from emogene.training.render_space import fit_box, largest_piece, torso_config, torso_top, visual_hull
from emogene.training.render_start import detail_boxes, lid_range, start_detail
from emogene.training.render_start_torso import learn_torso, start_torso
from emogene.types import FloatArray

__all__ = [
    "RECIPES",
    "PortraitTrainer",
    "RenderRecipe",
    "high",
    "paper",
    "standard",
    "tiny",
    "train_portrait",
]

log = logging.getLogger(__name__)

WEIGHTS = LossWeights(spread_weight=0.3, haze_weight=2e-3)
"""Density shall gather at one depth, and be whole or nothing."""
FAINT = 2.0
"""Density per cube length that covers 3 % over one occupancy cell: below it a cell counts as empty."""

POSE_NOISE = 0.7
"""Of the pose that the networks are shown in training: what follows from it shall do so softly. Without it a
field of 3000 steps learns single frames by their pose (head 33.2 dB; 32.6 without and at full scale)."""
SETTLED = 0.7
"""Time of a step once empty space is known, relative to the first steps."""
LEAST_STEPS = (500, 800)
"""Fewer steps of field and decoder do not show a person (about four minutes of an idle core)."""
WARMUP_SHARE = 0.4
"""Of the time: the field learns from whole batches only there, and what it has not learnt nothing mends."""
LID_STAGES = 4
"""Pictures of lids on their way: with one, the upper lid's edge was lost between open, half shut and shut."""
OPEN_LIPS = (0.5, 0.95)
"""Quantiles of the lip opening at which the mouth counts as shut and as open."""
COARSER = 1.3
"""Sample distance when rendering, relative to training: a fifth less work at 46 dB from the finer picture."""

Report = Callable[[str, int, int, float], None]
"""Called with (stage, done, in all, seconds left)."""


def train_portrait(
    clip: Clip,
    out: Path,
    recipe: RenderRecipe | None = None,
    *,
    neutral_cano: FloatArray | None = None,
    minutes: float = 0.0,
    report: Report | None = None,
) -> Portrait:
    """Train, or go on training, the portrait of a clip's person.

    Args:
        clip: frames, masks, head pose and landmarks of one person.
        out: run folder; ``out/portrait`` is the result, ``out/preview.png`` its latest look.
        recipe: sizes and schedule; None: ``standard()``.
        neutral_cano: [68, 3] neutral face; None: found in the clip.
        minutes: fit the schedule to so much time on this machine; 0: the recipe's steps.
        report: progress.

    Returns:
        The trained portrait, also saved in ``out/portrait``.
    """
    recipe = recipe or standard()
    frames = open_frames(
        clip,
        out / "frames",
        low=recipe.low,
        max_frames=recipe.max_frames,
        hold_out=recipe.hold_out,
        progress=None if report is None else lambda done, total: report("frames", done, total, 0.0),
    )
    neutral = neutral_of(clip) if neutral_cano is None else neutral_cano
    trainer = PortraitTrainer(frames, neutral, recipe, _box(frames, out / "space.json"))
    recipe = planned(trainer, out / "plan.json", minutes)
    trainer.recipe = recipe
    if recipe.register_steps:
        trainer = _registered(trainer, clip, out / "rough", report)
    trainer.warm_up(out / "field", report)
    trainer.prepare(out / "prepared.safetensors")
    trainer.decode(out / "decoder", out / "preview.png", report)
    finish_detail(trainer.model, recipe)
    weigh_detail(trainer.model, frames, trainer.look, recipe.trust, recipe.mouth_trust)
    portrait = trainer.portrait()
    if recipe.most_lip_gain > 1:
        from emogene.training.render_lips import fit_lip_gain

        fit_lip_gain(portrait, frames, recipe.most_lip_gain)
    with atomic_folder(out / "portrait") as folder:
        portrait.save(folder)
    return portrait


def _box(frames: Frames, path: Path) -> HeadBox:
    """The head's box, found once: a run that goes on must not find another one."""
    if not path.exists():
        write_json(path, asdict(fit_box(frames)))
    space = read_json(path)
    return HeadBox(tuple(space["center"]), float(space["half_size"]))


def _registered(trainer: PortraitTrainer, clip: Clip, folder: Path, report: Report | None) -> PortraitTrainer:
    """A trainer that goes on from a rough field, with the head poses that this field finds."""
    recipe = trainer.recipe
    trainer.recipe = replace(recipe, warmup_steps=recipe.register_steps)
    trainer.warm_up(folder, report)
    rough = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    frames = trainer.frames
    if not are_registered(clip):
        trainer.settle()
        heads = None if report is None else lambda done, total: report("heads", done, total, 0.0)
        keep_poses(clip, frames.index, register_heads(trainer.model, frames, trainer.look, heads))
    frames = replace(frames, pose=registered_poses(clip, frames.index))
    onward = PortraitTrainer(frames, trainer.model.neutral.numpy(), recipe, trainer.model.config.box)
    # Constants that were measured on poses stay as the rough field knew them.
    onward.model.load_state_dict(rough)
    onward.turns = onward.model.pose_features(torch.from_numpy(frames.pose))
    return onward


def planned(trainer: PortraitTrainer, path: Path, minutes: float) -> RenderRecipe:
    """Steps that fit the time, measured once and then kept so that a resumed run has the same schedule."""
    recipe = trainer.recipe
    if minutes <= 0:
        return recipe
    if not path.exists():
        warm, decode = trainer.seconds_per_step()
        share = WARMUP_SHARE * minutes * 60
        floor = [min(least, steps) for least, steps in zip(LEAST_STEPS, _steps(recipe), strict=True)]
        most = recipe.register_steps + recipe.warmup_steps
        plan = {
            "warmup_steps": int(np.clip(share / warm, floor[0], most)),
            "decoder_steps": max(floor[1], int((minutes * 60 - share) / decode)),
        }
        # Of a short training the rough field would take too much.
        enough = plan["warmup_steps"] > 3 * recipe.register_steps
        plan["register_steps"] = recipe.register_steps if enough else 0
        plan["warmup_steps"] -= plan["register_steps"]
        write_json(path, plan)
        log.info("%.3f s per step of the field, %.3f s of the decoder: %s", warm, decode, plan)
    plan = read_json(path)
    register, warm, decode = (int(plan[f"{name}_steps"]) for name in ("register", "warmup", "decoder"))
    return replace(recipe, register_steps=register, warmup_steps=warm, decoder_steps=decode)


def _steps(recipe: RenderRecipe) -> tuple[int, int]:
    return recipe.warmup_steps, recipe.decoder_steps


class _Trained(nn.Module):
    """What a checkpoint holds: the portrait and its critic."""

    def __init__(self, model: PortraitModel) -> None:
        super().__init__()
        self.model = model
        self.critic = PatchCritic()


class PortraitTrainer:
    """The model, its data and the two kinds of step."""

    def __init__(
        self, frames: Frames, neutral: FloatArray, recipe: RenderRecipe, box: HeadBox | None = None
    ) -> None:
        self.frames, self.recipe = frames, recipe
        torch.manual_seed(recipe.seed)
        box = box or fit_box(frames)
        seen = slice(0, frames.n_train)
        opening = np.quantile(lip_opening(frames.landmarks[seen]), OPEN_LIPS)
        texels = DetailConfig().texels
        detail = DetailConfig(
            layers=recipe.decoder.layers,
            boxes=detail_boxes(neutral, box, texels) if recipe.decoder.layers else (),
            opening=(float(opening[0]), float(max(opening[1], opening[0] + 1e-3))),
            iris_reach=EYEBALL_RADIUS * texels / (2 * box.half_size),
            lids=lid_range(frames.eyes[seen]),
            half_lids=LID_STAGES,
            iris_fade=1.0,
        )
        config = PortraitConfig(
            camera=frames.camera,
            box=box,
            low=recipe.low,
            step=COARSER * recipe.step,
            head=recipe.head,
            torso=torso_config(recipe.torso, frames),
            decoder=recipe.decoder,
            detail=detail,
        )
        self.model = PortraitModel(config, neutral)
        self.model.fit(
            frames.landmarks[seen] - neutral,
            frames.eyes[seen],
            frames.pose[seen],
            frames.shoulders[seen],
            torso_top(frames),
        )
        occupancy = self.model.head.occupancy
        occupancy.restrict(visual_hull(frames, box, recipe.head.occupancy))
        occupancy.threshold, occupancy.decay = FAINT, 0.8
        self.offsets = torch.from_numpy(frames.windows - neutral)
        self.eyes = torch.from_numpy(frames.eyes)
        self.mix = self.model.detail.mix(self.offsets[:, -1], self.model.neutral, self.eyes)
        self.shoulders = torch.from_numpy(frames.shoulders)
        self.turns = self.model.pose_features(torch.from_numpy(frames.pose))
        self.rays = RaySampler(frames, recipe.warmup_rays, recipe.warmup_frames)
        self.samplers: tuple[PatchSampler, ...] = ()
        self.before_decoding: Callable[[], None] = lambda: self.draw(None)
        self.trained = _Trained(self.model)
        self.losses = PatchLosses(recipe, self.trained.critic)

    def portrait(self) -> Portrait:
        """The model as it is, ready to render."""
        return Portrait(self.model.eval(), self.frames.background)

    @torch.no_grad()
    def settle(self, n_frames: int = 24) -> None:
        """Keep only the cells that hold density in some frame and hang together: rays then skip the air."""
        head, occupancy = self.model.head, self.model.head.occupancy
        highest = torch.zeros_like(occupancy.density)
        frames = np.linspace(0, self.frames.n_train - 1, min(n_frames, self.frames.n_train))
        for code in self.codes(torch.from_numpy(frames.round().astype(np.int64))):
            index, points = occupancy.candidates(1.0)
            flat = highest.view(-1)
            flat[index] = torch.maximum(flat[index], head.density(points, code))
        near = F.max_pool3d(highest[None, None], 3, 1, 1)[0, 0] > 2 * FAINT
        occupancy.density.copy_(highest)
        occupancy.cells.copy_(largest_piece(near & (occupancy.allowed > 0)))

    # The field, on rays

    def warm_up(self, folder: Path, report: Report | None) -> None:
        """Train the field (and codes) alone."""
        recipe, head = self.recipe, self.model.head
        optimizer = torch.optim.Adam(
            [
                {"params": [head.table], "lr": recipe.field_rate},
                {
                    "params": [p for n, p in head.named_parameters() if n != "table"],
                    "lr": recipe.network_rate,
                },
                {"params": list(self.model.code.parameters()), "lr": 0.5 * recipe.network_rate},
            ],
            betas=(0.9, 0.99),
            eps=1e-15,
            fused=True,
        )
        config = self._loop(recipe.warmup_steps, warmup=20, final_rate=0.2)
        hooks = Hooks(optimizer=optimizer, about={"stage": "field"}, progress=_named(folder.name, report))
        train(folder, self.model, self.warm_step, config, hooks)

    def warm_step(self, index: int, rng: np.random.Generator) -> dict[str, Tensor | float]:
        """Colour, coverage and sharpness of scattered rays."""
        model = self.model
        batch = self.rays.draw(rng)
        codes = self.codes(batch.frames, noise=POSE_NOISE)
        warps = model.warp(self.offsets[batch.frames, -1])
        if index % 16 == 0:
            # Early on every cell is asked, later a part: densities change slowly then.
            model.head.update_occupancy(codes.detach(), 1.0 if index < 64 else 0.25)
        origins, directions = self._rays(batch.frames, batch.pixels)
        owner = torch.arange(len(batch.frames)).repeat_interleave(batch.pixels.shape[1])
        # Well inside and outside of the head any colour may lie behind it: the field learns to be opaque,
        # and clear. On the outline the true background does, so that hair may be as thin as it is; where the
        # torso begins, only the mask knows.
        cover, edge = batch.cover[:, None], ((batch.cover > 0.01) & (batch.cover < 0.99))[:, None]
        outline = edge & ~batch.torso[:, None]
        behind = torch.where(outline, batch.plate, torch.rand(len(owner), 3))
        target = torch.where(outline, batch.rgb, batch.rgb * cover + (1 - cover) * behind)
        rays = RayBatch(
            rays_o=origins,
            rays_d=directions,
            frames=owner,
            target=target,
            background=behind,
            weight=1.0 - 0.7 * (edge & ~outline).float()[:, 0],
            jitter=torch.rand(len(owner)),
        )
        found = ray_loss(model.head, rays, codes, warps, WEIGHTS, step=self.recipe.step)
        return {"loss": found.loss, "mse": found.colour, "spread": found.spread}

    # Between the two

    @torch.no_grad()
    def prepare(self, kept: Path) -> None:
        """Teach the torso, and start the detail from the pictures, once (``render_start``)."""
        if kept.exists():
            self.model.load_state_dict({k: torch.from_numpy(v) for k, v in load_arrays(kept).items()})
            return
        self._prepare()
        save_arrays(kept, {k: v.numpy() for k, v in self.model.state_dict().items()})

    def _prepare(self) -> None:
        model, frames = self.model, self.frames
        seen = torch.arange(frames.n_train)
        codes = self.codes(seen)
        with torch.enable_grad():
            error = learn_torso(model, frames, codes, self.recipe.torso_steps)
        self.settle()
        log.info("torso alone: %.1f dB", -10 * np.log10(error))
        if model.config.decoder.layers:
            start_detail(model, frames, self.mix[seen], self.look)
        if model.config.decoder.torso:
            start_torso(model, frames, self.look)

    def look(self, frame: int) -> Look:
        """A frame as it is drawn after training."""
        part = slice(frame, frame + 1)
        with torch.inference_mode():
            windows, pose = self.offsets[part], self.frames.pose[part]
            return looks(self.model, windows, self.eyes[part], pose, self.shoulders[part])[0]

    # Decoder and detail, on patches

    def decode(self, folder: Path, preview: Path, report: Report | None) -> None:
        """Train decoder and detail on what the finished field and torso show."""
        recipe = self.losses.recipe = self.recipe

        from emogene.training.render_preview import scores, write_sheet

        def show(place: Path) -> None:
            write_sheet(place / "sheet.jpg", self.portrait(), self.frames)
            write_sheet(preview, self.portrait(), self.frames)
            self.model.train()

        model = self.model
        parts = (
            (model.decoder, recipe.decoder_rate),
            (model.detail, recipe.detail_rate),
            (self.trained.critic, 0.5 * recipe.decoder_rate),
        )
        groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in parts]
        groups.append({"params": [model.torso.detail], "lr": recipe.detail_rate})
        hooks = Hooks(
            optimizer=torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True),
            validate=lambda: scores(self.portrait(), self.frames),
            preview=show,
            about={"stage": "portrait"},
            progress=_named("portrait", report),
        )
        drawn = folder / "drawn"
        self.before_decoding = lambda: self.draw(drawn, report)
        train(folder, self.trained, self.decoder_step, self._loop(recipe.decoder_steps), hooks)
        # Two thirds of a gigabyte that one more training would draw again.
        self.samplers = ()
        shutil.rmtree(drawn, ignore_errors=True)

    def draw(self, folder: Path | None, report: Report | None = None, most: int = MOST) -> None:
        """Draw the training frames at both grids, for ``decoder_step``."""
        recipe, samplers = self.recipe, []
        self.model.eval()
        for quality, count in (("standard", most), ("draft", max(1, most // 8))):
            chosen = np.unique(np.linspace(0, self.frames.n_train - 1, count).round().astype(np.int64))
            done = _drawing(report) if quality == "standard" else None
            drawn = draw_composites(self.model, chosen, self.look, quality, folder, done)
            samplers.append(PatchSampler(self.frames, drawn, recipe.patch, recipe.patches, recipe.focus))
        self.samplers = tuple(samplers)
        self.model.train()

    def decoder_step(self, index: int, rng: np.random.Generator) -> dict[str, Tensor | float]:
        """All losses of a few decoded patches."""
        recipe, model = self.recipe, self.model
        if not self.samplers:
            # Not before: a finished run that goes on needs no pictures.
            self.before_decoding()
        patch = self.samplers[int(rng.random() < recipe.draft_share)].draw(rng)
        with torch.no_grad():
            codes = self.codes(patch.frames, noise=POSE_NOISE)
        # In single precision: at patch size bfloat16 loses more to conversions than it saves (35, 22 ms).
        detail = model.fine(patch.place, SCALE, self.mix[patch.frames], coarse=patch.draft)
        composite = patch.composite.contiguous(memory_format=torch.channels_last)
        picture, gains = model.decoder(composite, codes, float(patch.draft))
        large, shown = enlarged(picture, detail), shown_detail(gains, detail)
        losses = self.losses.picture(laid_over(large, shown), patch, index, rng)
        if recipe.texture_weight:
            # How much fine structure there is must be settled by the detail alone: the decoder would make it
            # up as combs of two pixels.
            sharpened = laid_over(large.detach(), shown)
            losses["texture"] = recipe.texture_weight * self.losses.texture(sharpened, patch)
        total = sum(losses.values(), torch.zeros(()))
        return {"loss": total, **losses}

    # Shared parts

    def codes(self, frames: Tensor, *, noise: float = 0.0) -> Tensor:
        """Codes [B, 32] of frames; noise: deviation of what is added to their pose features."""
        turns = self.turns[frames]
        if noise:
            turns = turns + noise * torch.randn_like(turns)
        codes: Tensor = self.model.code(self.offsets[frames], self.eyes[frames], turns)
        return codes

    def _rays(self, frames: Tensor, pixels: FloatArray) -> tuple[Tensor, Tensor]:
        """Origins and directions [B P, 3] through pixels [B, P, 2] of frames."""
        origins, directions = [], []
        for frame, pixel in zip(frames.tolist(), pixels, strict=True):
            pose = self.frames.pose[frame]
            directions.append(pixel_directions(self.frames.camera, pose, pixel))
            origins.append(camera_origin(pose, self.model.config.box).expand(len(pixel), 3))
        return torch.cat(origins), torch.cat(directions)

    def seconds_per_step(self) -> tuple[float, float]:
        """Time of a step of the field and of the decoder on this machine, without changing the model."""
        self.draw(None, most=8)
        state = torch.get_rng_state()
        cells = {k: v.clone() for k, v in self.model.head.occupancy.state_dict().items()}
        took = []
        for step, first in ((self.warm_step, 1), (self.decoder_step, 1)):
            times = []
            # The first call compiles and fetches; a busy moment of the machine must not decide either.
            for trial in range(7):
                start = time.perf_counter()
                loss = step(first + trial, np.random.default_rng(trial))["loss"]
                assert isinstance(loss, Tensor)
                loss.backward()  # type: ignore[no-untyped-call]
                times.append(time.perf_counter() - start)
            took.append(SETTLED * min(times))
        self.samplers = ()
        self.trained.zero_grad(set_to_none=True)
        self.model.head.occupancy.load_state_dict(cells)
        torch.set_rng_state(state)
        return took[0], took[1]

    def _loop(self, steps: int, *, warmup: int = 50, final_rate: float = 0.03) -> LoopConfig:
        recipe = self.recipe
        return LoopConfig(
            steps=steps,
            warmup=min(warmup, max(1, steps // 4)),
            final_rate=final_rate,
            clip_norm=0.0,
            seed=recipe.seed,
            checkpoint_every=recipe.checkpoint_every,
            validate_every=recipe.preview_every,
        )


def _drawing(report: Report | None) -> Callable[[int, int], None] | None:
    return None if report is None else lambda done, total: report("drawing", done, total, 0.0)


def _named(stage: str, report: Report | None) -> Callable[[int, int, float], None] | None:
    if report is None:
        return None
    return lambda done, total, left: report(stage, done, total, left)
