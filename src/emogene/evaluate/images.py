"""Picture metrics: PSNR, SSIM, sharpness and flicker of frames against frames of the same size.

Frames are uint8 rgb [H, W, 3]; a box is (x0, y0, x1, y1) in pixels. Definitions follow the field:
PSNR per frame, then the mean (RAD-NeRF, ER-NeRF); SSIM of Wang et al. 2004 with an 11 x 11 Gaussian of
sigma 1.5 and data range 255, mean over pixels and channels.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from emogene.types import ByteArray, FloatArray

SSIM_WINDOW = 11
SSIM_STRIP = 54
"""Rows of the result that are computed at once."""
Box = tuple[int, int, int, int]
Number = TypeVar("Number", bound=np.generic)


def cropped(image: NDArray[Number], box: Box | None) -> NDArray[Number]:
    """The part of a picture inside the box, clipped to the picture."""
    if box is None:
        return image
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    return image[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]


def psnr(image: ByteArray, reference: ByteArray, box: Box | None = None) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    return psnr_of(squared_error(cropped(image, box), cropped(reference, box)))


def squared_error(image: ByteArray, reference: ByteArray) -> FloatArray:
    """[H, W] squared difference summed over channels; whole numbers below 2^24, so exact."""
    difference = image.astype(np.float32) - reference.astype(np.float32)
    return np.asarray(np.multiply(difference, difference, out=difference).sum(2), np.float32)


def psnr_of(error: FloatArray) -> float:
    """PSNR in dB of a map of squared errors summed over three channels."""
    mean = float(error.mean(dtype=np.float64)) / (3 * 255.0**2)
    return math.inf if mean == 0 else -10.0 * math.log10(mean)


def ssim(image: ByteArray, reference: ByteArray, box: Box | None = None) -> float:
    """Structural similarity, 1 for equal pictures; at least 11 x 11 pixels are needed."""
    _, similarity = picture_maps(cropped(image, box), cropped(reference, box))
    if similarity is None:
        raise ValueError(f"ssim needs at least 11 x 11 pixels, not {cropped(image, box).shape[:2]}")
    return float(similarity.mean(dtype=np.float64))


def picture_maps(image: ByteArray, reference: ByteArray) -> tuple[FloatArray, FloatArray | None]:
    """``squared_error``, and SSIM around every pixel 5 or more from the border, [H - 10, W - 10, C].

    SSIM is None where the picture is too small for its window. Both come from s = a + b and d = a - b: four
    Gaussian filters instead of five, as 2 ab = (s^2 - d^2) / 2 and a^2 + b^2 = (s^2 + d^2) / 2. They are
    computed in strips of rows that stay in cache, which is twice as fast as whole pictures.
    """
    height, width, channels = image.shape
    if min(height, width) < SSIM_WINDOW:
        return squared_error(image, reference), None
    error = np.empty((height, width), np.float32)
    similarity = np.empty((height - 10, width - 10, channels), np.float32)
    work = np.empty((8, min(SSIM_STRIP + 10, height), width, channels), np.float32)
    for top in range(0, height - 10, SSIM_STRIP):
        rows = slice(top, min(top + SSIM_STRIP + 10, height))
        inner = slice(top, rows.stop - 10)
        _strip(image[rows], reference[rows], work[:, : rows.stop - top], error[rows], similarity[inner])
    return error, similarity


def _strip(
    image: ByteArray, reference: ByteArray, work: FloatArray, error: FloatArray, similarity: FloatArray
) -> None:
    """Squared error and SSIM of a strip of rows; ``work`` is overwritten."""
    # The differences' sums double both sides of every term.
    c1, c2 = 2 * (0.01 * 255) ** 2, 2 * (0.03 * 255) ** 2
    s, d, ss, dd, mean_s, mean_d, var_s, var_d = work
    s[:], dd[:] = image, reference
    np.subtract(s, dd, out=d)
    s += dd
    # Around grey, so that float32 keeps small variances.
    s -= 255
    np.multiply(s, s, out=ss)
    np.multiply(d, d, out=dd)
    np.matmul(dd, np.ones(dd.shape[2], np.float32), out=error)
    for source, smooth in ((s, mean_s), (d, mean_d), (ss, var_s), (dd, var_d)):
        _gaussian(source, smooth)
    mean_s, mean_d, var_s, var_d, ss, dd = (array[5:-5] for array in (mean_s, mean_d, var_s, var_d, ss, dd))
    var_s -= np.multiply(mean_s, mean_s, out=ss)
    var_d -= np.multiply(mean_d, mean_d, out=dd)
    mean_s += 255
    np.multiply(mean_s, mean_s, out=ss)
    ss += c1
    var_s += c2
    above = np.multiply(np.subtract(ss, dd, out=mean_s), np.subtract(var_s, var_d, out=mean_d), out=mean_s)
    ss += dd
    var_s += var_d
    ss *= var_s
    np.divide(above[:, 5:-5], ss[:, 5:-5], out=similarity)


def sharpness(image: ByteArray, box: Box | None = None) -> float:
    """Laplacian energy: variance of the 4-neighbour Laplacian of the grey picture.

    Report it relative to the real frame: below 1 is blurred, above 1 is over-sharpened or noisy.
    """
    grey = cropped(image, box).astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4.0 * grey[1:-1, 1:-1]
    return float(laplacian.var())


class Flicker:
    """Mean absolute change between successive frames, grey levels (0..255) per pixel, fed frame by frame."""

    def __init__(self) -> None:
        self._before: ByteArray | None = None
        self._total, self._count = 0.0, 0

    def add(self, image: ByteArray) -> None:
        """Take the next frame; a frame of another size starts a new sequence."""
        if self._before is not None and self._before.shape == image.shape:
            change = np.subtract(image, self._before, dtype=np.int16)
            self._total += float(np.abs(change, out=change).mean(dtype=np.float64))
            self._count += 1
        self._before = image

    @property
    def value(self) -> float:
        return self._total / self._count if self._count else 0.0


def flicker(frames: list[ByteArray], reference: list[ByteArray] | None = None) -> float:
    """Mean absolute change between successive frames, minus the reference's where it is given.

    Take boxes where nothing should move for a codec-noise floor.
    """

    def change(pictures: list[ByteArray]) -> float:
        meter = Flicker()
        for picture in pictures:
            meter.add(picture)
        return meter.value

    return change(frames) - (change(reference) if reference is not None else 0.0)


def _gaussian(image: FloatArray, out: FloatArray) -> None:
    """11 x 11 Gaussian (sigma 1.5) of [H, W, C], as two passes; right 5 and more from the border."""
    kernel = np.exp(-((np.arange(SSIM_WINDOW) - 5.0) ** 2) / (2 * 1.5**2)).astype(np.float32)
    kernel /= kernel.sum()
    try:
        # Fifty times faster than torch's convolution of single channels; it comes with the face tracker.
        import cv2
    except ImportError:
        from scipy.ndimage import correlate1d

        correlate1d(correlate1d(image, kernel, 0), kernel, 1, output=out)
    else:
        if image.shape[2] == 1:
            image, out = image[..., 0], out[..., 0]
        cv2.sepFilter2D(image, -1, kernel, kernel, out)
