"""Published metric networks with random weights of the published shapes; real weights are in no registry.

Values were compared once, by hand, with lpips, pytorch-fid and python_speech_features on equal random
weights (largest difference 1e-6). Here: names, shapes, and what holds whatever the weights are.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from emogene.errors import FormatError, UserError
from emogene.evaluate.nets.efficientnet import EMBEDDING
from emogene.evaluate.nets.i3d import I3d
from emogene.evaluate.nets.inception import FidInception
from emogene.evaluate.nets.lpips import LAYERS, Lpips
from emogene.evaluate.nets.syncnet import SyncNet, lse_of, mfcc, shift_distances, sound_windows
from emogene.evaluate.nets.weights import MetricWeights, read_weights
from emogene.io.tensors import save_arrays

Shapes = dict[str, tuple[int, ...]]


def with_norm(conv: str, norm: str, shape: tuple[int, ...]) -> Shapes:
    vectors = {f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    return {f"{conv}.weight": shape, **vectors}


def write(path: Path, shapes: Shapes) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes.items():
        fan = max(1, int(np.prod(shape[1:])))
        values = rng.normal(size=shape) / np.sqrt(fan) if len(shape) > 1 else np.ones(shape)
        arrays[name] = np.abs(values) if "lin" in name else values
    save_arrays(path, {name: array.astype(np.float32) for name, array in arrays.items()})
    return path


def alexnet() -> Shapes:
    sizes = {
        0: (64, 3, 11, 11),
        3: (192, 64, 5, 5),
        6: (384, 192, 3, 3),
        8: (256, 384, 3, 3),
        10: (256, 256, 3, 3),
    }
    return {f"features.{k}.weight": s for k, s in sizes.items()} | {
        f"features.{k}.bias": s[:1] for k, s in sizes.items()
    }


def test_lpips_is_zero_for_equal_pictures_and_grows_with_noise(tmp_path: Path) -> None:
    heads = {f"lin{k}.model.1.weight": (1, w, 1, 1) for k, w in enumerate((64, 192, 384, 256, 256))}
    net = Lpips(write(tmp_path / "alexnet.safetensors", alexnet()), write(tmp_path / "h.safetensors", heads))
    assert len(LAYERS) == 5
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        far = [float(net((image + level * noise).clamp(0, 1), image)) for level in (0, 0.05, 0.2)]
    assert far[0] == 0 and 0 < far[1] < far[2]


def inception() -> Shapes:
    shapes: Shapes = {}

    def conv(name: str, out: int, inputs: int, *size: int) -> int:
        kernel = size if len(size) == 2 else (size[0], size[0])
        shapes.update(with_norm(f"{name}.conv", f"{name}.bn", (out, inputs, *kernel)))
        return out

    stem = (("1a_3x3", 32, 3), ("2a_3x3", 32, 3), ("2b_3x3", 64, 3), ("3b_1x1", 80, 1), ("4a_3x3", 192, 3))
    at = 3
    for name, out, size in stem:
        at = conv(f"Conv2d_{name}", out, at, size)
    for block, pool in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        conv(f"{block}.branch5x5_2", 64, conv(f"{block}.branch5x5_1", 48, at, 1), 5)
        three = conv(f"{block}.branch3x3dbl_2", 96, conv(f"{block}.branch3x3dbl_1", 64, at, 1), 3)
        conv(f"{block}.branch3x3dbl_3", 96, three, 3)
        conv(f"{block}.branch1x1", 64, at, 1)
        at = 224 + conv(f"{block}.branch_pool", pool, at, 1)
    three = conv("Mixed_6a.branch3x3dbl_2", 96, conv("Mixed_6a.branch3x3dbl_1", 64, at, 1), 3)
    at += conv("Mixed_6a.branch3x3", 384, at, 3) + conv("Mixed_6a.branch3x3dbl_3", 96, three, 3)
    for block, c in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        seven = conv(f"{block}.branch7x7_2", c, conv(f"{block}.branch7x7_1", c, at, 1), 1, 7)
        conv(f"{block}.branch7x7_3", 192, seven, 7, 1)
        double = conv(f"{block}.branch7x7dbl_1", c, at, 1)
        for number, size, out in ((2, (7, 1), c), (3, (1, 7), c), (4, (7, 1), c), (5, (1, 7), 192)):
            double = conv(f"{block}.branch7x7dbl_{number}", out, double, *size)
        conv(f"{block}.branch1x1", 192, at, 1)
        conv(f"{block}.branch_pool", 192, at, 1)
    conv("Mixed_7a.branch3x3_2", 320, conv("Mixed_7a.branch3x3_1", 192, at, 1), 3)
    seven = conv("Mixed_7a.branch7x7x3_2", 192, conv("Mixed_7a.branch7x7x3_1", 192, at, 1), 1, 7)
    conv("Mixed_7a.branch7x7x3_4", 192, conv("Mixed_7a.branch7x7x3_3", 192, seven, 7, 1), 3)
    at = 1280
    for block in ("Mixed_7b", "Mixed_7c"):
        conv(f"{block}.branch1x1", 320, at, 1)
        conv(f"{block}.branch3x3_1", 384, at, 1)
        conv(f"{block}.branch3x3dbl_2", 384, conv(f"{block}.branch3x3dbl_1", 448, at, 1), 3)
        for branch in ("branch3x3_2", "branch3x3dbl_3"):
            conv(f"{block}.{branch}a", 384, 384, 1, 3)
            conv(f"{block}.{branch}b", 384, 384, 3, 1)
        conv(f"{block}.branch_pool", 192, at, 1)
        at = 2048
    return shapes


def test_fid_inception_gives_pool3_of_any_size(tmp_path: Path) -> None:
    net = FidInception(write(tmp_path / "pt_inception.safetensors", inception()))
    with torch.inference_mode():
        assert net.embed(torch.rand(1, 3, 40, 56)).shape == (1, 2048)


def i3d() -> Shapes:
    shapes: Shapes = {"logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,)}

    def unit(name: str, out: int, inputs: int, size: int) -> None:
        shapes.update(with_norm(f"{name}.conv3d", f"{name}.bn", (out, inputs, size, size, size)))

    unit("Conv3d_1a_7x7", 64, 3, 7)
    unit("Conv3d_2b_1x1", 64, 64, 1)
    unit("Conv3d_2c_3x3", 192, 64, 3)
    widths = {
        "3b": (192, 64, 96, 128, 16, 32, 32), "3c": (256, 128, 128, 192, 32, 96, 64),
        "4b": (480, 192, 96, 208, 16, 48, 64), "4c": (512, 160, 112, 224, 24, 64, 64),
        "4d": (512, 128, 128, 256, 24, 64, 64), "4e": (512, 112, 144, 288, 32, 64, 64),
        "4f": (528, 256, 160, 320, 32, 128, 128), "5b": (832, 256, 160, 320, 32, 128, 128),
        "5c": (832, 384, 192, 384, 48, 128, 128),
    }  # fmt: skip
    for name, (inputs, a, b, c, d, e, f) in widths.items():
        block = f"Mixed_{name}"
        for branch, out, source, size in (
            ("b0", a, inputs, 1), ("b1a", b, inputs, 1), ("b1b", c, b, 3), ("b2a", d, inputs, 1),
            ("b2b", e, d, 3), ("b3b", f, inputs, 1),
        ):  # fmt: skip
            unit(f"{block}.{branch}", out, source, size)
    return shapes


def test_i3d_gives_one_row_of_logits_per_clip(tmp_path: Path) -> None:
    net = I3d(write(tmp_path / "rgb_imagenet.safetensors", i3d()))
    with torch.inference_mode():
        assert net.embed(torch.rand(1, 3, 16, 224, 224)).shape == (1, 400)


def syncnet() -> Shapes:
    shapes: Shapes = {}
    audio = (
        (0, 64, 1, 3, 3),
        (4, 192, 64, 3, 3),
        (8, 384, 192, 3, 3),
        (11, 256, 384, 3, 3),
        (14, 256, 256, 3, 3),
    )
    lips = ((0, 96, 3, 5, 7, 7), (4, 256, 96, 1, 5, 5), (8, 256, 256, 1, 3, 3), (11, 256, 256, 1, 3, 3))
    for number, *shape in (*audio, (18, 512, 256, 5, 4)):
        shapes |= with_norm(f"netcnnaud.{number}", f"netcnnaud.{number + 1}", tuple(shape))
    for number, *shape in (*lips, (14, 256, 256, 1, 3, 3), (18, 512, 256, 1, 6, 6)):
        shapes |= with_norm(f"netcnnlip.{number}", f"netcnnlip.{number + 1}", tuple(shape))
    for head in ("netfcaud", "netfclip"):
        shapes |= with_norm(f"{head}.0", f"{head}.1", (512, 512))
        shapes |= {f"{head}.3.weight": (1024, 512), f"{head}.3.bias": (1024,)}
    return shapes


def test_syncnet_embeds_lips_and_sound_into_one_space(tmp_path: Path) -> None:
    net = SyncNet(write(tmp_path / "syncnet_v2.safetensors", syncnet()))
    coefficients = mfcc(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32))
    assert coefficients.shape == (99, 13)
    assert net.sound(sound_windows(coefficients, 2)).shape == (2, 1024)
    assert net.lips(255 * torch.rand(1, 3, 5, 224, 224)).shape == (1, 1024)


def test_lse_finds_a_known_shift() -> None:
    sound = torch.randn(60, 16, generator=torch.Generator().manual_seed(0))
    # The lips of frame t show what is heard in frame t - 3: they come late.
    lips = sound.roll(3, 0)
    distance, confidence, offset = lse_of(shift_distances(lips, sound).mean(1))
    assert offset == 3 and confidence > 2 and distance < confidence


def test_weights_are_found_by_their_published_names(tmp_path: Path) -> None:
    weights = MetricWeights(tmp_path)
    assert weights.find("lpips") is None and "alexnet" in weights.missing("lpips")
    (tmp_path / "alexnet-owt-7be5be79.pth").touch()
    found = weights.find("lpips")
    assert found is not None and found.suffix == ".pth"
    with pytest.raises(FormatError):
        read_weights(found)
    with pytest.raises(UserError, match="not a folder"):
        MetricWeights(tmp_path / "nowhere")


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "syncnet.safetensors", alexnet())
    with pytest.raises(FormatError, match="another network"):
        SyncNet(path).lips(torch.zeros(1, 3, 5, 224, 224))


@pytest.mark.parametrize("as_zip", [True, False])
def test_both_kinds_of_torch_files_are_read(tmp_path: Path, as_zip: bool) -> None:
    path = tmp_path / "w.pth"
    state = {"a.weight": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor([1, 2])}
    save = getattr(torch, "save")  # noqa: B009
    save(state, path, _use_new_zipfile_serialization=as_zip)
    found = read_weights(path)
    assert torch.equal(found["a.weight"], state["a.weight"]) and found["b"].tolist() == [1, 2]


def test_the_embedding_is_what_the_docs_say() -> None:
    assert EMBEDDING == 320
