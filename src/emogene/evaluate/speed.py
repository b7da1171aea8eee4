"""How fast this machine renders and trains: native kernels against the torch twin, interleaved in one run.

Each figure is the median over rounds in which both sides take turns, so that a busy machine slows both
alike; CPU time is given beside wall time for the same reason. Without an avatar a synthetic head field is
measured (a noisy shell that covers a third of the picture, about as many samples per ray as a trained one).
"""

from __future__ import annotations

import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emogene.render import backend
from emogene.render.field import FieldConfig, HeadField
from emogene.render.fused import FieldTrainer, RayBatch
from emogene.render.march import march
from emogene.render.portrait import Portrait
from emogene.render.rays import HeadBox, image_rays
from emogene.render.volume import STOP, ray_weights
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


def field_speed(
    size: int = 128,
    step: float = 1 / 64,
    rounds: int = 7,
    seed: int = 0,
    portrait: Portrait | None = None,
) -> dict[str, Any]:
    """The head field alone, native against torch, one image per call; a portrait's own with its own step."""
    generator = torch.Generator().manual_seed(seed)
    if portrait is None:
        field, (origin, directions) = synthetic_field(seed), front_view(size, HeadBox())
    else:
        config, pose = portrait.model.config, portrait.model.rest_pose.numpy()
        field, step = portrait.model.head, config.step
        origin, directions = image_rays(config.camera.resized(size, size), pose, config.box)
    code = 0.3 * torch.randn(field.config.code, generator=generator)
    warp = 0.01 * torch.randn(24, 24, 24, 3, generator=generator)

    def render(name: str) -> Callable[[], object]:
        def call() -> object:
            field.backend = name
            return field.render_image(origin, directions, code, warp, step=step)

        return call

    sides = ("native", "torch") if backend.kernels() else ("torch",)
    timings = interleaved({name: render(name) for name in sides}, rounds)
    field.backend = "auto"
    return {"size_px": size, "step": step, **_compared(timings)}


def training_speed(
    rays: int = 4096, rounds: int = 5, seed: int = 0, portrait: Portrait | None = None, early: bool = False
) -> dict[str, Any]:
    """One whole optimizer step of the head field on random rays of eight frames, native against torch.

    With a portrait its trained field and occupancy are asked, by rays through pixels of its full picture in
    which there is some head; else the synthetic field. ``early``: the same occupancy, but an untrained field,
    in which no ray ends before it leaves the occupied cells.
    """
    generator = torch.Generator().manual_seed(seed)
    field, origin, directions = _trained_view(portrait, seed)
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
    if early:
        cells = field.occupancy.state_dict()
        field = HeadField(field.config, seed=seed)
        field.occupancy.load_state_dict(cells)

    def trained(name: str) -> Callable[[], object]:
        own = copy.deepcopy(field)
        own.backend, own.native_memory = name, None
        trainer = FieldTrainer(own)
        return lambda: trainer.step(batch, codes, warps, rate=1e-6)

    sides = ("native", "torch") if backend.kernels() else ("torch",)
    result = _compared(interleaved({name: trained(name) for name in sides}, rounds))
    for name in sides:
        result[f"{name}_rays_per_s"] = round(1e3 * rays / result[f"{name}_wall_ms"])
        result[f"{name}_rays_per_cpu_s"] = round(1e3 * rays / result[f"{name}_cpu_ms"])
    return {"rays": rays, "step": 1 / 96, **_samples_per_ray(field, batch, codes, warps), **result}


def _trained_view(portrait: Portrait | None, seed: int) -> tuple[HeadField, Tensor, Tensor]:
    """A field that holds a head, and rays (origin [3], directions [H, W, 3]) of a picture of it."""
    if portrait is None:
        return synthetic_field(seed), *front_view(128, HeadBox())
    config, pose = portrait.model.config, portrait.model.rest_pose.numpy()
    return portrait.model.head, *image_rays(config.camera.resized(256, 256), pose, config.box)


@torch.no_grad()
def _samples_per_ray(field: HeadField, batch: RayBatch, codes: Tensor, warps: Tensor) -> dict[str, float]:
    """Mean samples of a ray: in occupied cells; before the ray ends; heavy enough to be taught."""
    counts = torch.zeros(3)
    for frame, warp in enumerate(warps):
        own = (batch.frames == frame).nonzero()[:, 0]
        assert batch.jitter is not None
        rays = (batch.rays_o[own], batch.rays_d[own], batch.jitter[own])
        samples = march(*rays, 1 / 96, field.occupancy, warp)
        density = field.density(samples.points, codes[frame])
        weights, left = ray_weights(density, samples.ray, len(own), 1 / 96)
        counts += torch.tensor([len(left), int((left > STOP).sum()), int((weights > STOP).sum())])
    names = ("samples_per_ray", "asked_per_ray", "taught_per_ray")
    return {name: round(float(n) / len(batch.rays_o), 1) for name, n in zip(names, counts, strict=True)}


def frame_speed(
    portrait: Portrait, size: int = 512, quality: str = "standard", frames: int = 48, rounds: int = 3
) -> dict[str, Any]:
    """A stream of whole frames to uint8 rgb: head, torso, decoder and background; medians over ``rounds``.

    ``fps`` is by the clock; ``fps_of_idle_cores`` what the CPU time would allow on as many free cores.
    """
    motion, pose = _swaying(portrait, frames)
    background = np.full((size, size, 3), 127, np.uint8)
    rates, cpu_ms = [], []
    for _ in range(rounds):
        with portrait.pictures(size, quality, background=background) as pictures:
            pictures.ask(motion[:8], pose[:8])
            while len(pictures):
                pictures.take()
            wall, cpu = time.perf_counter(), time.process_time()
            pictures.ask(motion, pose)
            while len(pictures):
                pictures.take()
            rates.append(frames / (time.perf_counter() - wall))
            cpu_ms.append(1e3 * (time.process_time() - cpu) / frames)
    cpu = statistics.median(cpu_ms)
    return {
        "size_px": size,
        "quality": quality,
        "fps": round(statistics.median(rates), 1),
        "cpu_ms": round(cpu, 2),
        "fps_of_idle_cores": round(1e3 * torch.get_num_threads() / cpu, 1),
    }


def _swaying(portrait: Portrait, frames: int) -> tuple[Motion, HeadPose]:
    neutral = portrait.model.neutral.numpy()
    sway = np.sin(np.arange(frames) / 7)[:, None, None].astype(np.float32)
    motion = Motion(
        neutral + 0.01 * sway * np.ones_like(neutral),
        np.tile(np.array([1, 1, 0, 0], np.float32), (frames, 1)),
    )
    return motion, HeadPose(np.repeat(portrait.model.rest_pose.numpy()[None], frames, axis=0))


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
