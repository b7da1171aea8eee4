"""Compile the kernels into one shared library; standard library only, so that the package build can run it.

Every instruction set is its own translation unit compiled with its own flags; ``library.cpp`` chooses at run
time. The file name carries a hash of sources and flags, so a stale library is never loaded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SOURCE_DIR = Path(__file__).parent
COMMON_FLAGS = (
    "-O3",
    "-std=c++17",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fvisibility=hidden",
    "-w",
)
AVX512_FLAGS = (
    "-mavx512f",
    "-mavx512bw",
    "-mavx512dq",
    "-mavx512vl",
    "-mavx2",
    "-mfma",
    "-mbmi2",
    "-mprefer-vector-width=512",
)
X86_UNITS: dict[str, tuple[str, ...]] = {
    "isa_avx2.cpp": ("-mavx2", "-mfma", "-mbmi2"),
    "isa_avx512.cpp": AVX512_FLAGS,
    "isa_half.cpp": (*AVX512_FLAGS, "-mavx512fp16", "-mavx512vbmi2"),
    "isa_amx.cpp": (*AVX512_FLAGS, "-mavx512fp16", "-mamx-tile", "-mamx-bf16"),
}
OPTIONAL_UNITS = ("isa_half.cpp", "isa_amx.cpp")
"""Older compilers do not know these instructions: the library is then built without them."""
TIMEOUT_S = 300
STALE_S = 30 * 24 * 3600.0
"""Age at which a library of other sources goes."""
logger = logging.getLogger(__name__)


def units() -> dict[str, tuple[str, ...]]:
    """Source file -> flags for this machine's architecture."""
    flags: dict[str, tuple[str, ...]] = {"library.cpp": (), "isa_portable.cpp": ()}
    if platform.machine().lower() in ("x86_64", "amd64"):
        flags["library.cpp"] = ("-DEG_HAVE_X86",)
        flags.update(X86_UNITS)
    return flags


def library_name(extra_flags: Sequence[str] = ()) -> str:
    """File name of the library that these sources make."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE_DIR.glob("*.cpp")) + sorted(SOURCE_DIR.glob("*.h")):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(repr((COMMON_FLAGS, sorted(units().items()), tuple(extra_flags))).encode())
    return f"kernels-{platform.machine().lower()}-{digest.hexdigest()[:12]}.so"


def find_compiler() -> list[str] | None:
    """Command that compiles C++: $CXX, g++, clang++, c++, or ziglang from PyPI; None when there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and shutil.which(name.split()[0]):
            return name.split()
    probe = [sys.executable, "-m", "ziglang", "version"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "ziglang", "c++"]
    return None


def compile_library(destination: Path | None = None, extra_flags: Sequence[str] = ()) -> Path | None:
    """Compile into ``destination`` (default: beside the sources) unless it is there already.

    Returns the library's path, or None without a working compiler: the package then renders with torch.
    """
    folder = destination or SOURCE_DIR
    target = folder / library_name(extra_flags)
    if target.exists():
        return target
    compiler = find_compiler()
    if compiler is None or sys.platform == "win32":
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        built = _compile(compiler, Path(scratch), extra_flags)
        if built is None:
            return None
        # Other threads and programs may be doing the same.
        handle, partial = tempfile.mkstemp(".tmp", target.stem, folder)
        os.close(handle)
        shutil.copy(built, partial)
        Path(partial).replace(target)
        for old in folder.glob("kernels-*.so"):
            # Another version of the package may be using its own.
            if time.time() - old.stat().st_mtime > STALE_S:
                old.unlink(missing_ok=True)
    return target


def _compile(compiler: list[str], scratch: Path, extra_flags: Sequence[str]) -> Path | None:
    """Compile all units side by side and link them; None (with a log line) when a step fails."""
    running = {
        source: _start(compiler, scratch, source, (*flags, *extra_flags)) for source, flags in units().items()
    }
    broken = {source: errors for source, process in running.items() if (errors := _errors_of(process))}
    for source in [source for source in broken if source in OPTIONAL_UNITS]:
        stub = _start(compiler, scratch, source, ("-DEG_STUB", *extra_flags))
        if not _errors_of(stub):
            logger.info("this compiler cannot make %s; the kernels do without", source)
            del broken[source]
    for source, errors in broken.items():
        logger.warning("could not compile the render kernels (%s): %s", source, errors[:2000])
    if broken:
        return None
    target = scratch / "kernels.so"
    objects = [str(scratch / f"{source}.o") for source in running]
    link = [*compiler, "-shared", *extra_flags, *objects, "-o", str(target), "-pthread"]
    linked = subprocess.run(link, capture_output=True, text=True, check=False)
    if linked.returncode != 0:
        logger.warning("could not link the render kernels: %s", linked.stderr.strip()[:2000])
        return None
    return target


def _start(compiler: list[str], scratch: Path, source: str, flags: Sequence[str]) -> subprocess.Popen[str]:
    """Begin to compile one unit into ``scratch``."""
    item = scratch / f"{source}.o"
    command = [*compiler, *COMMON_FLAGS, *flags, "-c", str(SOURCE_DIR / source), "-o", str(item)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _errors_of(process: subprocess.Popen[str]) -> str:
    """Wait for a compiler; what it complained about when it failed, empty when it did not."""
    _, errors = process.communicate(timeout=TIMEOUT_S)
    return (errors.strip() or f"exit status {process.returncode}") if process.returncode else ""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    result = compile_library()
    logger.info("kernels: %s", result or "no compiler found, nothing built")
