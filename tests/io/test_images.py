from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emogene.errors import MediaError
from emogene.io.images import read_mask, read_rgb, resize, resize_mask, write_mask, write_rgb


def test_png_is_lossless_and_jpeg_close(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 40 * 30 * 3).reshape(30, 40, 3).astype(np.uint8)
    write_rgb(tmp_path / "a.png", ramp)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), ramp)
    write_rgb(tmp_path / "a.jpg", ramp)
    assert np.abs(read_rgb(tmp_path / "a.jpg").astype(int) - ramp).mean() < 3


def test_alpha_survives_png_only(tmp_path: Path) -> None:
    rgba = np.full((8, 8, 4), 90, np.uint8)
    write_rgb(tmp_path / "a.png", rgba)
    assert np.array(Image.open(tmp_path / "a.png")).shape == (8, 8, 4)
    write_rgb(tmp_path / "a.jpg", rgba)
    assert read_rgb(tmp_path / "a.jpg").shape == (8, 8, 3)


def test_masks_are_exact(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (20, 30)).astype(np.uint8)
    write_mask(tmp_path / "m.png", mask)
    assert np.array_equal(read_mask(tmp_path / "m.png"), mask)
    assert set(np.unique(resize_mask(mask, 77, 41))) <= {0, 1, 2}


def test_resize_averages() -> None:
    checker = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    small = resize(checker, 8, 16)
    assert small.shape == (16, 8, 3)
    assert np.abs(small.astype(int) - 128).max() < 20


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10))
    exif = Image.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_rgb(tmp_path / "a.jpg").shape == (20, 10, 3)


def test_bad_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match="not a picture"):
        read_rgb(tmp_path / "a.png")
    with pytest.raises(MediaError, match="absent"):
        read_rgb(tmp_path / "absent.png")
