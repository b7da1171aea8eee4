"""How fast this machine renders and trains: native kernels against the torch twin, interleaved in one run.

Each figure is the median over rounds in which both sides take turns, so that a busy machine slows both
alike; CPU time is given beside wall time for the same reason. Without an avatar a synthetic head field is
measured (a noisy shell that covers a third of the picture, about as many samples per ray as a trained one).
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emogene.render import backend
from emogene.render.field import FieldConfig, HeadField
from emogene.render.fused import FieldTrainer, RayBatch
from emogene.render.portrait import Portrait
from emogene.render.rays import HeadBox, image_rays
from emogene.types import Camera, HeadPose, Motion


@dataclass(frozen=True, slots=True)
class Timing:
    """Median milliseconds of one call: on the clock, and of CPU over all threads."""

    wall_ms: float
    cpu_ms: float


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    kernels = backend.kernels()
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "isa": kernels.isa if kernels else "torch",
        "isa_supported": list(kernels.supported) if kernels else [],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time the calls in turn, ``rounds`` times after one warm-up round each."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for index in range(rounds + 1):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            if index:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Timing(*(1e3 * statistics.median(column) for column in zip(*rows, strict=True)))
        for name, rows in times.items()
    }


def synthetic_field(seed: int = 0) -> HeadField:
    """An untrained field with a head-like shell of density."""
    field = HeadField(FieldConfig(), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    axis = (torch.arange(64) + 0.5) / 64 - 0.5
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    radius = (x * x + y * y + z * z).sqrt()
    field.occupancy.restrict((radius > 0.2) & (radius < 0.3))
    with torch.no_grad():
        field.table.uniform_(-0.3, 0.3, generator=generator)
        field.layer3.bias[0] = 3.2
    return field


def front_view(size: int, box: HeadBox) -> tuple[Tensor, Tensor]:
    """Rays of a camera that looks at the face."""
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = [0.0, box.center[1], 6.0 + box.center[2]]
    return image_rays(Camera(size * 1.8, size / 2, size / 2, size, size), pose, box)


def field_speed(size: int = 128, step: float = 1 / 64, rounds: int = 7, seed: int = 0) -> dict[str, Any]:
    """The head field alone, native against torch, one image per call."""
    field = synthetic_field(seed)
    origin, directions = front_view(size, HeadBox())
    generator = torch.Generator().manual_seed(seed)
    code = 0.3 * torch.randn(field.config.code, generator=generator)
    warp = 0.01 * torch.randn(24, 24, 24, 3, generator=generator)

    def render(name: str) -> Callable[[], object]:
        def call() -> object:
            field.backend = name
            return field.render_image(origin, directions, code, warp, step=step)

        return call

    sides = ("native", "torch") if backend.kernels() else ("torch",)
    return {
        "size_px": size,
        "step": step,
        **_compared(interleaved({name: render(name) for name in sides}, rounds)),
    }


def training_speed(rays: int = 4096, rounds: int = 5, seed: int = 0) -> dict[str, Any]:
    """One optimizer step of the head field on random rays of eight frames, native against torch."""
    origin, directions = front_view(128, HeadBox())
    generator = torch.Generator().manual_seed(seed)
    field = synthetic_field(seed)
    opacity = field.render_image(origin, directions, torch.zeros(field.config.code)).opacity.reshape(-1)
    hit = (opacity > 0.01).nonzero()[:, 0]
    chosen = hit[torch.randint(0, len(hit), (rays,), generator=generator)]
    colours = torch.rand(2, rays, 3, generator=generator)
    batch = RayBatch(
        origin.expand(rays, 3).contiguous(),
        directions.reshape(-1, 3)[chosen],
        torch.arange(rays) * 8 // rays,
        colours[0],
        colours[1],
        jitter=torch.rand(rays, generator=generator),
    )
    codes = 0.3 * torch.randn(8, field.config.code, generator=generator)
    warps = 0.01 * torch.randn(8, 24, 24, 24, 3, generator=generator)

    def trained(name: str) -> Callable[[], object]:
        own = synthetic_field(seed)
        own.backend = name
        trainer = FieldTrainer(own)
        return lambda: trainer.step(batch, codes, warps, rate=1e-3)

    sides = ("native", "torch") if backend.kernels() else ("torch",)
    result = _compared(interleaved({name: trained(name) for name in sides}, rounds))
    for name in sides:
        result[f"{name}_rays_per_s"] = round(1e3 * rays / result[f"{name}_wall_ms"])
    return {"rays": rays, "step": 1 / 96, **result}


def frame_speed(
    portrait: Portrait, size: int = 512, quality: str = "standard", frames: int = 48
) -> dict[str, Any]:
    """Whole frames to uint8 rgb: head, torso, decoder and background; the first batch is warm-up."""
    neutral = portrait.model.neutral.numpy()
    sway = np.sin(np.arange(frames) / 7)[:, None, None].astype(np.float32)
    motion = Motion(
        neutral + 0.01 * sway * np.ones_like(neutral),
        np.tile(np.array([1, 1, 0, 0], np.float32), (frames, 1)),
    )
    pose = HeadPose(np.repeat(portrait.model.rest_pose.numpy()[None], frames, axis=0))
    background = np.full((size, size, 3), 127, np.uint8)
    pictures: Iterator[Any] = portrait.render(motion, pose, size, quality, background=background)
    times = []
    last, cpu = time.perf_counter(), time.process_time()
    for index, _ in enumerate(pictures):
        now = time.perf_counter()
        if index == 8:
            cpu = time.process_time()
        if index > 8:
            times.append(now - last)
        last = now
    mean = sum(times) / len(times)
    return {
        "size_px": size,
        "quality": quality,
        "median_ms": round(1e3 * statistics.median(times), 2),
        "cpu_ms": round(1e3 * (time.process_time() - cpu) / len(times), 2),
        "fps": round(1 / mean, 1),
    }


def _compared(timings: dict[str, Timing]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, timing in timings.items():
        result[f"{name}_wall_ms"] = round(timing.wall_ms, 3)
        result[f"{name}_cpu_ms"] = round(timing.cpu_ms, 3)
    if len(timings) == 2:
        result["wall_ratio"] = round(timings["torch"].wall_ms / timings["native"].wall_ms, 1)
        result["cpu_ratio"] = round(timings["torch"].cpu_ms / timings["native"].cpu_ms, 1)
    return result


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
