"""Our picture metrics against independent ones: scikit-image, and the filters of the ffmpeg inside PyAV."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from emogene.evaluate.images import psnr, ssim

PAIRS = ("equal", "noise", "blur", "shift", "contrast")


def smooth(image: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        image = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] + image) / 5
    return image


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Something with edges, shades and texture, like a face: [120, 150, 3]."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:120, 0:150]
    shades = 120 + 60 * np.sin(x / 17)[..., None] * [1, 0.8, 0.6] + 40 * np.cos(y / 23)[..., None]
    image = shades + 30 * (((x - 75) ** 2 + (y - 60) ** 2) < 900)[..., None]
    return np.clip(image + smooth(rng.normal(0, 40, image.shape), 2), 0, 255).astype(np.uint8)


def degraded(picture: np.ndarray, kind: str) -> np.ndarray:
    image = picture.astype(float)
    rng = np.random.default_rng(1)
    changed = {
        "equal": lambda: image,
        "noise": lambda: image + rng.normal(0, 12, image.shape),
        "blur": lambda: smooth(image, 4),
        "shift": lambda: np.roll(image, 2, axis=1),
        "contrast": lambda: 0.7 * (image - 128) + 128,
    }[kind]()
    return np.clip(np.round(changed), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", PAIRS)
def test_scikit_image_gives_the_same_values(picture: np.ndarray, kind: str) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    other = degraded(picture, kind)
    theirs = metrics.structural_similarity(
        picture,
        other,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
    )
    assert ssim(other, picture) == pytest.approx(theirs, abs=2e-5)
    if kind != "equal":
        assert psnr(other, picture) == pytest.approx(
            metrics.peak_signal_noise_ratio(picture, other, data_range=255), abs=1e-6
        )


def filtered(name: str, image: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """What an ffmpeg filter says of a pair of rgb pictures."""
    av = pytest.importorskip("av")
    if name not in av.filter.filters_available:
        pytest.skip(f"PyAV's ffmpeg has no {name} filter")
    height, width = image.shape[:2]
    size = f"video_size={width}x{height}:pix_fmt=gbrp:time_base=1/25:pixel_aspect=1/1"
    graph = av.filter.Graph()
    sources = [graph.add("buffer", name=label, args=size) for label in ("first", "second")]
    judge, sink = graph.add(name), graph.add("buffersink")
    for number, source in enumerate(sources):
        source.link_to(judge, 0, number)
    judge.link_to(sink)
    graph.configure()
    for source, array in zip(sources, (image, reference), strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24").reformat(
            format="gbrp"
        )
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        source.push(frame)
        source.push(None)
    return {key: float(value) for key, value in sink.pull().metadata.items() if value[0].isdigit()}


@pytest.mark.parametrize("kind", PAIRS[1:])
def test_ffmpegs_psnr_is_ours(picture: np.ndarray, kind: str) -> None:
    other = degraded(picture, kind)
    found = filtered("psnr", other, picture)
    assert found["lavfi.psnr.psnr_avg"] == pytest.approx(psnr(other, picture), abs=0.01)


def test_ffmpegs_ssim_ranks_as_ours(picture: np.ndarray) -> None:
    """Its windows are 8 x 8 and flat, ours 11 x 11 and Gaussian: near, and in the same order."""
    found = {kind: filtered("ssim", degraded(picture, kind), picture)["lavfi.ssim.All"] for kind in PAIRS}
    ours = {kind: ssim(degraded(picture, kind), picture) for kind in PAIRS}
    assert sorted(PAIRS, key=found.__getitem__) == sorted(PAIRS, key=ours.__getitem__)
    assert all(abs(found[kind] - ours[kind]) < 0.08 for kind in PAIRS), (found, ours)


def test_without_opencv_ssim_is_the_same(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    other = degraded(picture, "noise")
    fast = ssim(other, picture)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert ssim(other, picture) == pytest.approx(fast, abs=1e-5)
