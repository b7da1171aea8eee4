"""A speaker's neutral face out of clips of speech: relaxed, mouth shut, eyes open.

Motion is learned as offsets from it, so an error here is a constant error of everything: the frames are
chosen by sound (silent) and by shape (mouth nearly shut), not by averaging speech.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emogene.geometry.landmarks import MOUTH, eye_opening, lip_opening
from emogene.io.audio import read_audio
from emogene.io.clip import Clip
from emogene.types import SAMPLES_PER_FRAME, FloatArray

LEAST_FRAMES = 12
SILENT_DB = -30.0
"""Level below the loud frames at which nobody speaks (GRID: breath and room are at -40)."""


def neutral_face(clips: Sequence[Clip]) -> FloatArray:
    """The speaker's face at rest, [68, 3] in canonical units; synthetic and taught clips know theirs."""
    known = clips[0].about.get("neutral_cano")
    if known is not None and (clips[0].about.get("synthetic") or clips[0].about.get("taught")):
        return np.asarray(known, np.float32)
    landmarks = np.concatenate([clip.arrays["landmarks_cano"] for clip in clips])
    usable = np.concatenate([clip.valid for clip in clips])
    level = np.concatenate([frame_level_db(clip) for clip in clips])
    opening, eyes = lip_opening(landmarks), eye_opening(landmarks).mean(-1)
    low, high = np.quantile(opening[usable], [0.05, 0.95])
    shut = usable & (opening <= low + 0.1 * (high - low)) & (eyes > np.quantile(eyes[usable], 0.3))
    silent = shut & (level < np.quantile(level[usable], 0.95) + SILENT_DB)
    chosen = silent if silent.sum() >= LEAST_FRAMES else shut
    if chosen.sum() < LEAST_FRAMES:
        chosen = usable & (opening <= np.quantile(opening[usable], 0.2))
    return np.asarray(np.median(landmarks[chosen], axis=0), np.float32)


def mouth_amplitude(clips: Sequence[Clip]) -> float:
    """Root mean square deviation of a speaker's mouth points, canonical units."""
    mouths = np.concatenate([clip.arrays["landmarks_cano"][clip.valid, MOUTH] for clip in clips])
    return float(np.sqrt(mouths.var(0).mean()))


def frame_level_db(clip: Clip) -> FloatArray:
    """Loudness of every video frame's sound, [T] decibels of full scale."""
    n_samples = clip.n_frames * SAMPLES_PER_FRAME
    samples = read_audio(clip.audio_path).samples[:n_samples]
    samples = np.pad(samples, (0, n_samples - len(samples)))
    power = (samples.reshape(clip.n_frames, -1) ** 2).mean(1)
    return np.asarray(10 * np.log10(power + 1e-10), np.float32)
