"""A person's video -> the clip folder that training needs (and, in `person`, the avatar).

    survey -> crop -> frames, sound -> track -> person -> background -> masks
                                             -> sync (the sound is shifted onto the lips)
                                             -> camera, pose, shape -> landmarks, eyes, neutral face

Every arrow is a step that is done once (see `capture.steps`). No step holds the pictures in memory, only
the mesh at 6 kB per frame.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.capture.background import background_plate
from emogene.capture.canonical import canonical_face, neutral_face
from emogene.capture.crop import SIZE_PX, choose_crop
from emogene.capture.eyes import eye_stream
from emogene.capture.masks import (
    Scene,
    divided,
    evidence,
    label,
    person_probabilities,
    sharpened,
    steady,
)
from emogene.capture.matte import cut_out
from emogene.capture.pose import PoseConfig, fit_pose, mesh_in_head
from emogene.capture.preflight import judge
from emogene.capture.scenes import main_scene, signature
from emogene.capture.smoothing import ChangeMeter, find_cuts, thumbnail
from emogene.capture.steps import Progress, Steps, no_progress
from emogene.capture.survey import LONGEST_S, Survey, survey_video
from emogene.capture.sync import delayed, expert_is_here, measure_offset
from emogene.capture.tracker import Track, track_frames
from emogene.capture.tracks import sound_of
from emogene.errors import MediaError, UserError
from emogene.geometry.landmarks import MESH_FROM_LANDMARK
from emogene.io.audio import read_audio, write_wav
from emogene.io.clip import Clip, open_clip, write_clip
from emogene.io.files import sha256
from emogene.io.images import read_mask, read_rgb, write_mask, write_rgb
from emogene.io.tensors import load_arrays, save_arrays
from emogene.io.video import read_video
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, ByteArray

logger = logging.getLogger(__name__)

CAPTURE_VERSION = 10
"""Raise when a step's result changes, so that old work folders are not reused."""
PLATE_FRAMES = 120
JPEG_QUALITY = 95
ORIGINALS = "frames_as_filmed"
"""Folder of the frames whose moving background was replaced."""


@dataclass(frozen=True)
class CaptureConfig:
    """What a clip shall be like."""

    size_px: int = SIZE_PX
    strict: bool = True
    """Refuse footage with errors (capture.preflight) before spending time on it."""
    pose: PoseConfig = field(default_factory=PoseConfig)


def create_clip(
    video: Path,
    out: Path,
    progress: Progress = no_progress,
    config: CaptureConfig | None = None,
    **about: Any,
) -> Clip:
    """Make a clip folder with pictures, masks, background, camera, pose and landmarks from a video.

    Args:
        video: one person speaking to a still camera.
        out: the clip folder; work that an earlier run finished there is reused.
        progress: called with (step, done, total).
        config: see CaptureConfig.
        about: facts for clip.json (speaker, consent, licence...).

    Raises:
        UserError: the file cannot be read or shows no face.
    """
    config = config or CaptureConfig()
    steps = Steps(out, progress)
    source = sha256(video) if Path(video).is_file() else ""
    survey_key = steps.run("survey", [CAPTURE_VERSION, source], lambda: _survey(steps, video))
    survey = Survey(**steps.facts("survey"))
    audio = _sound(video, survey)
    report = judge(Path(video), survey, audio)
    if config.strict:
        report.raise_errors()
    for finding in report.warnings:
        logger.warning("%s: %s", finding.topic, finding.sentence)
    frames_key = steps.run(
        "frames",
        [survey_key, config.size_px],
        lambda: _frames(steps, video, survey, audio, config.size_px),
        outputs=[out / "frames.wav"],
    )
    facts = steps.facts("frames")
    job = Job(steps, out, facts["n_frames"], facts["cuts"], facts["left_out"], config)
    last = f"{job.n_frames - 1:06d}.png"
    track_key = steps.run("track", [frames_key], job.track, outputs=[out / "track.safetensors"])
    person_key = steps.run("person", [track_key], job.person, outputs=[out / "person" / last])
    plate_key = steps.run("background", [person_key], job.background, outputs=[out / "background.png"])
    masks_key = steps.run("masks", [plate_key], job.masks, outputs=[out / "masks" / last])
    sync_key = steps.run("sync", [track_key, expert_is_here()], job.sync)
    steps.run(
        "pose",
        [track_key, masks_key, sync_key, config.pose, about],
        lambda: job.pose(source_sha256=source, crop=facts["crop"], **steps.facts("sync"), **about),
        outputs=[out / "clip.json", out / "arrays.safetensors"],
    )
    return open_clip(out)


