"""Lids on the landmarks: the blink step of EmoGene's post-processing, for any openness.

The motion and emotion models leave blinks out; here the lids are brought together in proportion.
"""

from __future__ import annotations

import numpy as np

from emogene.geometry.landmarks import eye_opening
from emogene.types import FloatArray, Identity

UPPER_LIDS = (37, 38, 43, 44)
LOWER_LIDS = (41, 40, 47, 46)
"""Landmarks below the upper ones, same order: the person's right eye, then the left."""
_EYE_OF_PAIR = (1, 1, 0, 0)  # column of the eye stream: 0 left, 1 right
MEETING_HEIGHT = 0.18
"""Where shut lids meet, as a share of the gap above the lower lid: the upper lid does most of the way."""
WIDEST = 1.8
NARROWED = 0.6
"""Share of an emotion's narrowing of the eyes that the lids show. Its landmarks tell of cheeks that push the
lower lid up as well; a portrait lowers the upper lid for it: disgust at full dose left .37 to .45 of the gap,
as a tracker sees it, where the drawn face that taught it leaves .84, sadness .46 of .78."""


def apply_eyes(
    offsets: FloatArray, neutral_cano: FloatArray, eyes: FloatArray, shut_share: float = 0.0
) -> FloatArray:
    """Move the lids so that each gap becomes openness times what it is.

    Args:
        offsets: [T, 68, 3] offsets from neutral, with the emotion's lids where there is one.
        neutral_cano: [68, 3] of the person.
        eyes: [T, 4] eye stream; only the openness columns are used. Give the blink's openness alone: what
            the emotion does to the lids is in ``offsets`` already.
        shut_share: share of the gap that is left at openness 0, see the function of that name.

    Returns:
        [T, 68, 3] offsets with lids.
    """
    points = np.asarray(offsets, np.float32) + neutral_cano
    upper, lower = points[:, UPPER_LIDS], points[:, LOWER_LIDS]
    openness = np.clip(eyes[:, _EYE_OF_PAIR], 0.0, WIDEST)[:, :, None]
    openness = np.where(openness < 1.0, shut_share + (1.0 - shut_share) * openness, openness)
    meeting = lower + MEETING_HEIGHT * (upper - lower)
    points[:, UPPER_LIDS] = meeting + openness * (upper - meeting)
    points[:, LOWER_LIDS] = meeting + openness * (lower - meeting)
    return np.asarray(points - neutral_cano, np.float32)


def shut_share(identity: Identity) -> float:
    """Share of the lid gap that the landmarks of this person's shut eyes still show.

    Exact landmarks shut to 0; a tracker leaves about a quarter of the gap, and a portrait learned from it
    must be driven by what it has seen.
    """
    if len(identity.bank) == 0:
        return 0.0
    gap = eye_opening(identity.neutral_cano + identity.bank).mean(-1)
    neutral = float(eye_opening(identity.neutral_cano).mean())
    return float(np.clip(np.quantile(gap, 0.01) / max(neutral, 1e-6), 0.0, 0.35))


def with_emotion(eyes: FloatArray, eyes_delta: FloatArray, gaze_delta: FloatArray) -> FloatArray:
    """Join blinks and glances [T, 4] with what the emotion does, for the eye stream of a Motion.

    Args:
        eyes: of ``PoseSampler.sample``.
        eyes_delta: [T, 2] change of openness (left, right), a share; of narrowing ``NARROWED`` is taken.
        gaze_delta: [T, 2] turn of the eyes (yaw to the person's left, pitch up) in rad.
    """
    joined = np.array(eyes, np.float32)
    delta = np.asarray(eyes_delta)
    joined[:, :2] = np.clip(joined[:, :2] * (1.0 + np.where(delta < 0, NARROWED * delta, delta)), 0.0, WIDEST)
    joined[:, 2:] += gaze_delta
    return joined
