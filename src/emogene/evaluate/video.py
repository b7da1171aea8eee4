"""Measure one video, of any system, alone and against its reference.

Rules, stated because no paper does: both videos are read on a 25 fps clock by time stamps, nearest
picture; the generated picture is resized to the reference's size; the longer one is cut to the shorter;
face boxes come from the reference's tracked mesh, so both are cropped alike. Frames without a face are
left out of face metrics and counted. A metric that cannot be computed is named under ``missing`` with
the reason; the others are still computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emogene.errors import UserError
from emogene.evaluate.compare import compare_faces, compare_pictures, frechet_metrics, in_parallel
from emogene.evaluate.face import SteadyFace, steady_face
from emogene.evaluate.landmarks import blinks, lip_leak, pose_smoothness
from emogene.evaluate.nets.weights import PUBLISHED, MetricWeights
from emogene.evaluate.observe import Nets, Observation, observe
from emogene.evaluate.sound import length_difference, lse_metrics, sync_metrics
from emogene.io.video import probe_video
from emogene.types import EMOTIONS, FPS, FloatArray

NAMED = {"lpips": "lpips", "fid": "fid", "fvd": "fvd", "lse": "lse_c"}
"""Kind of published weights -> a metric that they give."""


EQUAL_PICTURES = {
    **dict.fromkeys(("psnr", "psnr_face", "psnr_mouth", "psnr_eyes"), math.inf),
    **dict.fromkeys(("ssim", "ssim_face", "sharpness_face", "sharpness_mouth", "sharpness_eyes"), 1.0),
    **dict.fromkeys(("perceptual_efflite0", "perceptual_efflite0_face"), 0.0),
}
"""What a file scores against itself; its pictures are not compared one by one."""


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


@dataclass(frozen=True)
class Seen:
    """A video file and what was observed in it."""

    path: Path
    observation: Observation


def evaluate_video(
    video: Path,
    *,
    reference: Path | None = None,
    audio: Path | None = None,
    emotion: str | None = None,
    weights: MetricWeights | None = None,
) -> VideoReport:
    """Measure ``video``; see the metrics' own docstrings for definitions.

    Args:
        video: the generated video.
        reference: the real video it should equal (same take, same pose).
        audio: the driving sound; None takes the video's own.
        emotion: the label it should show.
        weights: folder of published weights for LPIPS, FID, FVD and LSE.

    Raises:
        UserError: a video cannot be read.
    """
    nets = Nets(weights)
    paths = [video] if reference is None else [video, reference]
    seen, *rest = in_parallel(lambda path: Seen(path, observe(path, nets)), paths)
    real = rest[0] if rest else None
    return measure(seen, real, nets, audio=audio, emotion=emotion)


def measure(
    video: Seen, reference: Seen | None, nets: Nets, *, audio: Path | None = None, emotion: str | None = None
) -> VideoReport:
    """All metrics of a video that is already observed."""
    report = VideoReport(missing=dict(video.observation.missing))
    _describe(report, video, reference)
    report.metrics["flicker"] = video.observation.flicker
    face = steady_face(video.observation.track) if video.observation.track.valid.any() else None
    if face is not None:
        _alone(report, face)
        _expression(report, video.observation, emotion)
    if reference is not None:
        _against(report, video, reference, nets, face)
    _sound(report, video, audio or video.path, face, nets)
    for kind, name in NAMED.items():
        needs_reference = kind != "lse"
        wanted = reference is not None or not needs_reference
        if wanted and name not in report.metrics and kind not in report.missing:
            report.missing[kind] = _why_not(kind, nets)
    return report


def _why_not(kind: str, nets: Nets) -> str:
    if nets.weights.find(kind) is None:
        return MetricWeights.missing(kind)
    return f"there is too little to compute it from (weights: {PUBLISHED[kind][1]})"


def _describe(report: VideoReport, video: Seen, reference: Seen | None) -> None:
    """How both videos were brought together."""
    track, info = video.observation.track, probe_video(video.path)
    report.aligned |= {
        "frames": len(track),
        "frames_without_face": int((~track.valid).sum()),
        "size_px": [info.width, info.height],
        "fps": round(info.fps, 3),
    }
    if reference is None:
        return
    real, real_info = reference.observation.track, probe_video(reference.path)
    count = min(len(track), len(real))
    report.aligned |= {
        "reference_frames": len(real),
        "reference_frames_without_face": int((~real.valid).sum()),
        "reference_size_px": [real_info.width, real_info.height],
        "reference_fps": round(real_info.fps, 3),
        "compared_frames": count,
        "compared_faces": int((track.valid[:count] & real.valid[:count]).sum()),
        "frames_cut_off": abs(len(track) - len(real)),
        "resized": (info.width, info.height) != (real_info.width, real_info.height),
    }


def _alone(report: VideoReport, face: SteadyFace) -> None:
    blinking = blinks(face.openness.mean(1))
    report.metrics["blinks_per_minute"] = blinking["per_minute"]
    report.metrics["blink_duration_s"] = blinking["duration_s"]
    report.metrics["lip_leak"] = lip_leak(face.landmarks_cano)
    report.metrics |= pose_smoothness(_pose(face))


def _pose(face: SteadyFace) -> FloatArray:
    """[T, 4, 4] head pose under weak perspective: translation in outer-eye distances, depth from size."""
    pose = np.tile(np.eye(4, dtype=np.float32), (len(face.rotation), 1, 1))
    pose[:, :3, :3] = face.rotation
    unit = float(np.median(face.scale_px))
    pose[:, :2, 3] = face.origin_px[:, :2] / unit
    pose[:, 2, 3] = unit / face.scale_px
    return pose


def _expression(report: VideoReport, seen: Observation, emotion: str | None) -> None:
    """Mean probability of each label, and how often the meant one is on top (EmoGene Table I, EAT)."""
    if not len(seen.expression):
        return
    mean = seen.expression.mean(0)
    for label, value in zip(EMOTIONS, mean, strict=True):
        report.metrics[f"expression_{label}"] = float(value)
    if emotion is not None:
        index = EMOTIONS.index(emotion)
        report.metrics["emotion_score"] = float(mean[index])
        report.metrics["emotion_accuracy"] = float((seen.expression.argmax(1) == index).mean())
        report.metrics["emotion_chance"] = 1.0 / len(EMOTIONS)


def _against(report: VideoReport, video: Seen, reference: Seen, nets: Nets, face: SteadyFace | None) -> None:
    """Everything that needs the real video of the same take."""
    ours, theirs = video.observation, reference.observation
    count = min(len(ours.track), len(theirs.track))
    if video.path.samefile(reference.path):
        report.metrics |= EQUAL_PICTURES
    else:
        report.metrics |= compare_pictures(video.path, reference.path, theirs, count, nets, report.missing)
    _frechet(report, ours, theirs)
    report.metrics["flicker_excess"] = ours.flicker - theirs.flicker
    for name, reason in theirs.missing.items():
        report.missing.setdefault(name if name != "faces" else "faces of the reference", reason)
    if face is not None:
        _attempt(report, "landmarks", lambda: compare_faces(ours, theirs, count, face))


def _frechet(report: VideoReport, ours: Observation, theirs: Observation) -> None:
    for name, value in frechet_metrics(ours, theirs).items():
        if math.isnan(value):
            report.missing[name] = "fewer than two pictures (or windows) to compare"
        else:
            report.metrics[name] = value


def _sound(report: VideoReport, video: Seen, sound: Path, face: SteadyFace | None, nets: Nets) -> None:
    if face is None:
        _attempt(report, "sound", lambda: length_difference(sound, len(video.observation.track)))
        report.missing["sync"] = "there is no face whose lips could be judged"
        return
    _attempt(report, "sync", lambda: sync_metrics(sound, face))
    if "sync" not in report.missing and "sync_confidence" not in report.metrics:
        report.missing["sync"] = f"the sound is silent or shorter than 40 frames ({40 / FPS:.1f} s)"
    weights = nets.weights.find("lse")
    if weights is not None:
        track = video.observation.track
        _attempt(report, "lse", lambda: lse_metrics(video.path, sound, track, weights))


def _attempt(report: VideoReport, name: str, compute: Callable[[], dict[str, float]]) -> None:
    """Run one family of metrics; what keeps it from running is reported, not raised."""
    try:
        report.metrics |= compute()
    except UserError as error:
        report.missing[name] = str(error)
