"""Does the mouth fit the sound: our landmark sync expert, and SyncNet's LSE where its weights are configured.

Sound and track go in pieces of 30 s, so that an hour takes no more memory than half a minute; curves over
shifts are averaged over the pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emogene.capture.tracker import crop_square
from emogene.errors import UserError
from emogene.evaluate.face import FaceTrack, SteadyFace
from emogene.evaluate.nets.syncnet import (
    CROP_PX,
    WINDOW,
    SyncNet,
    lse_of,
    mfcc,
    shift_distances,
    sound_windows,
)
from emogene.io.audio import stream_audio
from emogene.io.video import read_video
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, ByteArray, FloatArray

PIECE_FRAMES = 30 * FPS
SILENCE_RMS = 1e-3
SYNCNET_CROP = 1.8
"""Side of SyncNet's crop in face boxes (run_pipeline.py: crop_scale 0.4 on both sides)."""
SYNCNET_BATCH = 8


def sound_pieces(path: Path) -> Iterator[Audio]:
    """The sound at 16 kHz in pieces of 30 s, the last one shorter."""
    waiting = np.zeros(0, np.float32)
    size = PIECE_FRAMES * SAMPLES_PER_FRAME
    for part in stream_audio(path):
        waiting = np.concatenate([waiting, part])
        while len(waiting) >= size:
            yield Audio(waiting[:size])
            waiting = waiting[size:]
    if len(waiting):
        yield Audio(waiting)


def length_difference(sound: Path, n_frames: int) -> dict[str, float]:
    """By how many seconds ``n_frames`` of video outlast the sound."""
    n_samples = sum(len(piece.samples) for piece in sound_pieces(sound))
    return {"av_length_difference_s": (n_frames * SAMPLES_PER_FRAME - n_samples) / SAMPLES_PER_FRAME / FPS}


def sync_metrics(sound: Path, face: SteadyFace) -> dict[str, float]:
    """Length difference in seconds, and our expert's confidence, distance and offset in frames.

    sync_confidence: mean cosine of sound and mouth windows at the best shift minus the median over shifts
    of -15..15 frames. sync_distance: 1 - that cosine. sync_offset_frames: positive where the mouth is late.
    This is built like SyncNet's LSE-C and LSE-D and is NOT them: other net, other units. Silent or short
    sound gives the length difference alone.
    """
    from emogene.features.extractor import load_extractor
    from emogene.motion.sync import MAX_OFFSET, load_sync

    expert = load_sync()
    extractor = load_extractor(expert.config.features)
    total: NDArray[np.float64] = np.zeros(2 * MAX_OFFSET + 1)
    weight, n_samples = 0, 0
    for number, piece in enumerate(sound_pieces(sound)):
        n_samples += len(piece.samples)
        rows = slice(number * PIECE_FRAMES, (number + 1) * PIECE_FRAMES)
        motion = face.landmarks_cano[rows] - face.neutral_cano
        n_windows = min(len(motion), piece.n_frames) - expert.config.window
        # Fewer windows than twice the reach would give a shorter curve.
        if is_silent(piece) or n_windows < 2 * MAX_OFFSET:
            continue
        curve = expert.offset_curve(expert.similarity(extractor(piece), motion))
        total, weight = total + float(n_windows) * curve, weight + n_windows
    metrics = {"av_length_difference_s": len(face.landmarks_cano) / FPS - n_samples / SAMPLES_PER_FRAME / FPS}
    if weight:
        mean = total / weight
        best = int(np.argmax(mean))
        metrics["sync_confidence"] = float(mean[best] - np.median(mean))
        metrics["sync_distance"] = float(1 - mean[best])
        metrics["sync_offset_frames"] = best - MAX_OFFSET
    return metrics


def is_silent(piece: Audio) -> bool:
    """Whether nothing is heard: root mean square below -60 dB of full scale."""
    return float(np.sqrt(np.mean(piece.samples**2))) < SILENCE_RMS


def lse_metrics(video: Path, sound: Path, track: FaceTrack, weights: Path) -> dict[str, float]:
    """SyncNet's LSE-D (lower is better), LSE-C (higher) and offset of a video with its tracked face."""
    net = SyncNet(weights)
    centre, side = _steady_boxes(track)
    windows: deque[ByteArray] = deque(maxlen=WINDOW)
    pieces = sound_pieces(sound)
    total: torch.Tensor | None = None
    count = 0
    lips: list[torch.Tensor] = []
    batch: list[torch.Tensor] = []
    for index, (_, picture) in enumerate(read_video(video, FPS)[1]):
        if index >= len(track):
            break
        corner = centre[index] - side[index] / 2
        windows.append(crop_square(picture, corner, float(side[index]), CROP_PX)[..., ::-1].copy())
        if len(windows) == WINDOW:
            batch.append(torch.from_numpy(np.stack(windows)).permute(3, 0, 1, 2).float())
        if len(batch) == SYNCNET_BATCH:
            lips.append(net.lips(torch.stack(batch)))
            batch = []
        if (index + 1) % PIECE_FRAMES == 0 or index + 1 == len(track):
            lips += [net.lips(torch.stack(batch))] if batch else []
            piece = next(pieces, None)
            if piece is not None and lips and not is_silent(piece):
                distances = _piece_distances(net, torch.cat(lips), piece)
                total = distances.sum(1) if total is None else total + distances.sum(1)
                count += distances.shape[1]
            lips, batch = [], []
            windows.clear()
    if total is None or not count:
        raise UserError("the sound is silent or too short for SyncNet")
    distance, confidence, offset = lse_of(total / count)
    return {"lse_d": distance, "lse_c": confidence, "lse_offset_frames": offset}


def _piece_distances(net: SyncNet, lips: torch.Tensor, piece: Audio) -> torch.Tensor:
    coefficients = mfcc(piece.samples)
    count = min(len(lips), (len(coefficients) - 20) // 4 + 1)
    if count < 1:
        return torch.zeros(31, 0)
    windows = sound_windows(coefficients, count)
    sound = torch.cat([net.sound(windows[start : start + 64]) for start in range(0, count, 64)])
    return shift_distances(lips[:count], sound)


def _steady_boxes(track: FaceTrack) -> tuple[FloatArray, FloatArray]:
    """Centre [T, 2] and side [T] of SyncNet's crop, by a median over 13 frames as published."""
    from scipy.signal import medfilt

    low, high = track.extent_px[:, :2], track.extent_px[:, 2:]
    values = np.column_stack([(low + high) / 2, (high - low).max(1) * SYNCNET_CROP])
    size = min(13, (len(values) - 1) // 2 * 2 + 1)
    steady = np.column_stack([medfilt(column, size) for column in values.T]).astype(np.float32)
    edge = size // 2
    # medfilt takes zeros beyond the ends.
    steady[:edge], steady[len(steady) - edge :] = values[:edge], values[len(values) - edge :]
    return steady[:, :2], steady[:, 2]
