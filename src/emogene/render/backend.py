"""Which code renders, and the calls into the native kernels.

"auto" is native for float32 parameters on a CPU when the library is there and the field has the sizes the
kernels are written for, else torch. EMOGENE_ISA=portable|avx2|avx512|amx forces an instruction set,
EMOGENE_ISA=torch switches the kernels off. EMOGENE_KERNELS=path loads another library (a sanitizer build).
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emogene.render import march
from emogene.render.grid import Level
from emogene.render.native import binding
from emogene.render.volume import RayOutput

if TYPE_CHECKING:
    from emogene.render.field import HeadField

BACKENDS = ("auto", "native", "torch")
HIDDEN, ENCODED, GEOMETRY, SUMS = 64, 32, 16, 18
WEIGHT_SHAPES = {
    "w1": (HIDDEN, ENCODED),
    "w2": (HIDDEN, HIDDEN),
    "w3": (GEOMETRY, HIDDEN),
    "c1": (HIDDEN, 32),
    "c2": (16, HIDDEN),
    "b2": (HIDDEN,),
    "b3": (GEOMETRY,),
    "d1": (HIDDEN,),
    "d2": (16,),
}
"""Order of the flat gradient (``carve`` in library.cpp); the bias per frame follows."""


def kernels() -> binding.Kernels | None:
    """The kernels of the instruction set in force, or None when torch must do."""
    wanted = os.environ.get("EMOGENE_ISA") or None
    return None if wanted == "torch" else binding.load(wanted)


def choose(wanted: str, field: HeadField) -> str:
    """Resolve "auto" for a field; ValueError when "native" is asked but impossible."""
    if wanted not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {wanted!r}")
    if wanted == "torch":
        return "torch"
    possible = _fits(field) and kernels() is not None
    if wanted == "native" and not possible:
        raise ValueError(
            "native kernels need a CPU field of 16 levels, hidden 64, even occupancy, and a library"
        )
    return "native" if possible else "torch"


def _fits(field: HeadField) -> bool:
    config, table = field.config, field.table
    sizes = config.levels == 16 and config.hidden == HIDDEN and config.occupancy % 2 == 0
    return sizes and table.device.type == "cpu" and table.dtype == torch.float32


class FieldMemory:
    """C structures of one field; the packed table and widened cells are remade when their source changed.

    Changes are told by tensor versions, which fused optimizers and ``.data`` do not count: what trains the
    table packs it anew for every step (``field_struct``), and ``HeadField.train`` drops the memory.
    """

    def __init__(self, field: HeadField) -> None:
        self.levels = _level_array(field.levels)
        self.packed: tuple[tuple[int, int], Tensor] | None = None
        self.wide: tuple[tuple[int, int], Tensor] | None = None

    def table(self, field: HeadField) -> Tensor:
        """The table as bf16 pairs."""
        key = (field.table.data_ptr(), field.table._version)
        if self.packed is None or self.packed[0] != key:
            self.packed = (key, field.table.detach().to(torch.bfloat16).contiguous())
        return self.packed[1]

    def wide_cells(self, field: HeadField) -> Tensor:
        """Occupied cells widened by the reach of a coarse cell, uint8."""
        cells = field.occupancy.cells
        key = (cells.data_ptr(), cells._version)
        if self.wide is None or self.wide[0] != key:
            self.wide = (key, march.widened(cells).to(torch.uint8).contiguous())
        return self.wide[1]


def memory(field: HeadField) -> FieldMemory:
    """The field's C side, made on first use."""
    if field.native_memory is None:
        field.native_memory = FieldMemory(field)
    return field.native_memory


def _level_array(levels: tuple[Level, ...]) -> Any:
    return (binding.LevelStruct * len(levels))(
        *(
            binding.LevelStruct(
                level.resolution,
                level.dense,
                level.resolution + 1,
                0 if level.dense else level.rows - 1,
                level.offset,
            )
            for level in levels
        )
    )


