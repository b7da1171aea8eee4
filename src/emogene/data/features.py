"""Speech features of a clip, computed once and kept in its folder as float16."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emogene.features.extractor import SpeechFeatures
from emogene.io.audio import read_audio
from emogene.io.clip import Clip
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import SAMPLES_PER_FRAME, Audio, FloatArray


def clip_features(
    clip: Clip, extractor: SpeechFeatures, prosody: Callable[[Audio], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Features [2T, F] and prosody [2T, 3] of a clip of T frames."""
    # A student is trained anew now and then; the other extractors never change.
    names = [extractor.name, getattr(extractor, "fingerprint", "")]
    path = clip.folder / f"features_{'_'.join(filter(None, names))}.safetensors"
    if not path.exists():
        n_samples = clip.n_frames * SAMPLES_PER_FRAME
        samples = read_audio(clip.audio_path).samples[:n_samples]
        sound = Audio(np.pad(samples, (0, n_samples - len(samples))))
        features = extractor(sound).astype(np.float16)
        save_arrays(path, {"features": features, "prosody": prosody(sound).astype(np.float16)})
    arrays = load_arrays(path)
    return arrays["features"].astype(np.float32), arrays["prosody"].astype(np.float32)
