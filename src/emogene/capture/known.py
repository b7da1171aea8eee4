"""Which emotions a person's video shows, and how much of each: what the portrait's networks may be told of.

A portrait bends to any landmarks, but its networks answer well only to faces like those they learned from:
a news anchor's smile, which his video never shows, came out as blotchy skin and pressed lips. Told of his
neutral speech and bent by the smile, the same portrait smiles. So frames are searched for each emotion.

offsets of the video [T, 68, 3] -> emotion label -> share known, 0..1
"""

from __future__ import annotations

import numpy as np

from emogene.emotion.apply import EmotionModel
from emogene.render.code import landmark_weights
from emogene.types import EMOTIONS, FloatArray

ALIKE = 0.6
"""Cosine between a frame's expression and an emotion above which the frame shows it."""
ENOUGH = 0.05
"""Share of frames that must show an emotion: fewer teach nothing."""
UNKNOWN, KNOWN = 0.3, 0.7
"""Dose that so many frames reach, up to which an emotion is unknown and from which it is known. A news anchor
reaches 0 in four emotions, .15 in joy and .36-.48 in fear and surprise (he raises his brows); a persona whose
clip acts all of them .5-.8."""


def known_emotions(offsets: FloatArray, emotion: EmotionModel) -> dict[str, float]:
    """Search a person's frames for every emotion.

    Args:
        offsets: [T, 68, 3] of the video's frames from the neutral face.
        emotion: what an emotion does to landmarks.

    Returns:
        Share known of every emotion but neutral.
    """
    felt = [label for label in EMOTIONS if label != "neutral"]
    doses = np.array([shown_dose(offsets, _displacement(emotion, label)) for label in felt])
    shares = np.clip((doses - UNKNOWN) / (KNOWN - UNKNOWN), 0.0, 1.0)
    return {label: round(float(share), 2) for label, share in zip(felt, shares, strict=True)}


def shown_dose(offsets: FloatArray, displacement: FloatArray) -> float:
    """Dose of an emotion that ENOUGH of the frames reach, 0 where fewer resemble it at all.

    Args:
        offsets: [T, 68, 3] of the frames.
        displacement: [68, 3] of the emotion at dose 1.
    """
    weights = landmark_weights()[:, None]
    # From the median frame: the face at rest may itself lie off the neutral one.
    faces = ((offsets - np.median(offsets, 0)) * weights).reshape(len(offsets), -1)
    wanted = (displacement * weights).ravel()
    along = faces @ wanted / max(float(wanted @ wanted), 1e-12)
    cosine = along * np.linalg.norm(wanted) / np.maximum(np.linalg.norm(faces, axis=1), 1e-9)
    return float(np.quantile(np.where(cosine > ALIKE, along, 0.0), 1.0 - ENOUGH))


def _displacement(emotion: EmotionModel, label: str) -> FloatArray:
    """[68, 3] that the emotion adds to a silent face."""
    weights = np.zeros((40, len(EMOTIONS)), np.float32)
    weights[:, EMOTIONS.index(label)] = 1.0
    silent = np.zeros((len(weights), 68, 3), np.float32)
    return np.asarray(emotion.apply(silent, weights, seed=0, variation=0.0).offsets.mean(0), np.float32)
