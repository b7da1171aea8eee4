"""VMAF (Netflix), where an ffmpeg program with libvmaf is on this machine.

Aligned pictures go to ffmpeg one above the other through a pipe, so VMAF sees exactly the frames that the
other metrics see; it works in its own process meanwhile. Pictures are brought to 4:2:0 here where OpenCV is
(half the bytes to pipe), else by ffmpeg. Looked for: $EMOGENE_FFMPEG, ``ffmpeg`` on the path, the one inside
``imageio-ffmpeg``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from emogene.errors import AssetError
from emogene.types import FPS, ByteArray

HOW = "VMAF needs an ffmpeg with libvmaf: pip install imageio-ffmpeg, or set EMOGENE_FFMPEG to one"


@cache
def ffmpeg_with_vmaf() -> str:
    """The program; AssetError with what to do where there is none."""
    for program in _candidates():
        try:
            done = subprocess.run(
                [program, "-hide_banner", "-filters"], capture_output=True, text=True, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if " libvmaf " in done.stdout:
            return program
    raise AssetError(HOW)


def _candidates() -> list[str]:
    found = [os.environ.get("EMOGENE_FFMPEG"), shutil.which("ffmpeg")]
    # Found by its files: importing it is not needed to run its program.
    spec = importlib.util.find_spec("imageio_ffmpeg")
    if spec is not None and spec.origin is not None:
        binaries = Path(spec.origin).parent / "binaries"
        found += [str(path) for path in sorted(binaries.glob("ffmpeg-*"))]
    return [program for program in found if program]


class Vmaf:
    """Feed pairs of uint8 pictures of one size, then ask for the score (0..100)."""

    def __init__(self, threads: int = 1) -> None:
        self._program = ffmpeg_with_vmaf()
        self._threads = threads
        self._planar = importlib.util.find_spec("cv2") is not None
        self._folder = tempfile.TemporaryDirectory(prefix="emogene-")
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, image: ByteArray, reference: ByteArray) -> None:
        """Take the next pair."""
        # libvmaf compares 4:2:0 pictures: an odd last row or column is left out.
        height, width = (side // 2 * 2 for side in reference.shape[:2])
        both = np.concatenate([image[:height, :width], reference[:height, :width]])
        if self._planar:
            import cv2

            both = np.asarray(cv2.cvtColor(both, cv2.COLOR_RGB2YUV_I420), np.uint8)
        if self._process is None:
            self._process = self._start(width, height)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(both.data)
        except OSError:
            raise AssetError(self._complaint()) from None

    def score(self) -> float:
        """Mean VMAF of all pairs."""
        if self._process is None:
            raise AssetError("VMAF saw no pictures")
        process, log = self._process, Path(self._folder.name) / "vmaf.json"
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        if process.returncode != 0 or not log.exists():
            raise AssetError(self._complaint())
        result = float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])
        self.close()
        return result

    def close(self) -> None:
        """End the program and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        size = f"{width}:{height}"
        convert = "" if self._planar else "format=yuv420p,"
        graph = (
            f"[0:v]{convert}split[a][b];[a]crop={size}:0:0[d];[b]crop={size}:0:{height}[r];"
            f"[d][r]libvmaf=log_fmt=json:log_path=vmaf.json:n_threads={self._threads}"
        )
        layout = "yuv420p" if self._planar else "rgb24"
        command = [self._program, "-hide_banner", "-loglevel", "error", "-threads", "1"]
        command += ["-f", "rawvideo", "-pix_fmt", layout, "-s", f"{width}x{2 * height}", "-r", str(FPS)]
        command += ["-i", "pipe:0", "-lavfi", graph, "-f", "null", "-"]
        with (Path(self._folder.name) / "complaints.txt").open("wb") as complaints:
            return subprocess.Popen(
                command, cwd=self._folder.name, stdin=subprocess.PIPE, stderr=complaints, stdout=complaints
            )

    def _complaint(self) -> str:
        text = (Path(self._folder.name) / "complaints.txt").read_text(errors="replace").strip().splitlines()
        self.close()
        return f"VMAF was not computed: {text[-1] if text else 'ffmpeg ended early'}"
