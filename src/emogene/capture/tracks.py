"""A video -> a clip folder of motion and sound alone: what training motion needs of a corpus.

No pictures are kept, no camera is fitted: the pose is that of an assumed camera (weak perspective), good
for the statistics of head motion. `capture.create` makes the full clip of a person.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.capture.canonical import CAMERA_FLIP, CanonicalFace, canonical_face
from emogene.capture.eyes import eye_stream
from emogene.capture.tracker import FaceTracker, Track, resample, track_video
from emogene.errors import UserError
from emogene.geometry.blendshapes import from_mediapipe
from emogene.geometry.landmarks import MESH_FROM_LANDMARK
from emogene.io.clip import Clip, open_clip, write_clip
from emogene.io.files import read_json, write_json
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, Camera, FloatArray

logger = logging.getLogger(__name__)

ASSUMED_FOCAL = 1.2
"""Focal length over the longer picture side of an ordinary camera (about 45 degrees wide)."""
MIN_FACE_PX = 24
"""Outer-eye distance below which lips cannot be read."""


def track_to_clip(
    video: Path,
    out: Path,
    *,
    speaker: str,
    tracker: FaceTracker | None = None,
    sound: Path | None = None,
    **about: Any,
) -> Clip:
    """Track a talking face and write it as a clip folder without pictures.

    Args:
        video: a video file with sound and one face.
        out: the clip folder.
        speaker: who it is; clips of one speaker share a neutral face after `share_neutral`.
        tracker: loaded networks, to use for many videos.
        sound: file with the sound, where it is not in the video.
        about: more facts for clip.json (source, licence, language, words...).

    Raises:
        UserError: the file holds no pictures, no sound, or no face that is large enough.
    """
    from emogene.io.audio import read_audio, write_wav

    audio = read_audio(sound or video)
    track = fitted(track_video(video, tracker=tracker), audio)
    if not track.valid.any():
        raise UserError(f"{video}: no face was found; leave it out or film one face in good light")
    face = canonical_face(track)
    if np.median(face.scale_px) < MIN_FACE_PX:
        raise UserError(
            f"{video}: the face is too small (outer eye corners {np.median(face.scale_px):.0f} px apart,"
            f" {MIN_FACE_PX} needed); film closer or leave it out"
        )
    camera = assumed_camera(track)
    arrays: dict[str, NDArray[Any]] = {
        "landmarks_cano": face.landmarks_cano,
        "eyes": eye_stream(face.mesh_cano, track.filled().blendshapes),
        "pose": assumed_pose(face, camera),
        "valid": track.valid.astype(np.uint8),
        "blendshapes": from_mediapipe(track.filled().blendshapes),
        "landmarks_px": np.ascontiguousarray(track.filled().mesh_px[:, MESH_FROM_LANDMARK, :2]),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "audio.wav", sound_of(audio, len(track)))
    neutral = np.round(face.neutral_cano, 6).tolist()
    return write_clip(out, arrays, camera=camera, speaker=speaker, neutral_cano=neutral, **about)


def fitted(track: Track, audio: Audio) -> Track:
    """Cut or lengthen a 25 fps track to the sound (a shortfall of up to two frames is held still)."""
    n_frames = max(1, min(round(audio.duration_s * FPS), len(track) + 2))
    return resample(track, np.arange(len(track)) / FPS, n_frames / FPS)


def sound_of(audio: Audio, n_frames: int) -> Audio:
    """The sound of exactly n_frames, silence appended where it is short."""
    samples = audio.samples[: n_frames * SAMPLES_PER_FRAME]
    return Audio(np.pad(samples, (0, n_frames * SAMPLES_PER_FRAME - len(samples))), audio.rate_hz)


def share_neutral(folders: Sequence[Path]) -> None:
    """Give all clips of one speaker the same neutral face: the median over the clips."""
    headers = [read_json(folder / "clip.json") for folder in folders]
    neutral = np.median([header["neutral_cano"] for header in headers], axis=0)
    for folder, header in zip(folders, headers, strict=True):
        write_json(folder / "clip.json", header | {"neutral_cano": np.round(neutral, 6).tolist()})


def neutral_of(clip: Clip) -> FloatArray:
    """The speaker's neutral face [68, 3] as noted in the clip; the clip's median face if it is not."""
    if "neutral_cano" in clip.about:
        return np.asarray(clip.about["neutral_cano"], np.float32)
    return np.asarray(np.median(clip.arrays["landmarks_cano"][clip.valid], axis=0), np.float32)


def assumed_camera(track: Track) -> Camera:
    """An ordinary camera looking at the middle of the picture."""
    width, height = track.size_px
    return Camera(ASSUMED_FOCAL * max(width, height), width / 2, height / 2, width, height)


def assumed_pose(face: CanonicalFace, camera: Camera) -> FloatArray:
    """camera_from_head [T, 4, 4] that puts the head where it is seen, at the depth of its size."""
    depth = camera.focal_px / face.scale_px
    pose = np.tile(np.eye(4, dtype=np.float32), (len(depth), 1, 1))
    pose[:, :3, :3] = CAMERA_FLIP @ face.rotation
    pose[:, 0, 3] = (face.origin_px[:, 0] - camera.cx_px) / camera.focal_px * depth
    pose[:, 1, 3] = (face.origin_px[:, 1] - camera.cy_px) / camera.focal_px * depth
    pose[:, 2, 3] = depth
    return pose


def is_done(folder: Path) -> bool:
    """Whether a clip was already written there."""
    try:
        return open_clip(folder).n_frames > 0
    except UserError:
        return False
