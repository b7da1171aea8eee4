"""Picture metrics: PSNR, SSIM, sharpness and flicker of frames against frames of the same size.

Frames are uint8 rgb [H, W, 3]; a box is (x0, y0, x1, y1) in pixels. Definitions follow the field:
PSNR per frame, then the mean (RAD-NeRF, ER-NeRF); SSIM of Wang et al. 2004 with an 11 x 11 Gaussian of
sigma 1.5 and data range 255, mean over pixels and channels.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from emogene.types import ByteArray

Box = tuple[int, int, int, int]


def cropped(image: ByteArray, box: Box | None) -> ByteArray:
    """The part of a picture inside the box, clipped to the picture."""
    if box is None:
        return image
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    return image[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]


def psnr(image: ByteArray, reference: ByteArray, box: Box | None = None) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    difference = cropped(image, box).astype(np.float32) - cropped(reference, box).astype(np.float32)
    error = float(np.mean(difference**2)) / 255.0**2
    return math.inf if error == 0 else -10.0 * math.log10(error)


def ssim(image: ByteArray, reference: ByteArray, box: Box | None = None) -> float:
    """Structural similarity, 1 for equal pictures; at least 11 x 11 pixels are needed."""
    a, b = (
        torch.from_numpy(np.ascontiguousarray(cropped(picture, box))).permute(2, 0, 1)[:, None].float()
        for picture in (image, reference)
    )
    if min(a.shape[-2:]) < 11:
        raise ValueError(f"ssim needs at least 11 x 11 pixels, not {tuple(a.shape[-2:])}")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    stack = torch.cat([a, b, a * a, b * b, a * b], dim=0)
    mean_a, mean_b, aa, bb, ab = _gaussian(stack).chunk(5, dim=0)
    variance_a, variance_b = aa - mean_a**2, bb - mean_b**2
    covariance = ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return float((luminance * structure).mean())


def sharpness(image: ByteArray, box: Box | None = None) -> float:
    """Laplacian energy: variance of the 4-neighbour Laplacian of the grey picture.

    Report it relative to the real frame: below 1 is blurred, above 1 is over-sharpened or noisy.
    """
    grey = cropped(image, box).astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4.0 * grey[1:-1, 1:-1]
    return float(laplacian.var())


def flicker(frames: list[ByteArray], reference: list[ByteArray] | None = None) -> float:
    """Mean absolute change between successive frames, minus the reference's where it is given.

    Grey levels (0..255) per pixel and frame. Take boxes where nothing should move for a codec-noise floor.
    """

    def change(pictures: list[ByteArray]) -> float:
        steps = [
            np.abs(after.astype(np.int16) - before).mean() for before, after in itertools.pairwise(pictures)
        ]
        return float(np.mean(steps)) if steps else 0.0

    return change(frames) - (change(reference) if reference is not None else 0.0)


def _gaussian(planes: torch.Tensor) -> torch.Tensor:
    """Valid 11 x 11 Gaussian filter (sigma 1.5) of [P, 1, H, W], as two passes."""
    offsets = torch.arange(11, dtype=torch.float32) - 5
    kernel = torch.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()
    rows = F.conv2d(planes, kernel.view(1, 1, 1, 11))
    return F.conv2d(rows, kernel.view(1, 1, 11, 1))
