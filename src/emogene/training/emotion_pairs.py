"""Aligned pairs for Motion-to-Emotion: the same sentence without and with emotion, frame by frame.

A pair is two or more clip folders whose clip.json share ``pair``; ``take`` is "neutral" in one and
"emotional" in the others, which hold the doses as the array ``emotion`` [T, 8]. The synthetic corpus writes
them exactly aligned (EmoGene pairs MEAD clips and uses frame 0 of each).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emogene.data.rest import neutral_face
from emogene.emotion.lips import part_lips
from emogene.errors import UserError
from emogene.io.clip import Clip, clip_folders, open_clip
from emogene.pose.euler import angles
from emogene.types import EMOTIONS, NEUTRAL, FloatArray

log = logging.getLogger(__name__)

_HELD_OUT = 8
"""One speaker in this many is held out unless the corpus names its own split."""


@dataclass(frozen=True)
class EmotionPair:
    """One sentence in two takes. Offsets [T, 68, 3] are from the speaker's neutral face [68, 3].

    eyes: openness [T, 2] (left, right). gaze: [T, 2] yaw and pitch in rad, relative to the head.
    euler_rad: [T, 3] head turns relative to the camera's axis. phones: (start_s, end_s, label).
    """

    speaker: str
    split: str
    neutral_cano: FloatArray
    neutral: FloatArray
    emotional: FloatArray
    weights: FloatArray
    eyes_neutral: FloatArray
    eyes_emotional: FloatArray
    gaze_neutral: FloatArray
    gaze_emotional: FloatArray
    euler_neutral: FloatArray
    euler_emotional: FloatArray
    phones: list[tuple[float, float, str]]

    def __len__(self) -> int:
        return len(self.neutral)


def read_pairs(root: Path) -> list[EmotionPair]:
    """Read all pairs below ``root``, in order of their ids."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for folder in clip_folders(root):
        clip = open_clip(folder)
        if "pair" in clip.about and clip.about.get("take") in ("neutral", "emotional"):
            groups[f"{folder.parent}/{clip.about['pair']}"].append(clip)
    pairs: list[EmotionPair] = []
    for _, clips in sorted(groups.items()):
        neutral = [clip for clip in clips if clip.about["take"] == "neutral"]
        emotional = [clip for clip in clips if clip.about["take"] == "emotional"]
        if len(neutral) == 1 and emotional:
            pairs += [_pair(neutral[0], clip) for clip in emotional]
    if not pairs:
        raise UserError(
            f"{root} holds no emotion pairs (clips whose clip.json has pair and take); "
            "build them with: emogene data synthetic"
        )
    log.info("%d pairs of %d speakers", len(pairs), len({pair.speaker for pair in pairs}))
    return pairs


def split_pairs(pairs: list[EmotionPair]) -> tuple[list[EmotionPair], list[EmotionPair]]:
    """Return (training, held out) pairs by the corpus's own split, or by speaker."""
    if any(pair.split for pair in pairs):
        held = [pair for pair in pairs if pair.split in ("test", "val", "validation")]
    else:
        speakers = sorted({pair.speaker for pair in pairs})
        out = set(speakers[::_HELD_OUT]) if len(speakers) > 1 else set()
        held = [pair for pair in pairs if pair.speaker in out]
    held_ids = {id(pair) for pair in held}
    return [pair for pair in pairs if id(pair) not in held_ids], held


def _pair(neutral: Clip, emotional: Clip) -> EmotionPair:
    n_frames = min(neutral.n_frames, emotional.n_frames)
    face = neutral_face([neutral])
    weights = np.array(emotional.arrays["emotion"][:n_frames], np.float32)
    weights[:, NEUTRAL] = 0.0
    before = neutral.arrays["landmarks_cano"][:n_frames] - face
    return EmotionPair(
        speaker=neutral.speaker,
        split=str(neutral.about.get("split", "")),
        neutral_cano=face,
        neutral=before,
        # A landmark rig has no collisions: a pout may have driven the lower lip through the upper one.
        emotional=part_lips(before, emotional.arrays["landmarks_cano"][:n_frames] - face),
        weights=weights,
        eyes_neutral=neutral.arrays["eyes"][:n_frames, :2],
        eyes_emotional=emotional.arrays["eyes"][:n_frames, :2],
        gaze_neutral=neutral.arrays["eyes"][:n_frames, 2:],
        gaze_emotional=emotional.arrays["eyes"][:n_frames, 2:],
        euler_neutral=_euler(neutral, n_frames),
        euler_emotional=_euler(emotional, n_frames),
        phones=neutral.phones,
    )


def _euler(clip: Clip, n_frames: int) -> FloatArray:
    """Head angles [T, 3] of camera_from_head relative to a frontal head."""
    frontal = np.diag([1.0, -1.0, -1.0])
    return np.asarray(angles(frontal @ clip.arrays["pose"][:n_frames, :3, :3]), np.float32)


def head_style_table(pairs: list[EmotionPair]) -> FloatArray:
    """[8, 4] tilt (pitch, yaw, roll in rad) and change of the movement's size at dose 1, by least squares."""
    doses, tilts, sizes = [], [], []
    for pair in pairs:
        doses.append(pair.weights.mean(0))
        tilts.append((pair.euler_emotional - pair.euler_neutral).mean(0))
        spread = pair.euler_emotional.std(0).mean() / max(float(pair.euler_neutral.std(0).mean()), 1e-4)
        sizes.append(np.clip(spread, 0.3, 3.0) - 1.0)
    x, y = np.array(doses), np.concatenate([np.array(tilts), np.array(sizes)[:, None]], 1)
    # A little ridge: an emotion the corpus lacks keeps a still head.
    table = np.linalg.solve(x.T @ x + 1e-2 * np.eye(8), x.T @ y)
    table[NEUTRAL] = 0.0
    return np.asarray(table, np.float32)


def gaze_table(pairs: list[EmotionPair]) -> FloatArray:
    """[8, 2] turn of the eyes (yaw, pitch in rad) at dose 1, by least squares over frames.

    What the eyes do to hold their target while the emotion turns the head is explained by the head and left
    out: whoever turns the head turns the eyes back (``pose.sampler``).
    """
    every = slice(None, None, 3)
    doses = np.concatenate([pair.weights[every] for pair in pairs])
    heads = np.concatenate([(pair.euler_emotional - pair.euler_neutral)[every] for pair in pairs])
    turned = np.concatenate([(pair.gaze_emotional - pair.gaze_neutral)[every] for pair in pairs])
    x = np.concatenate([doses, heads], 1).astype(np.float64)
    table = np.linalg.solve(x.T @ x + 1e-4 * np.eye(x.shape[1]), x.T @ turned)[: len(EMOTIONS)]
    table[NEUTRAL] = 0.0
    return np.asarray(table, np.float32)
