"""The decoder in the kernels against the decoder in torch, and painted pictures against plain arithmetic."""

import numpy as np
import pytest
import torch

from emogene.render.convolve import Decoded, NativeDecoder, paint
from emogene.render.decoder import Decoder, DecoderConfig


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
            expected = decoder(composite[None], code[None], 1.0)[0]
            result = native.decode(composite, code, 1.0).planes()
        assert result.shape == expected.shape
        assert float((result - expected).abs().max()) < 1e-4, size


def test_threads_do_not_change_pixels(isa):
    native = NativeDecoder(make_decoder())
    composite, code = torch.rand(18, 30, 30), torch.zeros(32)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(native.decode(composite, code).planes().clone())
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])


def test_too_wide_is_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        NativeDecoder(make_decoder(width=24, depth=1))


def make_decoded(height: int, width: int) -> Decoded:
    generator = torch.Generator().manual_seed(2)
    pixels = 1.4 * torch.rand(height + 3, width + 2, 64, generator=generator) - 0.2
    pixels[1, 1] = float("nan")
    return Decoded(pixels, height, width)


def plain_picture(decoded: Decoded, clear: float, background: np.ndarray | None) -> np.ndarray:
    planes = decoded.planes().numpy()
    alpha = np.clip((planes[3] - clear) / (1 - 2 * clear), 0, 1)
    colour = np.minimum(planes[:3], alpha)
    if background is not None:
        mixed = colour * 255 + (1 - alpha) * background.transpose(2, 0, 1)
        return np.clip(mixed + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    straight = np.concatenate([colour / np.maximum(alpha, 1 / 64), alpha[None]])
    return np.clip(straight * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_paint_equals_plain_arithmetic(isa):
    decoded = make_decoded(5, 7)
    full = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    place = (slice(8, 28), slice(4, 32))
    finite = np.ones((20, 28), bool)
    finite[:4, :4] = False
    for background in (full, None):
        picture = paint(decoded, (2, 1), (32, 40), 0.02, background)
        expected = plain_picture(decoded, 0.02, None if background is None else full[place])
        difference = np.abs(picture[place].astype(int) - expected)[finite]
        assert difference.max() <= 1
        outside = np.ones((32, 40), bool)
        outside[place] = False
        assert np.array_equal(
            picture[outside], full[outside] if background is not None else picture[outside] * 0
        )
