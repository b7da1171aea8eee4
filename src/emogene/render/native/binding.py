"""ctypes view of the kernel library: find or compile it, choose the instruction set, call it.

Mirrors ``kernels.h``: a change of a structure there is a change here.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from pathlib import Path

import torch
from torch import Tensor

from emogene.errors import UserError
from emogene.render.native import build

ISAS = ("portable", "avx2", "avx512", "avx512fp16", "amx")
"""Instruction sets in order of preference, best last; the index is the C side's number."""
STATUS = {
    1: "a ray's frame index is outside the given frames",
    2: "the sample step must lie in 1/400..1 of the cube",
    3: "this CPU or build lacks the instruction set",
    4: "threads must be in 1..64",
    5: "a convolution takes at most 160 channels and makes at most 128, a multiple of 16",
}
logger = logging.getLogger(__name__)

_pointer = ctypes.c_void_p
_int64 = ctypes.c_int64


class LevelStruct(ctypes.Structure):
    """One lattice of the hash grid."""

    _fields_ = [
        ("resolution", ctypes.c_float),
        ("dense", ctypes.c_int32),
        ("side", ctypes.c_uint32),
        ("mask", ctypes.c_uint32),
        ("offset", _int64),
    ]


class FieldStruct(ctypes.Structure):
    """Table, weights and occupancy of a field."""

    _fields_ = [
        ("table", _pointer),
        ("levels", _pointer),
        *((name, _pointer) for name in ("w1", "w2", "w3", "b2", "b3")),
        ("w1_stride", _int64),
        *((name, _pointer) for name in ("c1", "d1", "c2", "d2", "cells")),
        ("cells_side", _int64),
    ]


class RaysStruct(ctypes.Structure):
    """Rays and the frames they belong to; order and items are filled by the library."""

    _fields_ = [
        *((name, _pointer) for name in ("origins", "directions", "jitter", "frames", "order")),
        ("count", _int64),
        ("items", _pointer),
        ("n_items", _int64),
        ("bias", _pointer),
        ("n_frames", _int64),
        ("warps", _pointer),
        ("warp_side", _int64),
        ("step", ctypes.c_float),
        ("stop", ctypes.c_float),
    ]


class ImageStruct(ctypes.Structure):
    """One frame to render and where its pixels go."""

    _fields_ = [
        ("origin", _pointer),
        ("directions", _pointer),
        ("height", _int64),
        ("width", _int64),
        ("bias", _pointer),
        ("warp", _pointer),
        ("warp_side", _int64),
        ("step", ctypes.c_float),
        ("stop", ctypes.c_float),
        *((name, _pointer) for name in ("mask", "channels", "opacity", "depth", "depth_sq", "next_tile")),
    ]


class ConvolutionStruct(ctypes.Structure):
    """One 3 x 3 layer on channels-last pictures."""

    _fields_ = [
        ("in_", _pointer * 2),
        ("stride", _int64 * 2),
        ("used", _int64 * 2),
        *((name, _int64) for name in ("height", "width", "row_pixels", "outputs")),
        *((name, _pointer) for name in ("weight", "bias", "out")),
        ("hidden", ctypes.c_int32),
        ("residual", ctypes.c_int32),
        ("cells", _pointer),
        ("n_cells", _int64),
    ]


class CompositeStruct(ctypes.Structure):
    """Head and torso of one frame, and the decoder's input that they become."""

    _fields_ = [
        *((name, _pointer) for name in ("channels", "opacity")),
        *((name, _int64) for name in ("height", "width", "top")),
        ("plane", _pointer),
        ("plane_side", _int64),
        ("plane_scale", ctypes.c_float),
        ("reach", ctypes.c_float),
        *((name, _pointer) for name in ("knots", "shoulders", "across_y", "across_x")),
        ("across_stride", _int64),
        *((name, _pointer) for name in ("enter", "shade", "leave", "leave_bias", "out")),
        ("row_pixels", _int64),
        ("stride", _int64),
        ("place", _pointer),
    ]


class CoverageStruct(ctypes.Structure):
    """Which cells of low pixels somebody is in or near."""

    _fields_ = [
        ("composite", _pointer),
        *((name, _int64) for name in ("height", "width", "row_pixels", "stride")),
        ("faint", ctypes.c_float),
        *((name, _pointer) for name in ("made", "hidden", "ring")),
        *((name, _int64) for name in ("n_made", "n_hidden", "n_ring")),
    ]


