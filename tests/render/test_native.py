"""Native kernels against their torch twin: values, gradients, odd sizes, broken input, threads."""

import copy

import pytest
import torch

from emogene.errors import UserError
from emogene.render.field import HeadField
from emogene.render.fused import FieldTrainer, FusedConfig, LossWeights, RayBatch, ray_loss
from emogene.render.native import binding
from tests.render.conftest import Scene, image_rays, make_field, make_scene

BF16 = {"amx", "avx512fp16"}
"""Instruction sets that multiply in bf16; the others in fp32."""


def relative(result: torch.Tensor, reference: torch.Tensor) -> float:
    return float(((result - reference).norm() / (reference.norm() + 1e-12)).detach())


def with_gradients(scene: Scene, backend: str, **options):
    scene.field.backend = backend
    scene.field.zero_grad()
    scene.codes.grad = None
    out = scene.render(**options)
    wish = torch.linspace(-1, 1, out.channels.numel()).view_as(out.channels)
    loss = (out.channels * wish).sum() + out.opacity.sum() + 3 * out.depth.sum() + 5 * out.spread.sum()
    loss.backward()
    parameters = scene.field.named_parameters()
    grads = {
        name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
        for name, value in parameters
    }
    codes = torch.zeros_like(scene.codes) if scene.codes.grad is None else scene.codes.grad.clone()
    return out, {**grads, "codes": codes}


def test_values_and_gradients_equal_torch(isa, threads):
    scene = make_scene()
    expected, expected_grads = with_gradients(scene, "torch")
    result, grads = with_gradients(scene, "native")
    tolerance = 2e-2 if isa in BF16 else 1e-5
    assert float(expected.opacity.detach().max()) > 0.5
    for name in ("channels", "opacity", "depth", "depth_sq"):
        assert relative(getattr(result, name), getattr(expected, name)) < tolerance, name
    for name, grad in expected_grads.items():
        assert relative(grads[name], grad) < (6e-2 if isa in BF16 else 3e-4), name


@pytest.mark.parametrize("stop", [0.0, 1e-2])
def test_rays_end_where_torch_ends_them(isa, threads, stop):
    """Behind a dense surface nothing is asked, before it only what weighs something is taught."""
    scene = make_scene()
    with torch.no_grad():
        scene.field.layer3.bias[0] = 4.0
    expected, expected_grads = with_gradients(scene, "torch", stop=stop)
    result, grads = with_gradients(scene, "native", stop=stop)
    assert float(expected.opacity.detach().max()) > 0.995
    # A transmittance within rounding of the limit may fall to either side of it.
    tolerance = 2e-2 if isa in BF16 else 1e-4
    assert relative(result.channels, expected.channels) < tolerance
    for name, grad in expected_grads.items():
        assert relative(grads[name], grad) < (8e-2 if isa in BF16 else 2e-3), name
    if stop:
        whole, _ = with_gradients(scene, "native", stop=0.0)
        assert 0 < float((whole.opacity - result.opacity).detach().max()) <= stop


def test_fixed_table_gets_no_gradient(isa, threads):
    scene = make_scene()
    _, expected = with_gradients(scene, "native")
    scene.field.table.requires_grad_(False)
    scene.field.table.grad = None
    _, grads = with_gradients(scene, "native")
    assert scene.field.table.grad is None
    for name, grad in expected.items():
        assert name == "table" or torch.equal(grads[name], grad), name


def test_training_by_a_fused_optimizer_is_seen(isa):
    scene = make_scene()
    scene.field.backend = "native"
    optimizer = torch.optim.Adam([scene.field.table], lr=0.05, fused=True)
    for _ in range(3):
        optimizer.zero_grad()
        scene.render().channels.square().mean().backward()
        optimizer.step()
    scene.field.eval()
    with torch.no_grad():
        trained = scene.render().channels
        scene.field.backend = "torch"
        expected = scene.render().channels
    assert relative(trained, expected) < 0.02


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (19, 33)])
@pytest.mark.parametrize("warped", [False, True])
def test_image_equals_torch(isa, threads, size, warped):
    scene = make_scene()
    origin, directions = image_rays(*size)
    warp = scene.warps[1] if warped else None
    images = []
    for backend in ("torch", "native"):
        scene.field.backend = backend
        images.append(
            scene.field.render_image(origin, directions, scene.codes[1], warp, step=1 / 41, stop=0.0)
        )
    tolerance = 1e-2 if isa in BF16 else 1e-4
    for name in ("channels", "opacity", "depth", "depth_sq"):
        expected, result = getattr(images[0], name), getattr(images[1], name)
        assert result.shape == expected.shape
        # A sample on a cell's border may fall to either side: allow a few different pixels.
        wrong = ((result - expected).abs() > tolerance * expected.abs().max().clamp(min=1)).float().mean()
        assert wrong < 0.01, name


