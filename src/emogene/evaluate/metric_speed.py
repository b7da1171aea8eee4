"""How fast the metrics are on this machine, part by part, and how much memory they took.

Frames per second are given twice: by the clock, and as the CPU time (ours and ffmpeg's) would allow on as
many idle cores. Times are of a second run, with the nets loaded; ``everything`` is what `emogene evaluate
video` does from the start, loading included.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emogene.avatar import BUILT_IN
from emogene.errors import UserError
from emogene.evaluate.compare import compare_faces, compare_pictures, frechet_metrics
from emogene.evaluate.face import steady_face
from emogene.evaluate.landmarks import blinks, lip_leak
from emogene.evaluate.observe import Nets, observe
from emogene.evaluate.sound import sync_metrics
from emogene.evaluate.systems import Order, System, render
from emogene.evaluate.video import evaluate_video
from emogene.evaluate.vmaf import ffmpeg_with_vmaf

SAMPLE = Path(__file__).parents[1] / "weights" / "samples" / "hello.flac"


def sample_pair(folder: Path, size: int, seconds: float) -> tuple[Path, Path]:
    """Two takes of the built-in avatar to measure one against the other: happy, and neutral."""
    system = System(avatar=BUILT_IN, size=size)
    takes = [
        Order(name=label, speech=SAMPLE, seconds=seconds, emotion=f"{label}:1")
        for label in ("happy", "neutral")
    ]
    happy, neutral = (render(system, take, folder) for take in takes)
    return happy, neutral


def metric_speed(video: Path, reference: Path) -> dict[str, Any]:
    """Frames per second of each family of metrics on a pair of videos, in the order of their cost."""
    nets = Nets()
    ours, theirs = observe(video, nets), observe(reference, nets)
    count = min(len(ours.track), len(theirs.track))
    result: dict[str, Any] = {"frames": count, "size_px": list(theirs.track.size_px)}

    def pictures(learned: bool, vmaf: bool) -> Callable[[], object]:
        return lambda: compare_pictures(video, reference, theirs, count, nets, {}, learned=learned, vmaf=vmaf)

    def faces() -> None:
        face = steady_face(ours.track)
        blinks(face.openness.mean(1))
        lip_leak(face.landmarks_cano)
        compare_faces(ours, theirs, count, face)
        frechet_metrics(ours, theirs)

    parts: dict[str, Callable[[], object]] = {"PSNR, SSIM, sharpness": pictures(False, False)}
    try:
        ffmpeg_with_vmaf()
        parts["and VMAF"] = pictures(False, True)
    except UserError as error:
        result["VMAF"] = str(error)
    parts["perceptual distance too"] = pictures(True, False)
    if ours.track.valid.any() and theirs.track.valid.any():
        face = steady_face(ours.track)
        parts |= {"lips, landmarks, blinks": faces, "sync": lambda: sync_metrics(video, face)}
    parts["one video observed"] = lambda: observe(video, nets)
    parts["everything"] = lambda: evaluate_video(video, reference=reference, emotion="happy")
    for name, call in parts.items():
        result[name] = _timed(call, count)
    # Linux counts kilobytes, macOS bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    result["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
    return result


def _timed(call: Callable[[], object], frames: int) -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wall, cpu = time.perf_counter(), _cpu_s()
    call()
    wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
    idle = f"{frames / cpu * cores:.1f} on {cores} idle cores"
    return f"{frames / wall:.1f} frames/s, {idle} ({1e3 * cpu / frames:.1f} ms CPU)"


def _cpu_s() -> float:
    """CPU seconds of this process and of its finished children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
