"""The decoder in the kernels against the decoder in torch."""

import pytest
import torch

from emogene.render.compose import cover, cover_mask
from emogene.render.convolve import NativeDecoder
from emogene.render.decoder import SHUFFLE, Decoder, DecoderConfig


def make_decoder(width: int = 48, depth: int = 2) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(width=width, depth=depth)).eval()
    with torch.no_grad():
        decoder.modulate.weight.normal_(0, 0.05)
        decoder.leave.bias.normal_(0, 0.1)
    return decoder


@pytest.mark.parametrize("width, depth", [(16, 0), (48, 2), (64, 3), (80, 1)])
def test_decoder_equals_torch(isa, width, depth):
    decoder = make_decoder(width, depth)
    native = NativeDecoder(decoder)
    generator = torch.Generator().manual_seed(1)
    for size in [(21, 34), (3, 5), (4, 4), (22, 33), (1, 1)]:
        composite = torch.rand(18, *size, generator=generator)
        code = torch.randn(32, generator=generator)
        with torch.inference_mode():
            expected = decoder(composite[None], code[None], 1.0)[0][0]
            result = native.decode(composite, code, 1.0).planes(SHUFFLE)[:4]
        assert result.shape == expected.shape
        assert float((result - expected).abs().max()) < (3e-2 if isa in HALF else 1e-4), size
        assert float((result - expected).square().mean().sqrt()) < (2e-3 if isa in HALF else 1e-5), size


def test_what_fills_the_picture_is_solid_to_its_border(isa):
    """A fresh decoder interpolates; shoulders leave the picture at its sides and below."""
    decoder = Decoder(DecoderConfig(width=48, depth=2)).eval()
    composite = torch.zeros(18, 20, 24)
    composite[:3], composite[17] = 0.4, 1.0
    with torch.inference_mode():
        expected = decoder(composite[None], torch.zeros(1, 32))[0][0]
        result = NativeDecoder(decoder).decode(composite, torch.zeros(32)).planes(SHUFFLE)[:4]
    for picture in (expected, result):
        border = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], 1)
        inside = picture[:, 6:-6, 6:-6].mean((1, 2))
        assert float((border - inside[:, None]).abs().max()) < 0.05


def test_threads_do_not_change_pixels(isa):
    native = NativeDecoder(make_decoder())
    composite, code = torch.rand(18, 30, 30), torch.zeros(32)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(native.decode(composite, code).planes(SHUFFLE).clone())
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])


def test_too_wide_is_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        NativeDecoder(make_decoder(width=24, depth=1))


HALF = {"avx512fp16", "amx"}
"""Instruction sets that decode in half precision."""


def random_picture(native: NativeDecoder, height: int, width: int, seed: int = 3) -> torch.Tensor:
    """The decoder's input, filled: two people-shaped spots, nothing elsewhere."""
    picture = native.input(height, width)
    inner = picture[1 : 1 + height, 1 : 1 + width, :18]
    inner[:] = torch.rand(height, width, 18, generator=torch.Generator().manual_seed(seed))
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = ((y - 9) ** 2 + (x - 8) ** 2 < 30) | (y > height - 2) & (x > width - 3)
    inner *= inside[..., None]
    return picture


@pytest.mark.parametrize("size", [(40, 37), (5, 3), (16, 64)])
def test_cover_equals_its_twin(size):
    native = NativeDecoder(make_decoder())
    picture = random_picture(native, *size)
    where = cover(picture, *size, 1 / 512)
    alphas = picture[1 : 1 + size[0], 1 : 1 + size[1], 16:18].sum(-1)
    twin = cover_mask(alphas > 1 / 512)
    columns = -(-size[1] // 4)
    marked = torch.zeros(-(-size[0] // 4) * columns)
    marked[where.made.long()] = 1
    pixels = marked.view(-1, columns).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert torch.equal(pixels[: size[0], : size[1]] > 0, twin)
    assert set(where.made.tolist()) <= set(where.hidden.tolist())
    assert not set(where.ring.tolist()) & set(where.hidden.tolist())


@pytest.mark.parametrize("depth", [0, 3])
def test_covered_cells_are_decoded_as_if_all_were(isa, depth):
    size = (40, 37)
    decoder = make_decoder(depth=depth)
    native, code = NativeDecoder(decoder), torch.zeros(32)
    picture = random_picture(native, *size)
    composite = picture[1 : 1 + size[0], 1 : 1 + size[1], :18].permute(2, 0, 1).clone()
    where = cover(picture, *size, 1 / 512)
    assert 0 < len(where.made) < len(where.hidden) < 100
    result = native.run(*size, code, 0.0, where).planes(SHUFFLE)[:4]
    with torch.inference_mode():
        expected = decoder(composite[None], code[None])[0][0]
    made = cover_mask(composite[-2:].sum(0) > 1 / 512)
    made = made.repeat_interleave(SHUFFLE, 0).repeat_interleave(SHUFFLE, 1)
    assert float((result - expected)[:, made].abs().max()) < (3e-2 if isa in HALF else 1e-4)
    assert float(result[:, ~made].abs().max()) == 0.0


def test_a_frame_does_not_depend_on_the_one_before(isa):
    size = (40, 37)
    native, code = NativeDecoder(make_decoder(depth=3)), torch.zeros(32)
    results = []
    for _ in range(2):
        where = cover(random_picture(native, *size), *size, 1 / 512)
        results.append(native.run(*size, code, 0.0, where).planes(SHUFFLE).clone())
        native.decode(torch.rand(18, *size), code)
    assert torch.equal(results[0], results[1])