@pytest.mark.parametrize("count", [0, 1, 33, 2500])
def test_density_equals_torch(isa, threads, count):
    field = make_field()
    points = 1.2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(4)) - 0.1
    found = []
    for backend in ("torch", "native"):
        field.backend = backend
        found.append(field.density(points, torch.full((8,), 0.3)))
    assert found[1].shape == (count,)
    assert relative(found[1], found[0]) < (2e-2 if isa in BF16 else 1e-5)


def test_image_early_stop_changes_little(isa):
    field = make_field()
    field.backend = "native"
    origin, directions = image_rays(24, 24)
    code = torch.zeros(8)
    full = field.render_image(origin, directions, code, step=1 / 41, stop=0.0)
    quick = field.render_image(origin, directions, code, step=1 / 41, stop=1e-2)
    assert float((full.opacity - quick.opacity).abs().max()) <= 1e-2


@pytest.mark.parametrize("n_rays", [0, 1, 31, 64, 65])
def test_odd_ray_counts(isa, n_rays):
    scene = make_scene(n_rays=n_rays)
    expected, _ = with_gradients(scene, "torch")
    result, grads = with_gradients(scene, "native")
    assert result.channels.shape == (n_rays, 16)
    assert torch.allclose(result.opacity, expected.opacity, atol=1e-2 if isa in BF16 else 1e-5)
    assert all(torch.isfinite(grad).all() for grad in grads.values())


def test_empty_grid_gives_zero(isa):
    scene = make_scene()
    scene.field.occupancy.cells.zero_()
    scene.field.backend = "native"
    out = scene.render()
    assert float(out.channels.detach().abs().max()) == 0.0
    out.channels.sum().backward()
    assert float(scene.field.table.grad.abs().max()) == 0.0
    origin, directions = image_rays(20, 20)
    assert float(scene.field.render_image(origin, directions, scene.codes[0]).opacity.max()) == 0.0


def test_full_grid_has_long_rays(isa):
    scene = make_scene(n_rays=40)
    scene.field.occupancy.cells.fill_(1)
    expected, expected_grads = with_gradients(scene, "torch")
    result, grads = with_gradients(scene, "native")
    assert relative(result.channels, expected.channels) < (2e-2 if isa in BF16 else 1e-5)
    assert relative(grads["table"], expected_grads["table"]) < (5e-2 if isa in BF16 else 1e-3)


def test_broken_numbers_stay_contained(isa):
    scene = make_scene()
    scene.field.backend = "native"
    clean = scene.render().channels.detach()
    scene.rays_o[3, 1] = float("nan")
    scene.rays_d[5, 0] = float("inf")
    scene.rays_d[7] = 0.0
    scene.warps[2] = float("nan")
    broken = scene.render().channels.detach()
    assert float(broken[[3, 5, 7]].abs().max()) == 0.0
    untouched = scene.frames != 2
    untouched[[3, 5, 7]] = False
    assert torch.allclose(broken[untouched], clean[untouched], atol=1e-6)
    with torch.no_grad():
        scene.field.layer3.weight[0] = float("nan")
    assert scene.render().opacity.shape == (len(scene.rays_o),)


def test_misuse_is_reported(isa):
    scene = make_scene(n_rays=4)
    scene.field.backend = "native"
    scene.frames[0] = 3
    with pytest.raises(ValueError, match="frame index"):
        scene.render()
    scene.frames[0] = 0
    with pytest.raises(ValueError, match="step"):
        scene.render(step=1e-4)
    with pytest.raises(ValueError, match="step"):
        scene.render(step=float("nan"))


def test_alternating_with_torch_bf16(isa, threads):
    """Matrix products of torch may leave the tile unit in another state; ours must not care, nor disturb."""
    scene = make_scene()
    scene.field.backend = "native"
    matrix = torch.randn(128, 128, generator=torch.Generator().manual_seed(1)).bfloat16()
    product, first = matrix @ matrix, scene.render().channels
    for _ in range(3):
        assert torch.equal(matrix @ matrix, product)
        assert torch.equal(scene.render().channels, first)


def make_batch(scene: Scene) -> RayBatch:
    generator = torch.Generator().manual_seed(9)
    n = len(scene.rays_o)
    rgb = torch.rand(3, n, 3, generator=generator)
    ones = torch.rand(2, n, generator=generator)
    return RayBatch(
        scene.rays_o, scene.rays_d, scene.frames, rgb[0], rgb[1], ones[0], ones[1].round(), scene.jitter
    )


