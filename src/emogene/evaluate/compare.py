"""A video against the real one of the same take: pictures, landmarks, lips, units, identity.

Both are observed already; here they are decoded side by side once more for what needs pairs of pictures.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emogene.errors import UserError
from emogene.evaluate.face import LANDMARKS, FaceTrack, SteadyFace, steady_face
from emogene.evaluate.frechet import frechet_distance
from emogene.evaluate.images import SSIM_WINDOW, Box, cropped, picture_maps, psnr_of, sharpness
from emogene.evaluate.landmarks import landmark_distance, match_curves, unit_error
from emogene.evaluate.nets.weights import MetricWeights
from emogene.evaluate.observe import JUDGE_EVERY, Nets, Observation, aligned_pairs
from emogene.evaluate.perceptual import as_tensor, perceptual_distance
from emogene.evaluate.vmaf import Vmaf
from emogene.geometry.landmarks import EYES, MOUTH, lip_opening, lip_width
from emogene.io.images import resize
from emogene.types import ByteArray, FloatArray

FACE_MARGIN, MOUTH_MARGIN, EYES_MARGIN = 0.05, 0.25, 0.1
PERCEPTUAL_PX = 256
"""Side to which the picture and the face are brought for the perceptual distance."""
DISTANCES = {"fd": "fd_efflite0", "fvd": "fvd_efflite0", "fid": "fid", "i3d": "fvd"}
"""Observed moments -> the metric's name."""

Metrics = dict[str, float]
Item = TypeVar("Item")
Result = TypeVar("Result")


def compare_pictures(
    video: Path,
    reference: Path,
    theirs: Observation,
    count: int,
    nets: Nets,
    missing: dict[str, str],
    *,
    learned: bool = True,
    vmaf: bool = True,
) -> Metrics:
    """Everything that needs pairs of pictures; per frame, then the mean.

    ``learned`` adds perceptual distances, ``vmaf`` VMAF where it is available.
    """
    judges = _perceptual(nets, missing) if learned else {}
    meter = _start_vmaf(missing) if vmaf else None
    values: dict[str, list[float]] = defaultdict(list)

    def pairs() -> Iterator[tuple[int, ByteArray, ByteArray]]:
        nonlocal meter
        for index, (picture, real) in enumerate(aligned_pairs(video, reference, count)):
            if meter is not None:
                meter = _fed(meter, picture, real, missing)
            yield index, picture, real

    def measure(pair: tuple[int, ByteArray, ByteArray]) -> Metrics:
        index, picture, real = pair
        boxes = face_boxes(theirs.track, index)
        found = picture_metrics(picture, real, boxes)
        if index % JUDGE_EVERY == 0:
            for name, judge in judges.items():
                found[name] = judge(picture, real)
            if "face" in boxes and "perceptual_efflite0" in judges:
                parts = (cropped(image, boxes["face"]) for image in (picture, real))
                found["perceptual_efflite0_face"] = judges["perceptual_efflite0"](*parts)
        return found

    for found in in_parallel(measure, pairs()):
        for name, value in found.items():
            values[name].append(value)
    metrics = {name: float(np.mean(numbers)) for name, numbers in values.items()}
    if meter is not None:
        try:
            metrics["vmaf"] = meter.score()
        except UserError as error:
            missing["vmaf"] = str(error)
    return metrics


def picture_metrics(picture: ByteArray, real: ByteArray, boxes: Mapping[str, Box]) -> Metrics:
    """PSNR, SSIM and sharpness of one pair: the whole picture and the boxes of the real face."""
    error, similarity = picture_maps(picture, real)
    row = {"psnr": psnr_of(error)}
    if similarity is not None:
        row["ssim"] = float(similarity.mean())
    for name, box in boxes.items():
        part = cropped(error, box)
        if min(part.shape) < SSIM_WINDOW:
            continue
        row[f"psnr_{name}"] = psnr_of(part)
        row[f"sharpness_{name}"] = sharpness(picture, box) / max(sharpness(real, box), 1e-6)
        if similarity is not None and name == "face":
            # The map begins 5 pixels inside the picture, and a crop's own map 5 inside the crop.
            x0, y0 = max(0, box[0]), max(0, box[1])
            inside = similarity[y0 : y0 + part.shape[0] - 10, x0 : x0 + part.shape[1] - 10]
            row["ssim_face"] = float(inside.mean())
    return row


