"""Measure one video, of any system, alone and against its reference.

Rules, stated because no paper does: both videos are read on a 25 fps clock by time stamps, nearest
picture; the generated picture is resized to the reference's size; the longer one is cut to the shorter;
face boxes come from the reference's tracked mesh, so both are cropped alike. Frames without a face are
left out of face metrics and counted. A metric whose weights are missing is left out and named in
``missing``; the others are still computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emogene.capture.canonical import CanonicalFace, canonical_face
from emogene.capture.eyes import eye_stream
from emogene.capture.tracker import FaceTracker, Track
from emogene.errors import UserError
from emogene.evaluate.expression import ExpressionJudge
from emogene.evaluate.identity import FaceIdentity
from emogene.evaluate.images import Box, psnr, sharpness, ssim
from emogene.evaluate.landmarks import (
    blinks,
    landmark_distance,
    lip_leak,
    match_lips,
    pose_smoothness,
    unit_error,
)
from emogene.geometry.landmarks import MESH_FROM_LANDMARK, MOUTH
from emogene.io.audio import read_audio
from emogene.io.images import resize
from emogene.io.video import probe_video, read_video
from emogene.types import EMOTIONS, FPS, ByteArray, FloatArray

EXPRESSION_EVERY = 5
"""Expression and identity are judged on every 5th frame, as EAT's evaluation does."""
FACE_MARGIN, MOUTH_MARGIN = 0.05, 0.25