class EnlargementStruct(ctypes.Structure):
    """The decoder's picture and gains, and the detail that goes over it."""

    _fields_ = [
        ("decoded", _pointer),
        *((name, _int64) for name in ("height", "width", "row_pixels", "channels", "layers")),
        ("cells", _pointer),
        ("n_cells", _int64),
        *((name, _pointer) for name in ("origin", "directions", "opacity", "depth", "warp")),
        ("warp_side", _int64),
        ("texture", _pointer),
        ("side", _int64),
        ("thin", ctypes.c_float),
        *((name, _pointer) for name in ("surface", "place", "out", "torso")),
        *((name, _int64) for name in ("torso_columns", "torso_rows")),
        *((name, _pointer) for name in ("torso_place", "composite")),
        ("stride", _int64),
    ]


class PictureStruct(ctypes.Structure):
    """Decoded pixels and where they go."""

    _fields_ = [
        ("decoded", _pointer),
        *((name, _int64) for name in ("height", "width", "row_pixels", "channels")),
        ("cells", _pointer),
        *((name, _int64) for name in ("n_cells", "top", "left", "out_height", "out_width")),
        ("background", _pointer),
        ("out", _pointer),
        ("clear", ctypes.c_float),
        ("kind", ctypes.c_int32),
    ]


class LossStruct(ctypes.Structure):
    """What the fused training step minimises."""

    _fields_ = [
        *((name, _pointer) for name in ("target", "background", "weight", "target_opacity")),
        ("opacity_weight", ctypes.c_float),
        ("spread_weight", ctypes.c_float),
        ("haze_weight", ctypes.c_float),
        *((name, ctypes.c_double) for name in ("total", "colour", "spread")),
        ("opacity_out", _pointer),
    ]


class Kernels:
    """A loaded library with one chosen instruction set."""

    def __init__(self, path: Path, isa: str | None = None) -> None:
        self.path = path
        self.library = ctypes.CDLL(str(path))
        self.library.eg_gradient_floats.restype = _int64
        self.supported = tuple(
            name for number, name in enumerate(ISAS) if self.library.eg_has_isa(ctypes.c_int(number))
        )
        self.isa = isa or self.supported[-1]
        if self.isa not in ISAS:
            raise UserError(f"EMOGENE_ISA must be one of {', '.join(ISAS)}, not {self.isa!r}.")
        if self.isa not in self.supported:
            raise UserError(f"EMOGENE_ISA={self.isa}: this CPU offers {', '.join(self.supported)}.")

    def call(self, name: str, *arguments: object) -> None:
        """Call a C function after the isa number; raise ValueError when it reports misuse."""
        status = getattr(self.library, name)(ctypes.c_int(ISAS.index(self.isa)), *arguments)
        if status:
            raise ValueError(f"{name}: {STATUS.get(status, f'status {status}')}")

    def gradient_floats(self, n_frames: int) -> int:
        """Length of the flat gradient for that many frames."""
        return int(self.library.eg_gradient_floats(_int64(n_frames)))


def address(tensor: Tensor | None) -> int | None:
    """Data pointer of a contiguous CPU tensor (None stays None)."""
    if tensor is None:
        return None
    assert tensor.device.type == "cpu" and tensor.is_contiguous()
    return tensor.data_ptr()


def thread_count() -> ctypes.c_int:
    """Threads that torch was told to use, as the kernels' argument."""
    return ctypes.c_int(max(1, min(torch.get_num_threads(), 64)))


def load(isa: str | None = None) -> Kernels | None:
    """The library, compiled into the user's cache when the package came without; None without compiler."""
    return _load(isa, os.environ.get("EMOGENE_KERNELS"))


@functools.cache
def _load(isa: str | None, override: str | None) -> Kernels | None:
    path = Path(override) if override else find_library()
    return None if path is None else Kernels(path, isa)


def find_library() -> Path | None:
    """Path of the library for these sources: shipped, cached, or freshly compiled."""
    for folder in (build.SOURCE_DIR, cache_folder()):
        if (folder / build.library_name()).exists():
            return folder / build.library_name()
    logger.info("compiling the render kernels once into %s", cache_folder())
    try:
        return build.compile_library(cache_folder())
    except OSError as error:
        logger.warning("no native kernels (%s); rendering with torch", error)
        return None


def cache_folder() -> Path:
    """Where a library compiled at run time is kept."""
    root = os.environ.get("EMOGENE_CACHE") or os.environ.get("XDG_CACHE_HOME")
    base = Path(root) if root else Path.home() / ".cache"
    return base / "emogene" / "native"
