"""A small head field with structure, and rays that hit it, miss it and graze it."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from emogene.render.field import FieldConfig, HeadField
from emogene.render.native import binding, build


@dataclass(frozen=True)
class Scene:
    field: HeadField
    rays_o: Tensor
    rays_d: Tensor
    frames: Tensor
    jitter: Tensor
    codes: Tensor
    warps: Tensor

    def render(self, step: float = 1 / 32, **options):
        rays = (self.rays_o, self.rays_d, self.frames, self.codes, self.warps)
        return self.field.render_rays(*rays, step=step, jitter=self.jitter, **options)


def make_field(seed: int = 0, shell: bool = True) -> HeadField:
    """A field whose table survives rounding to bf16, as the kernels store it."""
    generator = torch.Generator().manual_seed(seed)
    field = HeadField(FieldConfig(log2_table=10, finest=128, occupancy=32, code=8), seed=seed)
    with torch.no_grad():
        field.table.uniform_(-0.3, 0.3, generator=generator)
        field.table.copy_(field.table.bfloat16().float())
        field.layer3.bias[0] = 2.5
        for name, parameter in field.named_parameters():
            if name.endswith("bias") and name != "layer3.bias":
                parameter.uniform_(-0.1, 0.1, generator=generator)
    if shell:
        axis = (torch.arange(32) + 0.5) / 32 - 0.5
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        radius = (x * x + y * y + z * z).sqrt()
        field.occupancy.restrict((radius > 0.2) & (radius < 0.33))
    return field


def make_scene(n_rays: int = 203, n_frames: int = 3, seed: int = 0) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    target = 0.5 + 0.45 * (torch.rand(n_rays, 3, generator=generator) - 0.5) * 2
    origin = torch.tensor([0.5, 0.45, 2.6]) + 0.1 * torch.randn(n_rays, 3, generator=generator)
    direction = torch.nn.functional.normalize(target - origin, dim=1)
    return Scene(
        field=make_field(seed),
        rays_o=origin,
        rays_d=direction,
        frames=torch.randint(0, n_frames, (n_rays,), generator=generator),
        jitter=torch.rand(n_rays, generator=generator),
        codes=(0.5 * torch.randn(n_frames, 8, generator=generator)).requires_grad_(),
        warps=0.02 * torch.randn(n_frames, 9, 9, 9, 3, generator=generator),
    )


def image_rays(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Origin and directions of a camera in front of the cube."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    size = max(height, width)
    directions = torch.stack(
        [(x - width / 2) / size * 0.5, (height / 2 - y) / size * 0.5, -torch.ones_like(x)], -1
    )
    return torch.tensor([0.5071, 0.4937, 2.6031]), torch.nn.functional.normalize(directions, dim=-1)


def host_isas() -> tuple[str, ...]:
    """Instruction sets that this machine can run, empty without kernels."""
    path = binding.find_library()
    return () if path is None else binding.Kernels(path).supported


def emulated_library() -> str | None:
    """A build whose tile instructions are plain code, so that the AMX path runs on any AVX-512 host."""
    folder = binding.cache_folder().parent / "native-emulated"
    path = build.compile_library(folder, ("-DEG_AMX_EMULATED", "-O1"))
    return None if path is None else str(path)


def isa_params() -> list:
    """Instruction sets to test: the host's, and emulated tiles where only those are missing."""
    isas = list(host_isas())
    emulated = pytest.param("amx-emulated", marks=pytest.mark.slow)
    return [*isas, emulated] if "avx512" in isas and "amx" not in isas else isas or ["none"]


@pytest.fixture(params=isa_params())
def isa(request, monkeypatch):
    """Every instruction set of the host in turn."""
    if request.param == "none":
        pytest.skip("no C++ compiler and no shipped kernels")
    if request.param == "amx-emulated":
        path = emulated_library()
        if path is None:
            pytest.skip("no C++ compiler")
        monkeypatch.setenv("EMOGENE_KERNELS", path)
    name = request.param.split("-")[0]
    monkeypatch.setenv("EMOGENE_ISA", name)
    return name


@pytest.fixture(params=[1, 2])
def threads(request):
    """One and two torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