def trainer_run(scene: Scene, backend: str, steps: int) -> tuple[FieldTrainer, list[float], torch.Tensor]:
    field = copy.deepcopy(scene.field)
    field.backend = backend
    trainer = FieldTrainer(field, FusedConfig(opacity_weight=0.3, spread_weight=2.0))
    batch = make_batch(scene)
    results = [trainer.step(batch, scene.codes, scene.warps, step=1 / 32) for _ in range(steps)]
    return trainer, [result.loss for result in results], results[0].codes_grad


def test_fused_step_equals_torch(isa, threads):
    scene = make_scene()
    expected, expected_losses, expected_codes = trainer_run(scene, "torch", 1)
    result, losses, codes = trainer_run(scene, "native", 1)
    loose = isa in BF16
    assert losses[0] == pytest.approx(expected_losses[0], rel=1e-2 if loose else 1e-5)
    assert relative(codes, expected_codes) < (5e-2 if loose else 1e-3)
    for name, mean in expected.means.items():
        assert relative(result.means[name], mean) < (5e-2 if loose else 1e-3), name


def loss_and_gradients(scene: Scene, backend: str):
    scene.field.backend = backend
    scene.field.zero_grad()
    scene.codes.grad = None
    weights = LossWeights(opacity_weight=0.3, spread_weight=2.0, haze_weight=0.2)
    seen = ray_loss(scene.field, make_batch(scene), scene.codes, scene.warps, weights, step=1 / 32)
    (2 * seen.loss).backward()
    grads = {name: value.grad for name, value in scene.field.named_parameters()}
    return seen, {**grads, "codes": scene.codes.grad}


def test_loss_in_one_pass_equals_torch(isa, threads):
    scene = make_scene()
    expected, expected_grads = loss_and_gradients(scene, "torch")
    result, grads = loss_and_gradients(scene, "native")
    loose = isa in BF16
    for name in ("loss", "colour", "spread"):
        parts = [torch.as_tensor(getattr(seen, name)).detach() for seen in (expected, result)]
        assert relative(*parts) < (2e-2 if loose else 1e-5), name
    assert relative(result.opacity, expected.opacity) < (2e-2 if loose else 1e-5)
    for name, grad in expected_grads.items():
        assert relative(grads[name], grad) < (5e-2 if loose else 1e-3), name
    with pytest.raises(RuntimeError, match="once"):
        result.loss.backward()
    scene.field.table.requires_grad_(False)
    scene.field.table.grad = None
    _, fixed = loss_and_gradients(scene, "native")
    assert fixed["table"] is None
    assert torch.equal(fixed["layer2.weight"], grads["layer2.weight"])


def test_fused_training_learns_and_repeats(isa, threads):
    scene = make_scene()
    first, losses, _ = trainer_run(scene, "native", 10)
    again, repeated, _ = trainer_run(scene, "native", 10)
    assert losses[-1] < losses[0]
    assert losses == repeated
    assert torch.equal(first.field.table, again.field.table)
    # The copy that the kernels read follows the trained table.
    torch_field: HeadField = copy.deepcopy(first.field)
    torch_field.backend = "torch"
    native = first.field.render_rays(
        scene.rays_o, scene.rays_d, scene.frames, scene.codes, scene.warps, step=1 / 32
    )
    twin = torch_field.render_rays(
        scene.rays_o, scene.rays_d, scene.frames, scene.codes, scene.warps, step=1 / 32
    )
    assert relative(native.opacity, twin.opacity) < 2e-2


def test_trainer_state_resumes():
    scene = make_scene(n_rays=64)
    straight, _, _ = trainer_run(scene, "auto", 4)
    half, _, _ = trainer_run(scene, "auto", 2)
    resumed = FieldTrainer(copy.deepcopy(half.field), half.config)
    resumed.load_state(half.state())
    for _ in range(2):
        resumed.step(make_batch(scene), scene.codes, scene.warps, step=1 / 32)
    assert torch.equal(resumed.field.table, straight.field.table)


def test_unknown_isa_is_a_user_error(isa):
    path = binding.find_library()
    assert path is not None
    with pytest.raises(UserError, match="EMOGENE_ISA"):
        binding.Kernels(path, "sse9")


def test_torch_can_be_forced(monkeypatch):
    monkeypatch.setenv("EMOGENE_ISA", "torch")
    scene = make_scene(n_rays=5)
    scene.field.backend = "native"
    with pytest.raises(ValueError, match="native"):
        scene.render()
    scene.field.backend = "auto"
    assert scene.render().opacity.shape == (5,)
