import numpy as np
import pytest

from emogene.errors import AssetError
from emogene.evaluate import vmaf


def test_vmaf_falls_with_noise() -> None:
    try:
        vmaf.ffmpeg_with_vmaf()
    except AssetError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    smooth = np.tile(np.linspace(30, 220, 96, dtype=np.uint8)[None, :, None], (97, 1, 3))
    scores = []
    for level in (0, 8, 30):
        meter = vmaf.Vmaf()
        for _ in range(3):
            noise = rng.integers(-level, level + 1, smooth.shape)
            meter.add(np.clip(smooth + noise, 0, 255).astype(np.uint8), smooth)
        scores.append(meter.score())
    assert scores[0] > scores[1] > scores[2] >= 0


def test_the_way_to_yuv_hardly_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        vmaf.ffmpeg_with_vmaf()
    except AssetError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (12, 16, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    noisy = np.clip(picture + rng.normal(0, 9, picture.shape), 0, 255).astype(np.uint8)
    scores = []
    for planar in (True, False):
        meter = vmaf.Vmaf()
        monkeypatch.setattr(meter, "_planar", planar)
        for _ in range(3):
            meter.add(noisy, picture)
        scores.append(meter.score())
    assert scores[0] == pytest.approx(scores[1], abs=0.5) and 1 < scores[0] < 99


def test_without_libvmaf_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    vmaf.ffmpeg_with_vmaf.cache_clear()
    monkeypatch.setattr(vmaf, "_candidates", lambda: ["no-such-ffmpeg"])
    with pytest.raises(AssetError, match="imageio-ffmpeg"):
        vmaf.ffmpeg_with_vmaf()
    vmaf.ffmpeg_with_vmaf.cache_clear()
