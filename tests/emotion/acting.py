"""A small corpus of aligned takes, acted by the landmark rig: real classes, no sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emogene.io.clip import write_clip
from emogene.persona.animation import FaceStyle, animate_face
from emogene.persona.rig import LandmarkRig
from emogene.types import EMOTIONS, NEUTRAL

SYLLABLES = ("pau", "b", "aa", "t", "iy", "m", "ow", "f", "eh", "s", "uw", "p", "ae", "v", "ih", "pau")


def sentence(seed: int, n_frames: int) -> list[tuple[float, float, str]]:
    """Random phones of 60 to 140 ms that fill the time."""
    rng = np.random.default_rng(seed)
    phones, start = [], 0.0
    while start < n_frames / 25:
        end = start + float(rng.uniform(0.06, 0.14))
        phones.append((start, end, str(rng.choice(SYLLABLES))))
        start = end
    return phones


def write_pairs(root: Path, n_pairs: int, n_frames: int = 60) -> Path:
    """Write pairs of clip folders; the emotions follow each other, dose 1 and .5 in turn."""
    rig = LandmarkRig.load()
    for index in range(n_pairs):
        face, style = rig.sampled_face(index // 2), FaceStyle.sampled(index // 2)
        phones = sentence(index, n_frames)
        energy = np.ones(4 * n_frames, np.float32)
        emotion = [k for k in range(8) if k != NEUTRAL][index % 7]
        for take in ("neutral", "emotional"):
            weights = np.zeros((n_frames, 8), np.float32)
            weights[:, NEUTRAL if take == "neutral" else emotion] = 1.0 if index // 7 % 2 == 0 else 0.5
            acted = animate_face(phones, energy, weights, style, seed=index)
            landmarks = face.landmarks_cano(acted.units)
            arrays = {
                "landmarks_cano": landmarks,
                "eyes": face.eyes(landmarks, acted.gaze_rad),
                "pose": face.camera_from_head(acted.head_euler_rad, acted.head_translation_mm),
                "emotion": weights,
            }
            write_clip(
                root / f"{index:03d}_{take}",
                arrays,
                phones=phones,
                pair=str(index),
                take=take,
                speaker=f"s{index // 2}",
                synthetic=True,
                neutral_cano=face.neutral_cano.tolist(),
                label=EMOTIONS[emotion],
            )
    return root