def _survey(steps: Steps, video: Path) -> dict[str, Any]:
    return asdict(survey_video(video, steps.counted))


def _sound(video: Path, survey: Survey) -> Audio | None:
    try:
        return read_audio(video) if survey.has_audio else None
    except MediaError:
        return None


def _frames(steps: Steps, video: Path, survey: Survey, audio: Audio | None, size_px: int) -> dict[str, Any]:
    """Cut the square out of every 25 fps frame; write it, thumbnails and the sound."""
    boxes = survey.face_boxes()
    if not boxes:
        raise UserError(f"{video}: no face was found; film one person facing the camera in good light")
    crop = choose_crop(boxes, survey.width, survey.height)
    if audio is None:
        n_samples = round(survey.seconds(survey.n_frames) * FPS) * SAMPLES_PER_FRAME
        audio = Audio(np.zeros(n_samples, np.float32))
    limit = max(1, round(min(audio.duration_s, LONGEST_S) * FPS))
    change = ChangeMeter()
    signatures = []
    (steps.folder / "frames").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(steps.folder / ORIGINALS, ignore_errors=True)
    _, pictures = read_video(video, float(FPS))
    for index, (_, picture) in enumerate(steps.counted("frames", pictures, limit)):
        if index == limit:
            break
        frame = crop.cut(picture, size_px)
        write_rgb(steps.folder / "frames" / f"{index:06d}.jpg", frame, JPEG_QUALITY)
        change.add(thumbnail(frame))
        signatures.append(signature(frame))
    n_frames = len(change.values)
    write_wav(steps.folder / "frames.wav", sound_of(audio, n_frames))
    cuts = find_cuts(change.values)
    left_out = np.flatnonzero(~main_scene(np.stack(signatures), cuts)).tolist()
    return {"n_frames": n_frames, "cuts": cuts, "left_out": left_out, "crop": asdict(crop)}


