"""Per-frame code: landmarks, eyes and head pose -> the 32 numbers that condition field and decoder.

Landmark offsets of a window of frames t-2..t are averaged with learned weights and written in the
person's own principal components; coordinates are clamped to the range the video showed, so that an
emotion it never showed bends the warp but cannot push the networks where they were never trained.
Lids are left out: openness and gaze come from the eye stream. The head's pose says how the light falls on a
face that turns in it; free latents per frame, in its place, learned nothing that lasted a second.

offsets [T, 68, 3], eyes [T, 4], pose features [T, 6] -> code [T, 32]
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from emogene.geometry.landmarks import EYES, JAW, MOUTH
from emogene.render.warp import without_lids
from emogene.types import FloatArray

CODE = 32
N_COMPONENTS = 22
N_EYES = 4
N_POSE = 6
WINDOW = 3
"""Frames t-2..t; causal, so that a stream sees the same window as a file."""

SHOWN = (0.01, 0.99)
"""Quantiles of the training frames between which the networks know what to do. Beyond, skin turns blotchy:
eyes opened to 1.5 where the video showed 1.3 were enough."""
EYE_REST = (1.0, 1.0, 0.0, 0.0)
EYE_SCALE = (1.5, 1.5, 2.5, 2.5)
POSE_SCALE = 0.5
"""Of pose features, which have unit size: the components have about half of it."""


def landmark_weights() -> FloatArray:
    """Weight of each landmark in the components, [68]: lips most, lids none."""
    weights = np.ones(68, np.float32)
    weights[JAW] = 0.6
    weights[MOUTH] = 1.6
    weights[EYES] = 0.0
    weights[[36, 39, 42, 45]] = 0.5
    return weights


class FrameCode(nn.Module):
    """The person's landmark components and the ranges of all that is shown to the networks."""

    mean: Tensor
    basis: Tensor
    low: Tensor
    high: Tensor
    eye_low: Tensor
    eye_high: Tensor
    eye_rest: Tensor
    eye_scale: Tensor
    pose_low: Tensor
    pose_high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(204))
        self.register_buffer("basis", torch.zeros(204, N_COMPONENTS))
        self.register_buffer("low", torch.full((N_COMPONENTS,), -3.0))
        self.register_buffer("high", torch.full((N_COMPONENTS,), 3.0))
        self.register_buffer("eye_low", torch.tensor((0.0, 0.0, -1.0, -1.0)))
        self.register_buffer("eye_high", torch.tensor((2.0, 2.0, 1.0, 1.0)))
        self.register_buffer("eye_rest", torch.tensor(EYE_REST))
        self.register_buffer("eye_scale", torch.tensor(EYE_SCALE))
        self.register_buffer("pose_low", torch.full((N_POSE,), -3.0))
        self.register_buffer("pose_high", torch.full((N_POSE,), 3.0))
        # Logits of frames t-2, t-1, t: the frame itself first, the past as a little smoothing.
        self.window = nn.Parameter(torch.tensor([-2.0, -1.0, 2.0]))

    def fit(self, offsets: FloatArray, eyes: FloatArray, pose: FloatArray) -> None:
        """Find components and the range of all that is shown to the networks.

        Args:
            offsets: [T, 68, 3] of the training frames.
            eyes: [T, 4] of the same.
            pose: [T, 6] pose features of the same.
        """
        weights = np.repeat(landmark_weights(), 3)
        flat = without_lids(torch.from_numpy(np.asarray(offsets, np.float32))).flatten(1).numpy()
        mean = flat.mean(0)
        centred = (flat - mean) * weights
        _, singular, directions = np.linalg.svd(centred, full_matrices=False)
        deviation = singular / np.sqrt(max(len(flat), 1))
        count = min(N_COMPONENTS, len(deviation))
        # Halfway to whitening: small components keep a say, noise is not blown up to size one.
        kept = deviation[:count] > 1e-3 * max(float(deviation[0]), 1e-9)
        scale = kept / np.sqrt(np.maximum(deviation[:count] * deviation[0], 1e-12))
        basis = np.zeros((204, N_COMPONENTS), np.float32)
        basis[:, :count] = directions[:count].T * scale * weights[:, None]
        coordinates = (flat - mean) @ basis
        low, high = np.quantile(coordinates, SHOWN, axis=0)
        found = {"mean": mean, "basis": basis, "low": low, "high": high}
        found["eye_low"], found["eye_high"] = np.quantile(eyes, SHOWN, axis=0)
        found["pose_low"], found["pose_high"] = np.quantile(pose, SHOWN, axis=0)
        for name, value in found.items():
            getattr(self, name).copy_(torch.from_numpy(np.asarray(value, np.float32)))

    def forward(self, offsets: Tensor, eyes: Tensor, pose: Tensor) -> Tensor:
        """Make codes.

        Args:
            offsets: [T, WINDOW, 68, 3] windows t-2..t of landmark offsets from neutral.
            eyes: [T, 4] eye stream at t.
            pose: [T, 6] pose features at t (``torso.pose_features``).

        Returns:
            [T, 32].
        """
        components = self.components(offsets)
        eyes = eyes.clamp(self.eye_low, self.eye_high)
        gaze = ((eyes - self.eye_rest) * self.eye_scale).clamp(-2.0, 2.0)
        turned = POSE_SCALE * pose.clamp(self.pose_low, self.pose_high)
        return torch.cat([components, gaze, turned], 1)

    def components(self, offsets: Tensor) -> Tensor:
        """[T, N_COMPONENTS] of windows of offsets [T, WINDOW, 68, 3], cut to the range of the video."""
        window = torch.softmax(self.window, 0)[:, None, None]
        flat = without_lids((offsets * window).sum(1)).flatten(1)
        return ((flat - self.mean) @ self.basis).clamp(self.low, self.high)


def windows(values: Tensor) -> Tensor:
    """[T, ...] -> [T, WINDOW, ...]: each frame with the ones before it, the first one repeated."""
    frame = torch.arange(len(values))
    index = torch.stack([(frame - back).clamp(min=0) for back in range(WINDOW - 1, -1, -1)], 1)
    return values[index]