def field_struct(field: HeadField, fresh: bool = False) -> tuple[binding.FieldStruct, list[Any]]:
    """C view of a field's parameters and the objects that must outlive it; ``fresh``: pack the table anew."""
    held = memory(field)
    if fresh:
        held.packed = None
    table = held.table(field)
    weights = {
        "w2": field.layer2.weight,
        "w3": field.layer3.weight,
        "b2": field.layer2.bias,
        "b3": field.layer3.bias,
        "c1": field.colour1.weight,
        "d1": field.colour1.bias,
        "c2": field.colour2.weight,
        "d2": field.colour2.bias,
    }
    keep = {name: weight.detach().contiguous() for name, weight in weights.items()}
    w1 = field.layer1.weight.detach().contiguous()
    cells = field.occupancy.cells.contiguous()
    struct = binding.FieldStruct(
        table=binding.address(table),
        levels=ctypes.addressof(held.levels),
        w1=binding.address(w1),
        w1_stride=w1.shape[1],
        cells=binding.address(cells),
        cells_side=cells.shape[0],
        **{name: binding.address(tensor) for name, tensor in keep.items()},
    )
    return struct, [held, table, keep, w1, cells]


@dataclass(frozen=True, slots=True)
class RayInputs:
    """What ``HeadField.render_rays`` is asked, apart from the codes."""

    rays_o: Tensor
    rays_d: Tensor
    jitter: Tensor
    frames: Tensor
    warps: Tensor | None
    step: float
    stop: float


def rays_struct(rays: RayInputs, bias: Tensor) -> tuple[binding.RaysStruct, list[Tensor | None]]:
    """C view of rays and the tensors that must outlive it."""
    warps = rays.warps
    keep = [
        rays.rays_o.detach().float().contiguous(),
        rays.rays_d.detach().float().contiguous(),
        rays.jitter.detach().float().contiguous(),
        rays.frames.detach().long().contiguous(),
        bias.detach().float().contiguous(),
        None if warps is None else warps.detach().float().contiguous(),
    ]
    names = ("origins", "directions", "jitter", "frames", "bias", "warps")
    if warps is not None and len(warps) != len(bias):
        raise ValueError(f"{len(warps)} warps for {len(bias)} codes: one each")
    struct = binding.RaysStruct(
        count=len(rays.rays_o),
        n_frames=len(bias),
        warp_side=0 if warps is None else warps.shape[1],
        step=rays.step,
        stop=rays.stop,
        **{name: binding.address(tensor) for name, tensor in zip(names, keep, strict=True)},
    )
    return struct, keep


class _RaySums(torch.autograd.Function):
    """Native sums along rays; backward recomputes the samples instead of keeping them."""

    @staticmethod
    def forward(ctx: Any, field: HeadField, rays: RayInputs, bias: Tensor, *parameters: Tensor) -> Tensor:
        loaded = kernels()
        assert loaded is not None
        c_field, keep_field = field_struct(field, fresh=field.table.requires_grad)
        c_rays, keep_rays = rays_struct(rays, bias)
        sums = torch.zeros(len(rays.rays_o), SUMS)
        threads = binding.thread_count()
        loaded.call(
            "eg_sums", threads, ctypes.byref(c_field), ctypes.byref(c_rays), ctypes.c_void_p(sums.data_ptr())
        )
        ctx.native = (loaded, field, c_field, keep_field, c_rays, keep_rays)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        loaded, field, c_field, _, c_rays, _ = ctx.native
        grad = grad.float().contiguous()
        n_frames = c_rays.n_frames
        flat = torch.empty(loaded.gradient_floats(n_frames))
        # A table held fixed is spared the scatter of its gradient.
        table_grad = torch.zeros_like(field.table) if ctx.needs_input_grad[3] else None
        loaded.call(
            "eg_sums_backward",
            binding.thread_count(),
            ctypes.byref(c_field),
            ctypes.byref(c_rays),
            *(ctypes.c_void_p(binding.address(tensor)) for tensor in (grad, flat, table_grad)),
        )
        parts = split_gradient(flat, n_frames)
        layer1 = torch.zeros_like(field.layer1.weight)
        layer1[:, :ENCODED] = parts["w1"]
        return (
            None,
            None,
            parts["bias"],
            table_grad,
            layer1,
            parts["w2"],
            parts["b2"],
            parts["w3"],
            parts["b3"],
        )


