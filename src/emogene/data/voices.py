"""Mean speech features of many voices: sound without pictures teaches what a voice is, to be ignored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emogene.errors import MediaError, UserError
from emogene.features.extractor import SpeechFeatures
from emogene.io.audio import read_audio
from emogene.types import SAMPLE_RATE_HZ, Audio, FloatArray

log = logging.getLogger(__name__)

SOUND_SUFFIXES = (".flac", ".wav", ".mp3", ".m4a", ".ogg", ".opus")
SECONDS = 6.0


def voice_means(
    folder: Path, extractor: SpeechFeatures, prosody: Callable[[Audio], FloatArray], limit: int = 400
) -> FloatArray:
    """Mean features [V, F] of the loud parts of the first seconds of every recording below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES)[:limit]
    means = []
    for path in paths:
        try:
            samples = read_audio(path).samples
        except MediaError as error:
            log.warning("%s is left out: %s", path, error)
            continue
        sound = Audio(samples[SAMPLE_RATE_HZ : int((1 + SECONDS) * SAMPLE_RATE_HZ)])
        if sound.duration_s < 1:
            continue
        features, loudness = extractor(sound), prosody(sound)[:, 2]
        means.append(features[loudness >= 0.5 * loudness.max()].mean(0))
    if not means:
        raise UserError(f"{folder} holds no sound files of a second or more; give a folder of speech")
    return np.asarray(means, np.float32)
