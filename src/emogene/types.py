"""The values that travel through the system, and the spaces and letters they are written in.

Letters: S audio samples, T video frames (25 per second), T50 speech-feature frames (50 per second),
F feature width, L = 68 landmarks, R rays, N samples per ray, H W pixels, B batch, E = 8 emotions.

Spaces:
    canonical head (``_cano``): head pose removed. Right-handed; x to the person's left (image right in
        a frontal view), y up, z out of the face. Origin: midpoint of the two outer eye corners of the
        person's neutral face. Unit: that person's outer-eye distance (about 90 mm), so faces of all
        sizes and cameras of all distances share one scale.
    camera (``_cam``): x right, y down, z forward, same unit; ``camera_from_head`` maps canonical to it.
    pixel (``_px``): x right, y down, (0, 0) is the outer corner of the top left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

FPS = 25
SAMPLE_RATE_HZ = 16_000
FEATURE_HZ = 50
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS
N_LANDMARKS = 68

EMOTIONS = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Label order everywhere (EmoGene's class ids 0..7)."""
N_EMOTIONS = len(EMOTIONS)
NEUTRAL = EMOTIONS.index("neutral")

EYE_CHANNELS = ("open_left", "open_right", "gaze_yaw_rad", "gaze_pitch_rad")
"""Eye stream: openness (0 shut, 1 the person's neutral, above 1 wide); gaze relative to the head."""


def _checked(name: str, array: FloatArray, shape: tuple[int | None, ...]) -> FloatArray:
    """Return ``array`` as contiguous float32 of the given shape (None: any length)."""
    result = np.ascontiguousarray(array, dtype=np.float32)
    if result.ndim != len(shape) or any(
        want is not None and have != want for have, want in zip(result.shape, shape, strict=True)
    ):
        raise ValueError(f"{name} must have shape {shape}, not {np.shape(array)}")
    return result


@dataclass(frozen=True, slots=True)
class Audio:
    """Mono sound.

    samples: [S] float32 in [-1, 1]; rate_hz: samples per second.
    """

    samples: FloatArray
    rate_hz: int = SAMPLE_RATE_HZ

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", _checked("samples", self.samples, (None,)))
        if self.rate_hz <= 0:
            raise ValueError(f"rate_hz must be positive, not {self.rate_hz}")

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz

    @property
    def n_frames(self) -> int:
        """Video frames that cover the sound: the last one may be partly past its end."""
        return int(np.ceil(self.duration_s * FPS - 1e-6))


@dataclass(frozen=True, slots=True)
class Motion:
    """Face motion at 25 fps in canonical head space.

    landmarks_cano: [T, 68, 3]; eyes: [T, 4], columns EYE_CHANNELS. known_cano: [T, 68, 3] the same faces
    without what the person's video never showed: a portrait bends to landmarks_cano, its networks are
    shown known_cano; None: landmarks_cano.
    """

    landmarks_cano: FloatArray
    eyes: FloatArray
    known_cano: FloatArray | None = None

    def __post_init__(self) -> None:
        landmarks = _checked("landmarks_cano", self.landmarks_cano, (None, N_LANDMARKS, 3))
        object.__setattr__(self, "landmarks_cano", landmarks)
        object.__setattr__(self, "eyes", _checked("eyes", self.eyes, (len(landmarks), len(EYE_CHANNELS))))
        if self.known_cano is not None:
            known = _checked("known_cano", self.known_cano, (len(landmarks), N_LANDMARKS, 3))
            object.__setattr__(self, "known_cano", known)

    def __len__(self) -> int:
        return len(self.landmarks_cano)

    def __getitem__(self, frames: slice) -> Motion:
        known = None if self.known_cano is None else self.known_cano[frames]
        return Motion(self.landmarks_cano[frames], self.eyes[frames], known)

    @property
    def known(self) -> FloatArray:
        """[T, 68, 3] what networks are shown."""
        return self.landmarks_cano if self.known_cano is None else self.known_cano

    def then(self, later: Motion) -> Motion:
        """This motion, then another one."""
        exact = self.known_cano is None and later.known_cano is None
        return Motion(
            np.concatenate([self.landmarks_cano, later.landmarks_cano]),
            np.concatenate([self.eyes, later.eyes]),
            None if exact else np.concatenate([self.known, later.known]),
        )


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Rigid head motion at 25 fps: camera_from_head [T, 4, 4], rotation and translation (no scale)."""

    camera_from_head: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "camera_from_head", _checked("camera_from_head", self.camera_from_head, (None, 4, 4))
        )

    def __len__(self) -> int:
        return len(self.camera_from_head)

    def __getitem__(self, frames: slice) -> HeadPose:
        return HeadPose(self.camera_from_head[frames])


@dataclass(frozen=True, slots=True)
class Camera:
    """Pinhole camera: u = focal_px x / z + cx_px, v = focal_px y / z + cy_px in camera space."""

    focal_px: float
    cx_px: float
    cy_px: float
    width_px: int
    height_px: int

    def resized(self, width_px: int, height_px: int) -> Camera:
        """The same view on another pixel grid of the same shape."""
        scale = width_px / self.width_px
        return replace(
            self,
            focal_px=self.focal_px * scale,
            cx_px=self.cx_px * scale,
            cy_px=self.cy_px * scale,
            width_px=width_px,
            height_px=height_px,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """What motion must know of a person.

    neutral_cano: [68, 3] relaxed face, mouth shut, eyes open. offset_std: [68, 3] deviation of the
    person's own motion about neutral. offset_low, offset_high: [68, 3] 3 % and 97 % quantiles, the
    clamp of EmoGene's post-processing. bank: [M, 68, 3] offsets from neutral of frames of the person,
    the manifold for the LLE projection.
    """

    neutral_cano: FloatArray
    offset_std: FloatArray
    offset_low: FloatArray
    offset_high: FloatArray
    bank: FloatArray

    def __post_init__(self) -> None:
        for name in ("neutral_cano", "offset_std", "offset_low", "offset_high"):
            object.__setattr__(self, name, _checked(name, getattr(self, name), (N_LANDMARKS, 3)))
        object.__setattr__(self, "bank", _checked("bank", self.bank, (None, N_LANDMARKS, 3)))


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the result: index and time on the audio's clock, image [H, W, 3 or 4] uint8."""

    index: int
    pts_s: float
    image: ByteArray
    state: str = "speaking"
