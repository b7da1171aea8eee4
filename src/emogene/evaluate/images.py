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

from emogene.types import ByteArray

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
    return psnr_of(cropped(squared_error(image, reference), box))


def squared_error(image: ByteArray, reference: ByteArray) -> NDArray[np.int32]:
    """[H, W] squared difference, summed over the three channels."""
    difference = np.subtract(image, reference, dtype=np.int16).astype(np.int32)
    return np.asarray(np.einsum("hwc,hwc->hw", difference, difference))


def psnr_of(error: NDArray[np.int32]) -> float:
    """PSNR in dB of a map of squared errors summed over three channels."""
    mean = float(error.mean()) / (3 * 255.0**2)
    return math.inf if mean == 0 else -10.0 * math.log10(mean)


def ssim(image: ByteArray, reference: ByteArray, box: Box | None = None) -> float:
    """Structural similarity, 1 for equal pictures; at least 11 x 11 pixels are needed."""
    return float(ssim_map(cropped(image, box), cropped(reference, box)).mean())


def ssim_map(image: ByteArray, reference: ByteArray) -> NDArray[np.float32]:
    """[H - 10, W - 10, C] structural similarity around every pixel 5 or more from the border."""
    if min(image.shape[:2]) < 11:
        raise ValueError(f"ssim needs at least 11 x 11 pixels, not {image.shape[:2]}")
    a, b = image.astype(np.float32), reference.astype(np.float32)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _gaussian(a), _gaussian(b)
    means, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance = _gaussian(a * b) - means
    # Only the sum of the two variances is needed: one filter for both.
    variances = _gaussian(a * a + b * b) - squares
    similarity = (2 * means + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return np.asarray(similarity, np.float32)


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


def _gaussian(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Valid 11 x 11 Gaussian filter (sigma 1.5) of [H, W, C], as two passes."""
    kernel = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2)).astype(np.float32)
    kernel /= kernel.sum()
    try:
        # Fifty times faster than torch's convolution of single channels; it comes with the face tracker.
        import cv2
    except ImportError:
        from scipy.ndimage import correlate1d

        image = correlate1d(correlate1d(image, kernel, 0), kernel, 1)
    else:
        image = np.asarray(cv2.sepFilter2D(image, -1, kernel, kernel), np.float32).reshape(image.shape)
    return image[5:-5, 5:-5]
