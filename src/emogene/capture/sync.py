"""Do picture and sound of a recording agree in time? Measured by the sync expert, corrected on the sound.

Recordings lead or lag by up to 3 frames (some by 7), and motion trained on shifted pairs loses a third of
its correlation with the lips. Fractions of a frame count too: pictures are cut where a frame begins, sound
is not, and a person's way of speaking is learned from 15 s of both.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emogene.errors import UserError
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, FloatArray

logger = logging.getLogger(__name__)

MIN_CONFIDENCE = 0.15
"""Below this the expert does not know (dubbed, turned away). Lips played backwards score 0.10 on 16 s,
frontal people 0.25 to 0.45."""
FAR_FRAMES, FAR_CONFIDENCE = 4, 0.3
"""Recordings are seldom farther off than this: the expert must be surer. It put acted, shouted sentences that
are in sync at 6 frames with a confidence of 0.18."""
MIN_SECONDS = 8.0
"""Of a shorter piece even wrong lips can fit some offset."""


@dataclass(frozen=True)
class Offset:
    """frames: how late the mouth is (negative: early), to a fraction. confidence: of the expert, about 0 to
    1."""

    frames: float
    confidence: float

    @property
    def seconds(self) -> float:
        return self.frames / FPS

    @property
    def is_known(self) -> bool:
        return self.confidence >= (MIN_CONFIDENCE if abs(self.frames) <= FAR_FRAMES else FAR_CONFIDENCE)


def measure_offset(
    audio: Audio, landmarks_cano: FloatArray, valid: NDArray[np.bool_] | None = None
) -> Offset | None:
    """Offset of a mouth [T, 68, 3] against its sound; None without an expert or with too little speech.

    Args:
        audio: the sound.
        landmarks_cano: the mouth.
        valid: [T] frames in which it was seen; None: all.
    """
    if len(landmarks_cano) < MIN_SECONDS * FPS:
        return None
    try:
        from emogene.motion.sync import load_sync

        expert = load_sync()
        features = _features(expert.config.features, audio)
    except UserError as error:
        logger.info("no sync check: %s", error)
        return None
    loud = _loudness(audio, len(landmarks_cano))
    active = (loud > 0.1 * np.quantile(loud, 0.95)).astype(np.float32)
    if valid is not None:
        active = active * valid
        if not active.any():
            return None
    confidence, frames = expert.place(features, landmarks_cano, active)
    logger.info("mouth late by %.2f frames, confidence %.2f", frames, confidence)
    return Offset(round(float(frames), 2), round(float(confidence), 3))


def expert_is_here() -> bool:
    """Whether a sync expert ships with this installation."""
    from emogene.motion.sync import SHIPPED

    return (SHIPPED / "model.safetensors").exists()


def delayed(audio: Audio, frames: float) -> Audio:
    """The sound, as long as before, starting so many frames later (negative: earlier), to the nearest
    sample; silence fills in."""
    shift = round(frames * SAMPLES_PER_FRAME)
    samples = np.zeros_like(audio.samples)
    if shift >= 0:
        samples[shift:] = audio.samples[: max(len(samples) - shift, 0)]
    else:
        samples[:shift] = audio.samples[-shift:]
    return Audio(samples, audio.rate_hz)


def _features(name: str, audio: Audio) -> FloatArray:
    """Features that the expert understands, without fetching anything: the built-in ones stand in for
    Whisper's."""
    from emogene.assets import TABLE, is_present
    from emogene.features.extractor import load_extractor

    try:
        return load_extractor("emogene" if name == "whisper" else name)(audio)
    except UserError:
        if name not in TABLE or not is_present(name):
            raise
        return load_extractor(name)(audio)


def _loudness(audio: Audio, n_frames: int) -> FloatArray:
    """Root mean square per frame [T]."""
    samples = np.resize(np.pad(audio.samples, (0, SAMPLES_PER_FRAME)), n_frames * SAMPLES_PER_FRAME)
    power = np.square(samples.reshape(n_frames, -1)).mean(1)
    return np.asarray(np.sqrt(power + 1e-12), np.float32)
