"""Audio-to-Motion for everybody else: numpy in, numpy out, any length, any window.

features [T50, F], prosody [T50, 3] at 50 Hz -> offsets [T, 68, 3] from the neutral face at 25 fps, in units
of the outer-eye distance. A window that starts at frame s (a multiple of 4) with ``context_frames`` of past
and ``look_ahead_frames`` of future gives what the whole recording would, because every convolution is
bounded and the noise belongs to absolute latent numbers.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from emogene.geometry.landmarks import MOUTH
from emogene.io.files import atomic_folder, write_json
from emogene.motion.vae import MotionConfig, MotionVae
from emogene.motion.weights import load_weights, make_config, read_config, save_weights
from emogene.types import N_LANDMARKS, FloatArray, Identity

MOTION_FORMAT = 1
SHIPPED = Path(__file__).parents[1] / "weights" / "motion"


class MotionModel:
    """A trained motion network, ready to speak."""

    def __init__(self, network: MotionVae, reference_amplitude: float = 1.0) -> None:
        self.network = network.eval()
        self.config = network.config
        self.reference_amplitude = reference_amplitude
        """Root mean square mouth offset that mouth_amp = 1 stands for, canonical units."""

    @property
    def look_ahead_frames(self) -> int:
        """Future frames an output frame depends on; at most 6 (240 ms) for streaming recipes."""
        return self.network.look_ahead_frames

    @cached_property
    def context_frames(self) -> int:
        """Past frames an output frame depends on."""
        return self.network.context_frames

    def amplitude_of(self, identity: Identity) -> float:
        """The mouth_amp that makes this person speak with their own amplitude, within 0.5..2."""
        return self.amplitude_for(float(np.sqrt((identity.offset_std[MOUTH] ** 2).mean())))

    def amplitude_for(self, own: float) -> float:
        """The same for a root mean square mouth offset; 1 where nothing is known of it (0)."""
        return float(np.clip(own / self.reference_amplitude, 0.5, 2.0)) if own > 0 else 1.0

    def generate(
        self,
        features: FloatArray,
        prosody: FloatArray,
        *,
        seed: int = 0,
        temperature: float = 0.2,
        mouth_amp: float = 1.0,
        start_frame: int = 0,
    ) -> FloatArray:
        """Speak.

        Args:
            features: [T50, F] of the extractor the network was trained on.
            prosody: [T50, 3] pitch, voicing, loudness.
            seed: chooses the performance.
            temperature: spread of the latent noise; 0 is the most likely motion, the paper samples at 0.2.
            mouth_amp: amplitude of the mouth, 1 is average.
            start_frame: number of the first frame in the whole recording, for windows.

        Returns:
            offsets [ceil(T50 / 2), 68, 3] from neutral.
        """
        if features.ndim != 2 or features.shape[1] != self.config.feature_dim:
            raise ValueError(
                f"features must be [T50, {self.config.feature_dim}] ({self.config.features}), "
                f"not {features.shape}"
            )
        if len(prosody) != len(features):
            raise ValueError(f"prosody has {len(prosody)} rows for {len(features)} of features")
        n_frames = -(-len(features) // 2)
        if n_frames == 0:
            return np.zeros((0, N_LANDMARKS, 3), np.float32)
        # Latents sit at absolute multiples of the stride: complete the first and the last one.
        stride = self.config.stride
        lead = start_frame % stride
        tail = -(lead + n_frames) % stride
        n_latents = (lead + n_frames + tail) // stride
        noise = _latent_noise(seed, start_frame // stride, n_latents, self.config.latent)
        rows = np.clip(np.arange(-2 * lead, 2 * (n_frames + tail)), 0, len(features) - 1)
        with torch.inference_mode():
            g = self.network.condition(
                torch.from_numpy(np.ascontiguousarray(features[rows], np.float32))[None],
                torch.from_numpy(np.ascontiguousarray(prosody[rows], np.float32))[None],
                torch.tensor([float(mouth_amp)]),
            )
            z = self.network.prior(temperature * torch.from_numpy(noise)[None], g)
            y = self.network.decode(z, g) * self.network.scale + self.network.mean
        offsets = y[0, lead : lead + n_frames].numpy().reshape(n_frames, N_LANDMARKS, 3)
        return np.ascontiguousarray(offsets, np.float32)

    def save(self, folder: Path, **about: object) -> None:
        """Write config.json and model.safetensors (half precision); ``about`` goes into the config."""
        content = {"type": "motion", "format_version": MOTION_FORMAT, "config": asdict(self.config)}
        with atomic_folder(folder) as temporary:
            write_json(
                temporary / "config.json", content | {"reference_amplitude": self.reference_amplitude} | about
            )
            save_weights(temporary / "model.safetensors", self.network)


def load_motion(path: Path | None = None) -> MotionModel:
    """Open a motion folder (config.json, model.safetensors); None: the weights that ship."""
    folder = SHIPPED if path is None else Path(path)
    content = read_config(folder, "motion", MOTION_FORMAT)
    network = MotionVae(make_config(MotionConfig, content["config"], folder))
    load_weights(folder / "model.safetensors", network)
    return MotionModel(network, float(content["reference_amplitude"]))


def _latent_noise(seed: int, first: int, count: int, width: int) -> FloatArray:
    """[count, width] standard normal numbers; row k belongs to latent ``first + k`` of the recording."""
    rows = [np.random.default_rng((seed, 7, first + k)).standard_normal(width) for k in range(count)]
    return np.asarray(rows, dtype=np.float32)