@dataclass(frozen=True)
class Job:
    """The steps that work on the written frames."""

    steps: Steps
    out: Path
    n_frames: int
    cuts: list[int]
    left_out: list[int]
    """Frames of another scene."""
    config: CaptureConfig

    def frames(self, name: str) -> Iterator[ByteArray]:
        """All frames, reporting progress under a step's name."""
        for index in self.steps.counted(name, range(self.n_frames), self.n_frames):
            yield self.frame(index)

    def frame(self, index: int) -> ByteArray:
        """A frame as it was filmed."""
        original = self.original_path(index)
        return read_rgb(original if original.exists() else self.frame_path(index))

    def frame_path(self, index: int) -> Path:
        return self.out / "frames" / f"{index:06d}.jpg"

    def original_path(self, index: int) -> Path:
        """Where a frame is kept as it was filmed, once its background is another."""
        return self.out / ORIGINALS / f"{index:06d}.jpg"

    def keep_original(self, index: int) -> None:
        original = self.original_path(index)
        if not original.exists():
            original.parent.mkdir(exist_ok=True)
            self.frame_path(index).replace(original)

    def track(self) -> dict[str, Any]:
        track = track_frames(self.frames("track"))
        track.valid[self.left_out] = False
        if not track.valid.any():
            raise UserError("the face was lost in every frame; film one person facing the camera")
        arrays = {"mesh_px": track.mesh_px, "blendshapes": track.blendshapes}
        save_arrays(self.out / "track.safetensors", arrays | {"valid": track.valid.astype(np.uint8)})
        return {"valid_share": float(track.valid.mean())}

    def load_track(self) -> Track:
        arrays = load_arrays(self.out / "track.safetensors")
        size = (self.config.size_px, self.config.size_px)
        return Track(arrays["mesh_px"], arrays["blendshapes"], arrays["valid"].astype(bool), size)

    def person(self) -> dict[str, Any]:
        (self.out / "person").mkdir(exist_ok=True)
        probabilities = person_probabilities(self.frames("person"))
        for index, probability in enumerate(steady(probabilities, self.cuts)):
            write_mask(self.out / "person" / f"{index:06d}.png", probability)
        return {}

    def probability(self, index: int) -> ByteArray:
        return read_mask(self.out / "person" / f"{index:06d}.png")

    def background(self) -> dict[str, Any]:
        track = self.load_track()
        mesh, usable = track.filled().mesh_px, np.flatnonzero(track.valid)
        chosen = np.unique(usable[np.linspace(0, len(usable) - 1, PLATE_FRAMES).astype(int)])
        frames = ((i, self.frame(i)) for i in self.steps.counted("background", chosen, len(chosen)))
        pairs = ((frame, label(frame, self.probability(i), mesh[i])) for i, frame in frames)
        plate = background_plate(pairs)
        write_rgb(self.out / "background.png", plate.rgb)
        write_mask(self.out / "background_seen.png", plate.seen.astype(np.uint8))
        write_mask(self.out / "background_moves.png", np.asarray(255 * plate.moves + 0.5, np.uint8))
        moves = float(plate.moves.mean())
        if moves > 0:
            logger.warning(
                "background: %.0f %% of it moves and is replaced by its blurred mean; give `emogene speak` a"
                " --background, or film with a still camera before a still wall",
                100 * moves,
            )
        return {"seen_share": round(float(plate.seen.mean()), 4), "moving_share": round(moves, 4)}

    def masks(self) -> dict[str, Any]:
        """Labels of every frame; where the scene moves, a still backdrop behind the person."""
        (self.out / "masks").mkdir(exist_ok=True)
        mesh = self.load_track().filled().mesh_px
        moves = read_mask(self.out / "background_moves.png").astype(np.float32) / 255
        seen = read_mask(self.out / "background_seen.png").astype(bool) & (moves < 0.5)
        scene = Scene(read_rgb(self.out / "background.png"), seen)
        for index, frame in enumerate(self.frames("masks")):
            person = sharpened(self.probability(index), frame)
            found = evidence(frame, person, scene)
            if moves.any():
                cut = cut_out(frame, person)
                found = np.asarray(moves * cut.share + (1 - moves) * found, np.float32)
                self.keep_original(index)
                stilled = moves[..., None] * cut.before(scene.plate) + (1 - moves[..., None]) * frame
                write_rgb(self.frame_path(index), np.asarray(stilled + 0.5, np.uint8), JPEG_QUALITY)
            elif self.original_path(index).exists():
                self.original_path(index).replace(self.frame_path(index))
            write_mask(self.out / "masks" / f"{index:06d}.png", divided(found, mesh[index]))
        return {}

    def sync(self) -> dict[str, Any]:
        """Shift the sound onto the lips where the sync expert is sure that it is off."""
        audio = read_audio(self.out / "frames.wav")
        track = self.load_track()
        offset = measure_offset(audio, canonical_face(track).landmarks_cano, track.valid)
        frames = offset.frames if offset is not None and offset.is_known else 0
        write_wav(self.out / "audio.wav", delayed(audio, frames))
        return {} if offset is None else {"audio_offset_frames": offset.frames, "sync": offset.confidence}

    def pose(self, **about: Any) -> dict[str, Any]:
        track = self.load_track()
        face = canonical_face(track)
        fit = fit_pose(track, face, self.cuts, self.config.pose)
        filled = track.filled()
        mesh = mesh_in_head(track, face, fit)
        landmarks = np.ascontiguousarray(mesh[:, MESH_FROM_LANDMARK])
        neutral = neutral_face(landmarks, track.blendshapes, track.valid)
        arrays: dict[str, NDArray[Any]] = {
            "landmarks_cano": landmarks,
            "eyes": eye_stream(mesh, filled.blendshapes),
            "pose": fit.pose,
            "valid": track.valid.astype(np.uint8),
            "blendshapes": filled.blendshapes,
            "landmarks_px": np.ascontiguousarray(filled.mesh_px[:, MESH_FROM_LANDMARK, :2]),
            "mesh_cano": mesh,
        }
        facts: dict[str, Any] = {
            "pose_rms_px": round(fit.rms_px, 3),
            "focal_px": round(fit.camera.focal_px, 1),
        }
        # What a training kept beside the pictures that lay here before is not of these.
        for kept in ("shoulders", "heads"):
            (self.out / f"{kept}.safetensors").unlink(missing_ok=True)
        write_clip(
            self.out,
            arrays,
            camera=fit.camera,
            neutral_cano=np.round(neutral, 6).tolist(),
            cuts=self.cuts,
            **facts,
            **about,
        )
        return facts