def compare_faces(ours: Observation, theirs: Observation, count: int, face: SteadyFace) -> Metrics:
    """Landmark, lip, unit and identity metrics over the frames in which both faces were found.

    ``face`` is the steady face of ``ours``.

    Raises:
        UserError: there are fewer than 3 such frames.
    """
    both = np.flatnonzero(ours.track.valid[:count] & theirs.track.valid[:count])
    if len(both) < 3:
        raise UserError("fewer than 3 frames in which both faces were found")
    metrics: Metrics = {}
    metrics["m_lmd"], metrics["f_lmd"] = _landmark_distances(ours.track, theirs.track, both)
    real = steady_face(theirs.track)
    for name, measure in (("opening", lip_opening), ("width", lip_width)):
        match = match_curves(measure(face.landmarks_cano)[both], measure(real.landmarks_cano)[both])
        metrics |= {f"lip_{name}_r": match.r, f"lip_{name}_slope": match.slope}
        metrics[f"lip_{name}_lag_frames"] = match.lag_frames
    error = unit_error(ours.track.blendshapes[both], theirs.track.blendshapes[both])
    metrics |= {"unit_error_lower": error["lower"], "unit_error_upper": error["upper"]}
    if len(ours.identity) and len(theirs.identity):
        metrics["csim"] = same_frames_csim(ours, theirs)
    return metrics


def same_frames_csim(ours: Observation, theirs: Observation) -> float:
    """Mean cosine of the embeddings of frames that were judged in both; nan where there are none."""
    real = dict(zip(theirs.judged, theirs.identity, strict=True))
    found = [
        float(vector @ real[frame])
        for frame, vector in zip(ours.judged, ours.identity, strict=True)
        if frame in real
    ]
    return float(np.mean(found)) if found else float("nan")


def frechet_metrics(ours: Observation, theirs: Observation) -> Metrics:
    """Frechet distances of one video's pictures from another's."""
    return {
        DISTANCES[name]: frechet_distance(moments, theirs.moments[name])
        for name, moments in ours.moments.items()
        if name in theirs.moments
    }


def face_boxes(track: FaceTrack, frame: int) -> dict[str, Box]:
    """Boxes of the face, the mouth and the eyes of a frame; none where no face was found.

    Margins: 5 % of the longer side around the tracked face, 25 % around the lips, 10 % around both eyes.
    """
    if not track.valid[frame]:
        return {}
    landmarks = track.landmarks_px(frame)
    return {
        "face": _box(track.extent_px[frame].reshape(2, 2), FACE_MARGIN),
        "mouth": _box(landmarks[MOUTH], MOUTH_MARGIN),
        "eyes": _box(landmarks[EYES], EYES_MARGIN),
    }


def _landmark_distances(ours: FaceTrack, theirs: FaceTrack, frames: NDArray[np.intp]) -> tuple[float, float]:
    scale = (np.array(theirs.size_px) / np.array(ours.size_px)).astype(np.float32)
    mine, real = (track.points_px[frames[:, None], LANDMARKS, :2] for track in (ours, theirs))
    mine *= scale
    return landmark_distance(mine, real)


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in order, computed on a thread per core, a few items ahead: memory stays flat."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _perceptual(nets: Nets, missing: dict[str, str]) -> dict[str, Callable[[ByteArray, ByteArray], float]]:
    judges: dict[str, Callable[[ByteArray, ByteArray], float]] = {}
    try:
        net = nets.efficientnet
    except UserError as error:
        missing["perceptual_efflite0"] = str(error)
    else:
        judges["perceptual_efflite0"] = partial(_resized_distance, partial(perceptual_distance, net))
    try:
        lpips = nets.lpips
    except UserError as error:
        missing["lpips"] = str(error)
        return judges
    if lpips is None:
        missing["lpips"] = MetricWeights.missing("lpips")
    else:
        judges["lpips"] = partial(_lpips, lpips)
    return judges


def _resized_distance(
    distance: Callable[[ByteArray, ByteArray], float], image: ByteArray, real: ByteArray
) -> float:
    return distance(*(resize(picture, PERCEPTUAL_PX, PERCEPTUAL_PX) for picture in (image, real)))


def _lpips(net: Any, image: ByteArray, real: ByteArray) -> float:
    import torch

    with torch.inference_mode():
        return float(net(as_tensor([image]), as_tensor([real])))


def _start_vmaf(missing: dict[str, str]) -> Vmaf | None:
    try:
        return Vmaf()
    except UserError as error:
        missing["vmaf"] = str(error)
        return None


def _fed(meter: Vmaf, picture: ByteArray, real: ByteArray, missing: dict[str, str]) -> Vmaf | None:
    """The meter after one more pair, None where it gave up."""
    try:
        meter.add(picture, real)
    except UserError as error:
        missing["vmaf"] = str(error)
        return None
    return meter


def _box(points: FloatArray, margin: float) -> Box:
    low, high = points.min(0), points.max(0)
    pad = margin * float((high - low).max())
    return (
        int(np.floor(low[0] - pad)),
        int(np.floor(low[1] - pad)),
        int(np.ceil(high[0] + pad)),
        int(np.ceil(high[1] + pad)),
    )
