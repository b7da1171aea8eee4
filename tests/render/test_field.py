"""The torch field: what each part means, on cases with a known answer."""

import numpy as np
import torch

from emogene.render.grid import encode, make_levels, sanitize
from emogene.render.march import OccupancyGrid, march, observed_mask, warp_points
from emogene.render.rays import HeadBox, image_rays
from emogene.render.volume import RayOutput, accumulate, direction_basis, ray_weights
from emogene.types import Camera
from tests.render.conftest import image_rays as front_rays
from tests.render.conftest import make_field, make_scene


def test_encoding_at_a_node_is_its_row():
    levels = make_levels(2, log2_table=10, base=4, finest=8)
    table = torch.randn(levels[-1].offset + levels[-1].rows, 2, generator=torch.Generator().manual_seed(0))
    node = torch.tensor([[0.25, 0.5, 0.75]])  # node (1, 2, 3) of the dense 4-cell lattice
    assert levels[0].dense and levels[0].resolution == 4
    assert torch.allclose(encode(node, table, levels)[0, :2], table[1 + 5 * (2 + 5 * 3)], atol=1e-5)


def test_encoding_is_linear_along_a_cell_edge():
    levels = make_levels(4, log2_table=8, base=4, finest=64)
    table = torch.randn(levels[-1].offset + levels[-1].rows, 2, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([[16.0, 8, 24], [17.0, 8, 24]]) / 64
    middle = ends.mean(dim=0, keepdim=True)
    result = encode(torch.cat([ends, middle]), table, levels)
    assert torch.allclose(result[2], result[:2].mean(dim=0), atol=1e-5)


def test_table_gradient_by_finite_difference():
    field = make_field()
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(3))
    out = encode(points, field.table, field.levels)
    out.square().sum().backward()
    row = int(field.table.grad.abs().sum(dim=1).argmax())
    with torch.no_grad():
        sums = []
        for shift in (1e-2, -1e-2):
            moved = field.table.clone()
            moved[row, 0] += shift
            sums.append(encode(points, moved, field.levels).double().square().sum())
    assert abs(float((sums[0] - sums[1]) / 2e-2 - field.table.grad[row, 0])) < 1e-2


def test_broken_coordinates_are_harmless():
    points = torch.tensor([[float("nan"), -3.0, float("inf")]])
    clean = sanitize(points)
    assert float(clean.min()) == 0.0 and float(clean.max()) < 1.0


def test_weights_of_a_wall():
    """A dense sample takes all that is left, and what lies behind it nothing; rays do not mix."""
    sigma = torch.tensor([0.0, 1e5, 7.0, 0.5])
    ray = torch.tensor([0, 0, 0, 2])
    weights, left = ray_weights(sigma, ray, 3, step=0.1)
    assert torch.allclose(left, torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert torch.allclose(weights, torch.tensor([0.0, 1.0, 0.0, 1 - float(np.exp(-0.05))]), atol=1e-6)
    assert torch.allclose(
        accumulate(weights[:, None], ray, 3)[:, 0], torch.tensor([1.0, 0.0, float(weights[3])])
    )


def test_spread_is_zero_for_one_surface():
    one = torch.ones(1)
    sharp = RayOutput(torch.zeros(1, 16), one, 0.3 * one, 0.09 * one)
    split = RayOutput(torch.zeros(1, 16), one, torch.zeros(1), 0.09 * one)
    assert float(sharp.spread) < 1e-6 < float(split.spread)


def test_direction_basis_is_orthonormal():
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=generator), dim=1)
    basis = direction_basis(directions)
    gram = basis.T @ basis / len(basis) * 4 * np.pi
    assert float((gram - torch.eye(16)).abs().max()) < 0.05


def test_warp_moves_points_by_its_nodes():
    warp = torch.zeros(5, 5, 5, 3)
    warp[2, 3, 1] = torch.tensor([0.1, 0.0, -0.05])  # node [z, y, x] = u (0.25, 0.75, 0.5)
    moved = warp_points(torch.tensor([[0.25, 0.75, 0.5], [0.375, 0.75, 0.5]]), warp)
    assert torch.allclose(moved, torch.tensor([[0.35, 0.75, 0.45], [0.425, 0.75, 0.475]]), atol=1e-6)


def test_observed_mask_drops_nothing():
    """Marching with the coarse mask finds the samples that marching without it finds."""
    scene = make_scene()
    occupancy, warp = scene.field.occupancy, scene.warps[0]
    mask = observed_mask(occupancy.cells, warp)
    assert not bool(mask.all())
    rays = (scene.rays_o, scene.rays_d, scene.jitter, 1 / 64, occupancy, warp)
    assert torch.equal(march(*rays).points, march(*rays, mask).points)


def test_occupancy_follows_density():
    grid = OccupancyGrid(resolution=8)
    allowed = torch.zeros(8, 8, 8)
    allowed[2:6] = 1
    grid.restrict(allowed)
    index, points = grid.candidates(1.0, torch.Generator().manual_seed(0))
    assert len(index) == 4 * 64
    assert bool(((points[:, 2] >= 0.25) & (points[:, 2] < 0.75)).all())
    grid.observe(index, torch.where(points[:, 0] < 0.5, 100.0, 0.0))
    assert float(grid.cells[3, 3, :4].float().mean()) == 1.0
    assert float(grid.cells[3, 3, 4:].float().mean()) == 0.0
    assert float(grid.cells[:2].float().max()) == 0.0


def test_rays_of_a_frontal_camera_meet_the_box():
    box, camera = HeadBox(), Camera(200.0, 50.0, 50.0, 100, 100)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = np.diag([1, -1, -1])
    pose[:3, 3] = [0, 0, 6]
    origin, directions = image_rays(camera, pose, box)
    assert directions.shape == (100, 100, 3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(100, 100), atol=1e-6)
    # Up in the picture is up in the head, right in the picture is the person's left.
    assert float(directions[0, 50, 1]) > 0 > float(directions[99, 50, 1])
    assert float(directions[50, 99, 0]) > 0
    assert torch.allclose(box_origin(box, origin), torch.tensor([0.0, 0.0, 6.0]), atol=1e-4)


def box_origin(box: HeadBox, origin: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(box.to_cano(origin.numpy()))


def test_image_and_rays_agree():
    field = make_field()
    field.backend = "torch"
    origin, directions = front_rays(9, 11)
    code = torch.zeros(8)
    image = field.render_image(origin, directions, code, step=1 / 41, stop=0.0)
    rays = directions.reshape(-1, 3)
    frames = torch.zeros(len(rays), dtype=torch.int64)
    flat = field.render_rays(origin.expand_as(rays), rays, frames, code[None], step=1 / 41)
    assert torch.allclose(image.channels.reshape(-1, 16), flat.channels, atol=1e-5)
