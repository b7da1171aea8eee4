"""Head and torso laid together by the kernel against the same in torch."""

import pytest
import torch
import torch.nn.functional as F

from emogene.render.compose import Bend, NativeComposer, bends
from emogene.render.model import layered
from emogene.render.torso import Torso, TorsoConfig, picture_grid
from emogene.render.volume import RayOutput


def make_torso() -> Torso:
    torch.manual_seed(0)
    torso = Torso(TorsoConfig(plane=37, detail=32)).eval()
    with torch.no_grad():
        torso.plane.normal_(0, 1)
        for layer in torso.bend:
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(3)
        torso.bend[-1].weight.normal_(0, 0.5)
        torso.shade.weight.normal_(0, 0.3)
        torso.leave.weight.normal_(0, 0.4)
    return torso


def make_head(height: int, width: int) -> RayOutput:
    generator = torch.Generator().manual_seed(1)
    opacity = torch.rand(height, width, generator=generator).round(decimals=1)
    channels = torch.randn(height, width, 16, generator=generator) * opacity[..., None]
    return RayOutput(channels, opacity, opacity, opacity)


@pytest.mark.parametrize("size, top", [((24, 40), 5), ((33, 17), 0), ((3, 2), 2)])
def test_composite_equals_torch(isa, threads, size, top):
    torso, head = make_torso(), make_head(*size)
    pose, code, shoulders = torch.randn(1, 6), torch.randn(1, 32), 0.1 * torch.randn(1, 6)
    height, width = size
    with torch.inference_mode():
        xy = picture_grid(height, width)[:, 2 * top :].contiguous()
        channels, alpha, place = torso(pose, code, shoulders, xy)
        below, behind = F.pad(channels, (0, 0, top, 0)), F.pad(alpha, (0, 0, top, 0))
        expected = layered(head.channels.permute(2, 0, 1)[None], head.opacity[None, None], below, behind)[0]
        out = torch.full((height + 5, width + 3, 32), 7.0)
        composer = NativeComposer(torso, height, width, top)
        composer.compose(head, bends(torso, pose, code, shoulders)[0], out)
        place = place[0]
    assert composer.place is not None
    kept = composer.place.view(height, width, 2).permute(2, 0, 1)
    assert torch.allclose(kept[:, top:], place, atol=1e-4)
    # Pixels of the first row with torso look at the one above, too.
    assert top == 0 or torch.allclose(kept[:, top - 1], place[:, 0], atol=1e-4)
    result = out[1 : 1 + height, 1 : 1 + width, :18].permute(2, 0, 1)
    assert float((result - expected).abs().max()) < 2e-4
    untouched = out.clone()
    untouched[1 : 1 + height, 1 : 1 + width, :18] = 7.0
    assert float((untouched - 7.0).abs().max()) == 0.0


def test_broken_numbers_stay_in_their_pixel(isa):
    torso, head = make_torso(), make_head(8, 8)
    with torch.no_grad():
        bend = bends(torso, torch.zeros(1, 6), torch.zeros(1, 32), torch.zeros(1, 6))[0]
    out, clean = torch.zeros(2, 10, 10, 32)
    composer = NativeComposer(torso, 8, 8, 0)
    composer.compose(head, bend, clean)
    head.channels[2, 3] = float("nan")
    composer.compose(head, bend, out)
    different = (out != clean).any(-1).nonzero().tolist()
    assert different == [[3, 4]]
    broken = torch.full((2, 12, 12), float("nan"))
    composer.compose(head, Bend(broken, bend.shade, torch.full((6,), float("nan"))), out)


def test_other_sizes_are_refused():
    torso = Torso(TorsoConfig(plane=24, knots=4, hidden=8))
    assert not NativeComposer.available(torso)
    with pytest.raises(ValueError, match="kernel takes"):
        NativeComposer(torso, 8, 8, 0)
