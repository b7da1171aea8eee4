"""Which code renders: the native kernels or the torch twin, and the calls into the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from emogene.render.field import HeadField
    from emogene.render.volume import RayOutput

BACKENDS = ("auto", "native", "torch")


def choose(wanted: str, field: HeadField) -> str:
    """Resolve "auto" for a field's device and sizes; ValueError when "native" is asked but impossible."""
    if wanted not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {wanted!r}")
    return "torch"


def native_ray_sums(
    field: HeadField,
    rays_o: Tensor,
    rays_d: Tensor,
    frame_index: Tensor,
    bias: Tensor,
    warps: Tensor | None,
    step: float,
    jitter: Tensor,
) -> Tensor:
    """Sums [R, 18] of ``HeadField._ray_sums`` by the native kernels."""
    raise NotImplementedError


def native_image(
    field: HeadField,
    origin: Tensor,
    directions: Tensor,
    bias: Tensor,
    warp: Tensor | None,
    step: float,
    stop: float,
) -> RayOutput:
    """Rays of ``HeadField._image`` by the native kernels."""
    raise NotImplementedError