@dataclass
class VideoReport:
    """What was measured: metrics by name, how the inputs were aligned, and what could not be computed."""

    metrics: dict[str, float] = field(default_factory=dict)
    aligned: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON values; infinite and undefined numbers become None or the word inf."""
        content = asdict(self)
        content["metrics"] = {
            name: (None if math.isnan(value) else "inf" if math.isinf(value) else round(value, 5))
            for name, value in self.metrics.items()
        }
        return content


def evaluate_video(
    video: Path,
    *,
    reference: Path | None = None,
    audio: Path | None = None,
    emotion: str | None = None,
) -> VideoReport:
    """Measure ``video``; see the metrics' own docstrings for definitions.

    Args:
        video: the generated video.
        reference: the real video it should equal (same take, same pose).
        audio: the driving sound; None takes the video's own.
        emotion: the label it should show.

    Raises:
        UserError: the video cannot be read or holds no face.
    """
    report = VideoReport()
    with FaceTracker() as tracker:
        track = _tracked(tracker, video)
        reference_track = None if reference is None else _tracked(tracker, reference)
    report.aligned["frames"] = len(track)
    report.aligned["frames_without_face"] = int((~track.valid).sum())
    if not track.valid.any():
        raise UserError(f"{video}: no face was found in any frame; is it a video of a talking portrait?")
    face = canonical_face(track)
    _alone(report, video, track, face)
    _expression(report, video, track, emotion)
    if reference is not None and reference_track is not None:
        _against(report, video, track, face, reference, reference_track)
    _sound(report, video, audio or video, face)
    return report


def _tracked(tracker: FaceTracker, path: Path) -> Track:
    return tracker.follow(picture for _, picture in read_video(path, FPS)[1])


def _alone(report: VideoReport, video: Path, track: Track, face: CanonicalFace) -> None:
    eyes = eye_stream(face.mesh_cano, track.filled().blendshapes)
    blinking = blinks(eyes[:, :2].mean(1))
    report.metrics["blinks_per_minute"] = blinking["per_minute"]
    report.metrics["blink_duration_s"] = blinking["duration_s"]
    report.metrics["lip_leak"] = lip_leak(face.landmarks_cano)
    report.metrics |= pose_smoothness(_pose(face))
    info = probe_video(video)
    report.aligned["size_px"], report.aligned["fps"] = (info.width, info.height), info.fps


def _pose(face: CanonicalFace) -> FloatArray:
    """[T, 4, 4] head pose under weak perspective: translation in outer-eye distances, depth from size."""
    pose = np.tile(np.eye(4, dtype=np.float32), (len(face.rotation), 1, 1))
    pose[:, :3, :3] = face.rotation
    unit = float(np.median(face.scale_px))
    pose[:, :2, 3] = face.origin_px[:, :2] / unit
    pose[:, 2, 3] = unit / face.scale_px
    return pose


def _against(
    report: VideoReport,
    video: Path,
    track: Track,
    face: CanonicalFace,
    reference: Path,
    reference_track: Track,
) -> None:
    """Everything that needs the real video of the same take."""
    count = min(len(track), len(reference_track))
    both = np.flatnonzero(track.valid[:count] & reference_track.valid[:count])
    report.aligned |= {"reference_frames": len(reference_track), "compared_frames": count}
    report.aligned["compared_faces"] = len(both)
    _pictures(report, video, reference, reference_track, count)
    if len(both) < 3:
        report.missing["landmarks"] = "fewer than 3 frames in which both faces were found"
        return
    scale = np.array(reference_track.size_px) / np.array(track.size_px)
    ours = track.mesh_px[both][:, MESH_FROM_LANDMARK, :2] * scale.astype(np.float32)
    theirs = reference_track.mesh_px[both][:, MESH_FROM_LANDMARK, :2]
    report.metrics["m_lmd"], report.metrics["f_lmd"] = landmark_distance(ours, theirs)
    real = canonical_face(reference_track).landmarks_cano[both]
    for name, match in match_lips(face.landmarks_cano[both], real).items():
        report.metrics[f"lip_{name}_r"], report.metrics[f"lip_{name}_slope"] = match.r, match.slope
        report.metrics[f"lip_{name}_lag_frames"] = match.lag_frames
    error = unit_error(track.blendshapes[both], reference_track.blendshapes[both])
    report.metrics["unit_error_lower"], report.metrics["unit_error_upper"] = error["lower"], error["upper"]

    def csim() -> None:
        identity = FaceIdentity()
        similar = []
        for index, (picture, real_picture) in enumerate(_pairs(video, reference, count)):
            if index % EXPRESSION_EVERY == 0 and track.valid[index] and reference_track.valid[index]:
                mesh = track.mesh_px[index].copy()
                mesh[:, :2] *= scale
                first = identity.embed(picture, mesh)
                similar.append(
                    identity.similarity(first, identity.embed(real_picture, reference_track.mesh_px[index]))
                )
        report.metrics["csim"] = float(np.mean(similar)) if similar else math.nan

    _attempt(report, "csim", csim)


def _pictures(report: VideoReport, video: Path, reference: Path, reference_track: Track, count: int) -> None:
    """PSNR, SSIM and sharpness of the whole picture, the face and the mouth."""
    rows: list[dict[str, float]] = []
    for index, (picture, real) in enumerate(_pairs(video, reference, count)):
        row = {"psnr": psnr(picture, real)}
        if index % EXPRESSION_EVERY == 0:
            row["ssim"] = ssim(picture, real)
        if reference_track.valid[index]:
            mesh = reference_track.mesh_px[index]
            face, mouth = face_box(mesh), mouth_box(mesh)
            row |= {"psnr_face": psnr(picture, real, face), "psnr_mouth": psnr(picture, real, mouth)}
            row["sharpness_face"] = sharpness(picture, face) / max(sharpness(real, face), 1e-6)
            row["sharpness_mouth"] = sharpness(picture, mouth) / max(sharpness(real, mouth), 1e-6)
            if index % EXPRESSION_EVERY == 0:
                row["ssim_face"] = ssim(picture, real, face)
        rows.append(row)
    for name in ("psnr", "ssim", "psnr_face", "ssim_face", "psnr_mouth", "sharpness_face", "sharpness_mouth"):
        values = [row[name] for row in rows if name in row]
        report.metrics[name] = float(np.mean(values)) if values else math.nan


def _expression(report: VideoReport, video: Path, track: Track, emotion: str | None) -> None:
    def judge(net: bool) -> None:
        expression = ExpressionJudge(net=net)
        scores = [
            expression.score(picture, track.mesh_px[index], track.blendshapes[index])
            for index, (_, picture) in enumerate(read_video(video, FPS)[1])
            if index % EXPRESSION_EVERY == 0 and index < len(track) and track.valid[index]
        ]
        if not scores:
            return
        mean = np.mean(scores, axis=0)
        for label, value in zip(EMOTIONS, mean, strict=True):
            report.metrics[f"expression_{label}"] = float(value)
        if emotion is not None:
            report.metrics["emotion_score"] = float(mean[EMOTIONS.index(emotion)])
            hits = [EMOTIONS[int(score.argmax())] == emotion for score in scores]
            report.metrics["emotion_accuracy"] = float(np.mean(hits))
            report.metrics["emotion_chance"] = 1.0 / len(EMOTIONS)

    try:
        judge(net=True)
    except UserError as error:
        report.missing["expression net"] = f"{error}; judged by blendshape rules alone"
        judge(net=False)


def _sound(report: VideoReport, video: Path, sound: Path, face: CanonicalFace) -> None:
    def sync() -> None:
        from emogene.features.extractor import load_extractor
        from emogene.motion.sync import load_sync

        audio = read_audio(sound)
        report.metrics["av_length_difference_s"] = len(face.mesh_cano) / FPS - audio.duration_s
        if float(np.sqrt(np.mean(audio.samples**2))) < 1e-3:
            report.missing["sync"] = "the sound is silent"
            return
        expert = load_sync()
        features = load_extractor(expert.config.features)(audio)
        offsets = face.landmarks_cano - face.neutral_cano
        confidence, late_frames = expert.score(features, offsets)
        report.metrics["sync_confidence"], report.metrics["sync_offset_frames"] = confidence, late_frames

    _attempt(report, "sync", sync)


def _attempt(report: VideoReport, name: str, compute: Callable[[], None]) -> None:
    """Run one family of metrics; what keeps it from running is reported, not raised."""
    try:
        compute()
    except UserError as error:
        report.missing[name] = str(error)


def _pairs(video: Path, reference: Path, count: int) -> Iterator[tuple[ByteArray, ByteArray]]:
    ours, theirs = read_video(video, FPS)[1], read_video(reference, FPS)[1]
    for index, ((_, picture), (_, real)) in enumerate(zip(ours, theirs, strict=False)):
        if index >= count:
            return
        if picture.shape != real.shape:
            picture = resize(picture, real.shape[1], real.shape[0])
        yield picture, real


def face_box(mesh_px: FloatArray) -> Box:
    """Box of the tracked face with a margin of 5 % of its height on all sides."""
    return _box(mesh_px[:468, :2], FACE_MARGIN)


def mouth_box(mesh_px: FloatArray) -> Box:
    """Box of the lips with a margin of 25 % of their width."""
    return _box(mesh_px[MESH_FROM_LANDMARK[MOUTH], :2], MOUTH_MARGIN)


def _box(points: FloatArray, margin: float) -> Box:
    low, high = points.min(0), points.max(0)
    pad = margin * float((high - low).max())
    return (
        int(np.floor(low[0] - pad)),
        int(np.floor(low[1] - pad)),
        int(np.ceil(high[0] + pad)),
        int(np.ceil(high[1] + pad)),
    )
