"""A person's clip -> what the avatar must know of them, and the whole way from a video to an avatar."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emogene.capture.create import create_clip
from emogene.capture.smoothing import shots, smooth
from emogene.capture.steps import Progress, Steps, no_progress
from emogene.capture.tracks import neutral_of
from emogene.errors import UserError
from emogene.io.clip import Clip
from emogene.pose.bank import PoseBank
from emogene.types import FloatArray, Identity

logger = logging.getLogger(__name__)

Quality = Literal["draft", "standard", "high"]
MINUTES: dict[str, float] = {"draft": 3.0, "standard": 12.0, "high": 105.0}
"""Training time of the portrait per quality, on this machine."""
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
        if self.minutes < 0:
            raise UserError(f"--minutes {self.minutes:g} must not be negative; 0 takes the quality's own")


def create_avatar(order: Order, progress: Progress = no_progress) -> dict[str, Any]:
    """Go from a video to an avatar bundle in ``order.folder``; return what it took.

    Everything is resumed from ``order.work`` if it was begun there.

    Raises:
        UserError: the footage is not usable (see `capture.preflight`).
    """
    from emogene.avatar import Avatar, AvatarCard
    from emogene.training.render import RECIPES, train_portrait

    started = time.monotonic()
    clip = create_clip(order.video, order.work / "clip", progress, speaker=order.name)
    identity = identity_of(clip)
    captured = time.monotonic()
    recipe = RECIPES["high" if order.quality == "high" else "standard"]()
    portrait = train_portrait(
        clip,
        order.work / "portrait",
        recipe,
        neutral_cano=identity.neutral_cano,
        minutes=order.minutes or MINUTES[order.quality],
        report=_reporting(progress),
    )
    trained = time.monotonic()
    report = {
        "capture_s": round(captured - started, 1),
        "portrait_s": round(trained - captured, 1),
        "steps_s": Steps(clip.folder).seconds(),
        "video_s": round(clip.n_frames / 25, 2),
        "pose_rms_px": clip.about.get("pose_rms_px"),
        "audio_offset_frames": clip.about.get("audio_offset_frames"),
        "quality": order.quality,
    }
    made_by = {"command": "emogene create", "source_sha256": clip.about.get("source_sha256"), **report}
    card = AvatarCard(name=order.name, consent=order.consent.strip(), made_by=made_by)
    Avatar(card, identity, pose_bank_of(clip), portrait).save(order.folder)
    _write_preview(order, portrait, identity, clip)
    return report


def identity_of(clip: Clip) -> Identity:
    """Neutral face, motion statistics and bank of the person of a clip."""
    neutral = neutral_of(clip)
    offsets = smooth(clip.arrays["landmarks_cano"] - neutral, cuts_of(clip), OFFSET_SIGMA_FRAMES)[clip.valid]
    low, high = np.quantile(offsets, (LOW_QUANTILE, HIGH_QUANTILE), axis=0)
    return Identity(neutral, offsets.std(0), low, high, spread_bank(offsets, BANK_SIZE))


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
    longest = max(shots(clip.n_frames, cuts_of(clip)), key=lambda shot: shot.stop - shot.start)
    return replace(bank, track=poses[longest])


def cuts_of(clip: Clip) -> list[int]:
    """First frame of every later shot."""
    return [int(cut) for cut in clip.about.get("cuts", [])]


def _reporting(progress: Progress) -> Callable[[str, int, int, float], None]:
    def report(stage: str, done: int, total: int, seconds_left: float) -> None:
        progress(f"portrait {stage}", done, total)

    return report


def _write_preview(order: Order, portrait: Any, identity: Identity, clip: Clip) -> None:
    """A picture of the finished avatar at rest, for the list and the card."""
    from emogene.io.images import write_rgb
    from emogene.types import HeadPose, Motion

    eyes = np.array([[1.0, 1.0, 0.0, 0.0]], np.float32)
    rest = pose_bank_of(clip).rest[None]
    pictures = portrait.render(
        Motion(identity.neutral_cano[None], eyes), HeadPose(rest), background=portrait.background
    )
    write_rgb(order.folder / "preview.png", next(iter(pictures)))