def split_gradient(flat: Tensor, n_frames: int) -> dict[str, Tensor]:
    """Name the parts of a flat gradient."""
    shapes = {**WEIGHT_SHAPES, "bias": (n_frames, HIDDEN)}
    sizes = [int(torch.Size(shape).numel()) for shape in shapes.values()]
    pieces = torch.split(flat[: sum(sizes)], sizes)
    return {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def native_ray_sums(field: HeadField, rays: RayInputs, bias: Tensor) -> Tensor:
    """Sums [R, 18] of ``HeadField._ray_sums`` by the native kernels."""
    result: Tensor = _RaySums.apply(
        field,
        rays,
        bias,
        field.table,
        field.layer1.weight,
        field.layer2.weight,
        field.layer2.bias,
        field.layer3.weight,
        field.layer3.bias,
    )  # type: ignore[no-untyped-call]
    return result


def native_density(field: HeadField, points: Tensor, bias: Tensor) -> Tensor:
    """Density [M] of ``HeadField.density`` by the native kernels."""
    loaded = kernels()
    assert loaded is not None
    c_field, keep = field_struct(field, fresh=field.table.requires_grad)
    points, bias = points.detach().float().contiguous(), bias.detach().float().contiguous()
    out = torch.empty(len(points))
    loaded.call(
        "eg_densities",
        binding.thread_count(),
        ctypes.byref(c_field),
        *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (bias, points)),
        ctypes.c_int64(len(points)),
        ctypes.c_void_p(out.data_ptr()),
    )
    del keep
    return out


def native_image(
    field: HeadField,
    origin: Tensor,
    directions: Tensor,
    bias: Tensor,
    warp: Tensor | None,
    step: float,
    stop: float,
) -> RayOutput:
    """Pixels of ``HeadField._image``, flat, by the native kernels."""
    loaded = kernels()
    assert loaded is not None
    c_field, keep_field = field_struct(field)
    height, width = directions.shape[:2]
    n_rays = height * width
    mask = torch.empty(march.COARSE, march.COARSE, march.COARSE, dtype=torch.uint8)
    out = RayOutput(torch.empty(n_rays, 16), torch.empty(n_rays), torch.empty(n_rays), torch.empty(n_rays))
    inputs = {
        "origin": origin.float().contiguous(),
        "directions": directions.float().contiguous(),
        "bias": bias.float().contiguous(),
        "warp": None if warp is None else warp.float().contiguous(),
        "mask": mask,
        "channels": out.channels,
        "opacity": out.opacity,
        "depth": out.depth,
        "depth_sq": out.depth_sq,
    }
    wide = memory(field).wide_cells(field)
    side = 0 if warp is None else warp.shape[0]
    loaded.call(
        "eg_mask",
        ctypes.byref(c_field),
        ctypes.c_void_p(wide.data_ptr()),
        ctypes.c_void_p(binding.address(inputs["warp"])),
        ctypes.c_int64(side),
        ctypes.c_void_p(mask.data_ptr()),
    )
    image = binding.ImageStruct(
        height=height,
        width=width,
        warp_side=side,
        step=step,
        stop=stop,
        **{name: binding.address(tensor) for name, tensor in inputs.items()},
    )
    loaded.call("eg_image", binding.thread_count(), ctypes.byref(c_field), ctypes.byref(image))
    del keep_field
    return out
