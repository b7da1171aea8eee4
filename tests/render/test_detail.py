"""Detail: where surfaces lie on the texture, and the kernel against the same in torch."""

import pytest
import torch
import torch.nn.functional as F

from emogene.render.compose import NativeComposer, bends
from emogene.render.convolve import NativeDecoder
from emogene.render.decoder import SCALE, Decoder, DecoderConfig
from emogene.render.detail import (
    Detail,
    DetailConfig,
    add_detail,
    coarse,
    first_layer,
    surface_place,
)
from emogene.render.enlarge import NativeDetail, Under, packed_texture
from emogene.render.torso import Torso, TorsoConfig, picture_grid
from emogene.render.volume import RayOutput


def make_detail(layers: int = 2, texels: int = 61) -> Detail:
    detail = Detail(DetailConfig(texels=texels, layers=layers))
    with torch.no_grad():
        smooth = torch.randn(1, max(3 * layers, 1), 9, 9, generator=torch.Generator().manual_seed(0))
        detail.texture.copy_(0.2 * F.interpolate(smooth, (texels, texels), mode="bicubic")[:, : 3 * layers])
    return detail


def looking_at_the_cube(height: int, width: int):
    """Rays along -z through the cube, and a field that ends them at its middle, to the left hardly."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = torch.stack([(x + 0.5) / width, 1 - (y + 0.5) / height, torch.full_like(x, 0.5).float()], -1)
    origin = torch.tensor([0.5, 0.5, 3.0])
    rays_d = F.normalize(target - origin, dim=-1)
    opacity = ((x + 0.5) / width).clamp(0, 1)
    nearest = ((0.5 - origin) * rays_d).sum(-1)
    depth = ((target - origin).norm(dim=-1) - nearest) * opacity
    return origin, rays_d, RayOutput(torch.zeros(height, width, 16), opacity, depth, depth)


def test_a_flat_surface_lies_on_the_texture_as_it_is_seen():
    height, width = 12, 16
    origin, rays_d, head = looking_at_the_cube(height, width)
    place = surface_place(
        origin.expand(1, height, width, 3),
        rays_d[None],
        head.opacity[None],
        head.depth[None],
        torch.zeros(1, 4, 4, 4, 3),
    )[0]
    x = (torch.arange(width) + 0.5) / width * 2 - 1
    y = (torch.arange(height) + 0.5) / height * 2 - 1
    inner = (
        slice(1, -1),
        slice(4, -1),
    )  # neighbours pull at the border
    assert torch.allclose(place[0][inner], x.expand(height, width)[inner], atol=0.02)
    assert torch.allclose(place[1][inner], y[:, None].expand(height, width)[inner], atol=0.02)


def test_the_warp_moves_the_place():
    origin, rays_d, head = looking_at_the_cube(8, 8)
    warp = torch.zeros(1, 4, 4, 4, 3)
    arguments = (origin.expand(1, 8, 8, 3), rays_d[None], head.opacity[None], head.depth[None])
    before = surface_place(*arguments, warp)
    warp[..., 0] = 0.1
    moved = surface_place(*arguments, warp) - before
    assert torch.allclose(moved[0, 0, 3:5, 3:5], torch.full((2, 2), 0.2), atol=1e-3)
    assert float(moved[0, 1].abs().max()) < 1e-5


def eyed_detail(stages: int = 1) -> Detail:
    """Random pictures, with boxes for two eyes and a mouth."""
    boxes = ((6, 10, 16, 10), (34, 10, 16, 10), (14, 34, 30, 20))
    config = DetailConfig(
        texels=60, layers=1, boxes=boxes, opening=(0.1, 0.3), iris_reach=8.0, half_lids=stages
    )
    detail = Detail(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for part in detail.parameters():
            part.copy_(0.2 * torch.randn_like(part).bfloat16().float())
        for iris in detail.iris:
            # Smooth: the kernel's irises are interpolated twice.
            y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in iris.shape[1:]), indexing="ij")
            iris.copy_((1 - x**2 - y**2).clamp(min=0).expand(3, -1, -1) ** 2)
    return detail


def test_lids_and_lips_say_which_picture_is_seen():
    detail, neutral = eyed_detail(), torch.zeros(68, 3)
    offsets, eyes = torch.zeros(3, 68, 3), torch.tensor([[1.0, 0.1, 0, 0], [0.525, 1.2, 0, 0], [1, 1, 0, 0]])
    offsets[2, [61, 62, 63], 1] = 0.5
    mix = detail.mix(offsets, neutral, eyes)
    wanted = torch.tensor([[1.0, 0, 0, 0, 0], [0, 0.5, 0, 0, 0], [0, 0, 1, 0, 0]])
    assert torch.allclose(mix, wanted, atol=1e-6)
    (x, y, width, height) = detail.config.boxes[0]
    centers = (torch.arange(60) + 0.5) / 30 - 1
    place = torch.stack(torch.meshgrid(centers, centers, indexing="xy"))[None].expand(3, -1, -1, -1)
    with torch.no_grad():
        change = detail(place, 1, mix) - detail.texture
    assert torch.allclose(change[0, :, y : y + height, x : x + width], detail.other[0], atol=1e-4)
    # The other eye is open and has its iris.
    elsewhere = change[0].abs().sum() - detail.other[0].detach().abs().sum() - detail.iris[1].detach().sum()
    assert abs(float(elsewhere)) < 0.1


def test_irises_move_with_the_gaze_and_hide_under_lids():
    detail, neutral = eyed_detail(), torch.zeros(68, 3)
    eyes = torch.tensor([[1.0, 1, 0, 0], [1.0, 1, 0.25, 0.125], [0.1, 0.1, 0, 0]])
    mix = detail.mix(torch.zeros(3, 68, 3), neutral, eyes)
    centers = (torch.arange(60) + 0.5) / 30 - 1
    place = torch.stack(torch.meshgrid(centers, centers, indexing="xy"))[None].expand(3, -1, -1, -1)
    with torch.no_grad():
        straight, aside, shut = detail(place, 1, mix) - detail.texture
    # A quarter of a radian to the person's left is two texels to the right, an eighth up is one up.
    assert torch.allclose(aside[:, 10:19, 8:22], straight[:, 11:20, 6:20], atol=0.02)
    (x, y, width, height) = detail.config.boxes[1]
    assert torch.allclose(shut[:, y : y + height, x : x + width], detail.other[1], atol=1e-4)


def test_half_shut_lids_have_a_picture_of_their_own():
    detail, neutral = eyed_detail(), torch.zeros(68, 3)
    eyes = torch.tensor([[0.525, 0.525, 0, 0], [0.4125, 0.4125, 0, 0]])
    mix = detail.mix(torch.zeros(2, 68, 3), neutral, eyes)
    centers = (torch.arange(60) + 0.5) / 30 - 1
    place = torch.stack(torch.meshgrid(centers, centers, indexing="xy"))[None].expand(2, -1, -1, -1)
    x, y, width, height = detail.config.boxes[0]
    with torch.no_grad():
        half, nearly = (detail(place, 1, mix) - detail.texture)[..., y : y + height, x : x + width]
    assert torch.allclose(half, detail.halfway[0] + detail.iris[0] / 4, atol=1e-4)
    wanted = (detail.halfway[0] + detail.other[0]) / 2 + detail.iris[0] / 16
    assert torch.allclose(nearly, wanted, atol=1e-4)


def test_a_finished_mouth_has_no_combs_of_two_texels():
    detail = eyed_detail()
    with torch.no_grad():
        detail.other[2].copy_(((-1.0) ** torch.arange(30)).expand(3, 20, 30))
        rows = detail.other[2].clone()
        rows[:] = ((-1.0) ** torch.arange(20))[:, None]
    finished = first_layer(detail, 1.0).other[2].detach()
    assert float(finished[..., 4:-4].abs().max()) < 0.2
    # From top to bottom lips keep their edges.
    with torch.no_grad():
        detail.other[2].copy_(rows)
    assert torch.allclose(first_layer(detail, 1.0).other[2], rows, atol=1e-5)


def test_lids_go_from_stage_to_stage():
    detail, neutral = eyed_detail(3), torch.zeros(68, 3)
    # Three quarters, three eighths and one eighth of the way from open (.75) to shut (.3).
    openness = torch.tensor([0.4125, 0.58125, 0.69375])
    eyes = F.pad(openness[:, None].expand(-1, 2), (0, 2))
    mix = detail.mix(torch.zeros(3, 68, 3), neutral, eyes)
    centers = (torch.arange(60) + 0.5) / 30 - 1
    place = torch.stack(torch.meshgrid(centers, centers, indexing="xy"))[None].expand(3, -1, -1, -1)
    x, y, width, height = detail.config.boxes[1]
    with torch.no_grad():
        change = (detail(place, 1, mix) - detail.texture)[..., y : y + height, x : x + width]
        first, second, third = (detail.halfway[stage] for stage in (1, 3, 5))
        iris = detail.iris[1]
        wanted = [
            third + iris / 16,
            (first + second) / 2 + (5 / 8) ** 2 * iris,
            first / 2 + (7 / 8) ** 2 * iris,
        ]
    assert torch.allclose(change, torch.stack(wanted), atol=1e-4)


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_kernel_mixes_pictures_like_torch(isa, stages):
    detail, (height, width) = eyed_detail(stages), (12, 16)
    decoder = Decoder(DecoderConfig(width=16, depth=0, layers=1)).eval()
    origin, rays_d, head = looking_at_the_cube(height, width)
    warp, composite, code = torch.zeros(4, 4, 4, 3), torch.rand(18, height, width), torch.randn(32)
    composite[16] = head.opacity
    native = NativeDetail(detail)
    with torch.inference_mode():
        picture, gains = decoder(composite[None], code[None])
        decoded = NativeDecoder(decoder).decode(composite, code)
        place = surface_place(
            origin.expand(1, height, width, 3), rays_d[None], head.opacity[None], head.depth[None], warp[None]
        )
        # Mixed there and back: what one frame left must not stay in the next.
        for mix in ([0.0] * 5, [0.8, 0.3, 0.6, 1.0, 0.4], [0.0, 1.0, 0.0, -2.3, 0.5]):
            wanted = add_detail(picture, gains, detail(place, SCALE, torch.tensor([mix])))[0]
            result = native.enlarge(decoded, head, origin, rays_d, warp, torch.tensor(mix)).planes()
            assert float((result - wanted).abs().max()) < 0.02


def test_no_gain_shows_no_detail():
    detail, place = make_detail(), torch.rand(1, 2, 5, 6) * 2 - 1
    picture = torch.rand(1, 4, 10, 12)
    shown = add_detail(picture, torch.zeros(1, 2, 5, 6), detail(place, SCALE))
    assert torch.allclose(shown, F.interpolate(picture, (20, 24), mode="bilinear"), atol=1e-6)


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("size", [(13, 22), (3, 5), (1, 1)])
def test_kernel_equals_torch(isa, threads, layers, size):
    height, width = size
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(width=16, depth=1, layers=layers)).eval()
    detail = make_detail(layers)
    origin, rays_d, head = looking_at_the_cube(height, width)
    warp = 0.02 * torch.randn(5, 5, 5, 3)
    composite, code = torch.rand(18, height, width), torch.randn(32)
    composite[16] = head.opacity
    native = NativeDecoder(decoder)
    with torch.inference_mode():
        picture, gains = decoder(composite[None], code[None])
        decoded = native.decode(composite, code)
        result = NativeDetail(detail).enlarge(decoded, head, origin, rays_d, warp).planes()
        place = surface_place(
            origin.expand(1, height, width, 3), rays_d[None], head.opacity[None], head.depth[None], warp[None]
        )
        expected = add_detail(picture, gains, detail(place, SCALE))[0]
    assert result.shape == expected.shape == (4, 4 * height, 4 * width)
    assert float((result - expected).abs().max()) < (3e-2 if isa in ("avx512fp16", "amx") else 5e-3)


def test_kernel_lays_detail_on_the_torso_like_torch(isa, threads):
    height, width, top = 13, 10, 4
    torch.manual_seed(0)
    torso = Torso(TorsoConfig(plane=20, detail=48, detail_top=10)).eval()
    decoder = Decoder(DecoderConfig(width=16, depth=1, layers=1, torso=True)).eval()
    with torch.no_grad():
        torso.detail.copy_(0.3 * torch.randn_like(torso.detail).bfloat16().float())
        torso.bend[-1].weight.normal_(0, 0.2)
    detail, (origin, rays_d, head) = make_detail(1), looking_at_the_cube(height, width)
    pose, code, shoulders = torch.randn(1, 6), torch.randn(1, 32), 0.1 * torch.randn(1, 6)
    warp, composite = torch.zeros(4, 4, 4, 3), torch.rand(18, height, width)
    composite[16], composite[17, :top] = head.opacity, 0.0
    native = NativeDecoder(decoder)
    with torch.inference_mode():
        xy = picture_grid(height, width)[:, 2 * top :].contiguous()
        below = F.pad(torso(pose, code, shoulders, xy)[2], (0, 0, top, 0), mode="replicate")
        picture, gains = decoder(composite[None], code)
        on_head = surface_place(
            origin.expand(1, height, width, 3), rays_d[None], head.opacity[None], head.depth[None], warp[None]
        )
        both = torch.cat([detail(on_head, SCALE), torso.fine(below, SCALE)], 1)
        expected = add_detail(picture, gains, both)[0]
        without = add_detail(picture, gains[:, :1], both[:, :3])[0]
        taken = native.input(height, width)
        decoded = native.decode(composite, code[0])
        composer = NativeComposer(torso, height, width, top)
        out = torch.zeros(height + 6, width + 6, 32)
        composer.compose(head, bends(torso, pose, code, shoulders)[0], out)
        under = Under(taken, composer.place)
        laid = NativeDetail(detail, torso.fine_picture())
        result = laid.enlarge(decoded, head, origin, rays_d, warp, under=under).planes()
    close = 3e-2 if isa in ("avx512fp16", "amx") else 5e-3
    assert float((result - expected).abs().max()) < close
    assert float((expected - without).abs().max()) > 10 * close


def test_broken_numbers_stay_in_range(isa):
    decoder, detail = Decoder(DecoderConfig(width=16, depth=0)), make_detail()
    origin, rays_d, head = looking_at_the_cube(6, 6)
    head.depth[2, 3] = float("nan")
    rays_d[1, 1] = float("inf")
    decoded = NativeDecoder(decoder).decode(torch.rand(18, 6, 6), torch.zeros(32))
    warp = torch.full((3, 3, 3, 3), float("nan"))
    NativeDetail(detail).enlarge(decoded, head, origin, rays_d, warp)


def test_texture_pairs_and_the_coarse_one():
    detail = make_detail(layers=1, texels=8)
    pairs = packed_texture(detail.texture.detach()[0])
    assert pairs.shape == (8, 8, 2)
    halves = pairs.view(torch.int16).view(torch.bfloat16).view(8, 8, 4)[..., :3].permute(2, 0, 1).float()
    assert torch.allclose(halves, detail.texture[0], atol=2e-3)
    assert coarse(detail).texture.shape == (1, 3, 4, 4)
