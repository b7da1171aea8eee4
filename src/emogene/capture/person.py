"""A person's clip -> what the avatar must know of them, and the whole way from a video to an avatar."""

from __future__ import annotations

import logging
import math
import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from emogene.capture.create import create_clip
from emogene.capture.places import check_room, check_writable
from emogene.capture.smoothing import shots, smooth
from emogene.capture.steps import Progress, no_progress
from emogene.capture.tracks import neutral_of
from emogene.errors import UserError
from emogene.io.clip import Clip
from emogene.io.files import read_json, sha256, write_json
from emogene.pose.bank import PoseBank
from emogene.types import FPS, FloatArray, HeadPose, Identity, Motion

if TYPE_CHECKING:
    from emogene.render.portrait import Portrait
    from emogene.training.render import RenderRecipe

logger = logging.getLogger(__name__)

Quality = Literal["draft", "standard", "high"]
MINUTES: dict[str, float] = {"draft": 3.0, "standard": 0.0, "high": 0.0}
"""Training time per quality; 0: the recipe's own number of steps, so that the result does not depend on how
busy the machine is."""
BANK_SIZE = 1500
LOW_QUANTILE, HIGH_QUANTILE = 0.03, 0.97
OFFSET_SIGMA_FRAMES = 0.6
"""Smoothing of the person's own motion before statistics are taken: the tracker's noise is not theirs."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to make. minutes: training time, 0 for the quality's own. work: where steps are kept."""

    video: Path
    name: str
    consent: str
    folder: Path
    work: Path
    quality: Quality = "standard"
    minutes: float = 0.0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UserError(
                f"--name {self.name!r} must be letters, digits, dot, dash or underscore, starting with a"
                " letter or digit; choose another name"
            )
        if not self.consent.strip():
            raise UserError(
                "creating an avatar needs the consent of the person shown: give their statement, for example"
                ' --consent "I am the person shown and agree to an avatar of me"'
            )
        if not 0 <= self.minutes < math.inf:
            raise UserError(
                f"--minutes {self.minutes:g} must be a number of minutes; 0 takes the quality's own"
            )


def create_avatar(order: Order, progress: Progress = no_progress) -> dict[str, Any]:
    """Go from a video to an avatar bundle in ``order.folder``; return what it took.

    Everything is resumed from ``order.work`` if it was begun there.

    Raises:
        UserError: the footage is not usable (see `capture.preflight`), or there is no place for the results.
    """
    started = time.monotonic()
    check_writable(order.work, "choose another folder for the intermediate results with --work")
    check_writable(order.folder.parent, "set EMOGENE_AVATARS to a folder for avatars")
    clip = create_clip(order.video, order.work / "clip", progress, speaker=order.name)
    return train_avatar(order, clip, progress, capture_s=round(time.monotonic() - started, 1))


