"""`emogene doctor`: what this machine has, what is missing, and what follows from it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

Row = tuple[str, str, str]
"""Mark (ok, note or missing), subject, finding."""


def doctor() -> None:
    """Check Python, torch, kernels, media, parts and weights; exit 1 if a vital one is missing."""
    rows: list[Row] = []
    for check in (_machine, _torch, _kernels, _media, _weights, _assets, _extras):
        rows += _guarded(check)
    width = max(len(subject) for _, subject, _ in rows) + 2
    for mark, subject, finding in rows:
        sys.stdout.write(f"{mark:<8} {subject:<{width}}{finding}\n")
    if any(mark == "missing" for mark, _, _ in rows):
        raise SystemExit(1)


def _guarded(check: Callable[[], list[Row]]) -> list[Row]:
    """A check that breaks is a finding, not a traceback."""
    try:
        return check()
    except Exception as error:
        return [("missing", check.__name__.strip("_"), f"{type(error).__name__}: {error}")]


def _machine() -> list[Row]:
    from emogene.evaluate.speed import cpu_name

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = "unknown"
    info = Path("/proc/meminfo")
    if info.exists():
        memory = f"{int(info.read_text().split()[1]) / 2**20:.1f} GB"
    return [
        ("ok", "python", f"{platform.python_version()} on {platform.platform()}"),
        ("ok", "processor", f"{cpu_name()}, {cores} cores, {memory} memory"),
    ]


def _torch() -> list[Row]:
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU, none needed"
    return [("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads, {device}")]


def _kernels() -> list[Row]:
    from emogene.render import backend
    from emogene.render.native import binding, build

    compiler = build.find_compiler()
    rows: list[Row] = [
        (
            "ok" if compiler else "note",
            "compiler",
            " ".join(compiler) if compiler else "none (g++, clang++, ziglang)",
        )
    ]
    kernels = backend.kernels()
    if kernels is None:
        reason = "switched off by EMOGENE_ISA=torch" if os.environ.get("EMOGENE_ISA") == "torch" else "none"
        return [*rows, ("note", "render kernels", f"{reason}: rendering uses torch, about 25 x slower")]
    forced = " (forced by EMOGENE_ISA)" if os.environ.get("EMOGENE_ISA") else ""
    shipped = "shipped" if kernels.path.parent == build.SOURCE_DIR else "compiled here"
    if kernels.path.parent == binding.cache_folder():
        shipped = "compiled here, cached"
    return [
        *rows,
        ("ok", "render kernels", f"{kernels.isa}{forced} of {', '.join(kernels.supported)}; {shipped}"),
    ]


def _media() -> list[Row]:
    from emogene.io.libraries import media_libraries

    media = media_libraries()
    versions = ", ".join(f"{name} {version}" for name, version in list(media.libraries.items())[:4])
    rows: list[Row] = [("ok", "media (PyAV)", f"{media.version}: {versions}")]
    if media.missing:
        lost = ", ".join(media.missing)
        rows.append(("missing", "codecs", f"this PyAV lacks {lost}; pip install --force-reinstall av"))
    if shutil.which("ffmpeg") is None:
        rows.append(("ok", "ffmpeg program", "absent, not needed"))
    return rows


def _weights() -> list[Row]:
    import emogene
    from emogene.avatar import list_avatars

    folder = Path(emogene.__file__).parent / "weights"
    rows: list[Row] = []
    for name in ("motion", "emotion", "features"):
        found = next((folder / name).rglob("*.safetensors"), None) if (folder / name).exists() else None
        rows.append(
            ("ok" if found else "note", f"weights: {name}", str(found or "not shipped in this build"))
        )
    avatars = [path.name for path in list_avatars()]
    rows.append(
        ("ok" if avatars else "note", "avatars", ", ".join(avatars) or "none; make one: emogene create VIDEO")
    )
    return rows


def _assets() -> list[Row]:
    from emogene import assets

    present = [name for name in assets.TABLE if assets.is_present(name)]
    absent = [name for name in assets.TABLE if name not in present]
    rows: list[Row] = [("ok", "cache", str(assets.cache_folder()))]
    rows.append(("ok", "parts here", ", ".join(present) or "none"))
    if absent:
        rows.append(
            ("note", "parts not here", f"{', '.join(absent)}; fetched when needed, see `emogene assets`")
        )
    return rows


def _extras() -> list[Row]:
    wanted = {
        "mediapipe": "emogene create (pip install 'emogene[capture]')",
        "moderngl": "rebuilding the persona",
    }
    return [
        ("ok", f"extra: {name}", "installed")
        if importlib.util.find_spec(name)
        else ("note", f"extra: {name}", f"absent; needed for {use}")
        for name, use in wanted.items()
    ]