def train_avatar(
    order: Order,
    clip: Clip,
    progress: Progress = no_progress,
    *,
    recipe: RenderRecipe | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Train the portrait of a clip's person and write the bundle.

    Args:
        order: see Order.
        clip: with frames, masks, pose and landmarks.
        progress: called with (step, done, total).
        recipe: of training.render, with its own number of steps; None: the order's quality and minutes.
        facts: more to be told on the avatar's card.
    """
    from emogene.avatar import Avatar, AvatarCard
    from emogene.capture.known import known_emotions
    from emogene.emotion.apply import EmotionModel
    from emogene.training.render import RECIPES, train_portrait

    started = time.monotonic()
    recipe_used = recipe or RECIPES["high" if order.quality == "high" else "standard"]()
    run = _run_folder(order, clip)
    if not (run / "frames").exists():
        check_room(run, min(int(clip.valid.sum()), recipe_used.max_frames))
    identity, poses = identity_of(clip), pose_bank_of(clip)
    portrait = train_portrait(
        clip,
        run,
        recipe_used,
        neutral_cano=identity.neutral_cano,
        minutes=0.0 if recipe else order.minutes or MINUTES[order.quality],
        report=lambda stage, done, total, _: progress(f"portrait {stage}", done, total),
    )
    told = {key: clip.about[key] for key in ("source_sha256", "pose_rms_px", "sync") if key in clip.about}
    report = (
        facts
        | told
        | {
            "quality": order.quality,
            "video_s": round(clip.n_frames / FPS, 2),
            "portrait_s": round(time.monotonic() - started, 1),
        }
    )
    card = AvatarCard(
        name=order.name,
        consent=order.consent.strip(),
        emotions_known=known_emotions(offsets_of(clip, identity.neutral_cano), EmotionModel.load()),
        made_by=report,
    )
    Avatar(card, identity, poses, portrait).save(order.folder)
    _write_preview(order.folder, portrait, identity, poses)
    progress("way of speaking", 0, 1)
    _learn_speaking(clip, order)
    progress("way of speaking", 1, 1)
    return report


def _run_folder(order: Order, clip: Clip) -> Path:
    """Where the portrait is trained; emptied where what lies there was begun from other pictures or for
    another length. Such a run would go on, and the avatar would be of whom was filmed before."""
    folder = order.work / "portrait"
    arrays = sha256(clip.folder / "arrays.safetensors")
    begun = {"arrays": arrays, "quality": order.quality, "minutes": order.minutes}
    marker = folder / "begun.json"
    # A run without the marker was begun by an earlier version, whose portraits had other parts.
    if folder.exists() and not (marker.exists() and read_json(marker) == begun):
        logger.warning("%s was begun otherwise (video, length, version): it starts anew", folder)
        shutil.rmtree(folder)
    write_json(marker, begun)
    return folder


def _learn_speaking(clip: Clip, order: Order) -> None:
    """Give the bundle motion weights of its own, where the footage is long enough to learn from."""
    from emogene.features.extractor import load_extractor
    from emogene.features.prosody import prosody
    from emogene.motion.model import load_motion
    from emogene.training.adapt import SHORTEST_S, adapt_motion

    if clip.n_frames / FPS < SHORTEST_S or not clip.audio_path.exists():
        logger.warning("less than %.0f s of speech: the avatar speaks as everybody does", SHORTEST_S)
        return
    fitted = adapt_motion(order.work / "motion", [clip], load_motion(), load_extractor(), prosody)
    fitted.save(order.folder / "motion", fitted_to=order.name)


def identity_of(clip: Clip) -> Identity:
    """Neutral face, motion statistics and bank of the person of a clip."""
    neutral = neutral_of(clip)
    offsets = offsets_of(clip, neutral)
    low, high = np.quantile(offsets, (LOW_QUANTILE, HIGH_QUANTILE), axis=0)
    return Identity(neutral, offsets.std(0), low, high, spread_bank(offsets, BANK_SIZE))


def offsets_of(clip: Clip, neutral_cano: FloatArray) -> FloatArray:
    """[T, 68, 3] offsets of the frames that show a face, with the tracker's noise smoothed away."""
    offsets = clip.arrays["landmarks_cano"] - neutral_cano
    return smooth(offsets, cuts_of(clip), OFFSET_SIGMA_FRAMES)[clip.valid]


def spread_bank(offsets: FloatArray, size: int) -> FloatArray:
    """At most ``size`` of the offsets [T, 68, 3]: half evenly in time, half the most unusual ones.

    Evenly alone would hold a thousand nearly shut mouths and few wide ones.
    """
    if len(offsets) <= size:
        return offsets
    even = np.linspace(0, len(offsets) - 1, size // 2).astype(int)
    distance = np.linalg.norm((offsets - offsets.mean(0)).reshape(len(offsets), -1), axis=1)
    distance[even] = -1
    unusual = np.argsort(-distance, kind="stable")[: size - len(np.unique(even))]
    return np.ascontiguousarray(offsets[np.sort(np.append(np.unique(even), unusual))])


def pose_bank_of(clip: Clip) -> PoseBank:
    """Rest pose and deviations over the whole clip; the recorded take is the longest shot."""
    poses = clip.pose.camera_from_head
    bank = PoseBank.from_track(poses, clip.valid)
    longest = max(shots(clip.n_frames, cuts_of(clip)), key=lambda shot: int(clip.valid[shot].sum()))
    return replace(bank, track=poses[longest])


def cuts_of(clip: Clip) -> list[int]:
    """First frame of every later shot."""
    return [int(cut) for cut in clip.about.get("cuts", [])]


def _write_preview(folder: Path, portrait: Portrait, identity: Identity, poses: PoseBank) -> None:
    """A picture of the finished avatar at rest, for the list and the card."""
    from emogene.io.images import write_rgb

    eyes = np.array([[1.0, 1.0, 0.0, 0.0]], np.float32)
    rest = HeadPose(poses.rest[None])
    motion = Motion(identity.neutral_cano[None], eyes)
    write_rgb(folder / "preview.png", next(portrait.render(motion, rest, background=portrait.background)))
