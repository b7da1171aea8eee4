"""Curves as a picture, without a plotting library: truth in black, ours in red, one strip per clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emogene.types import ByteArray, FloatArray

TRUE_RGB, OURS_RGB, ZERO_RGB = (20, 20, 20), (214, 39, 40), (215, 215, 215)


def curve_sheet(
    strips: Sequence[tuple[FloatArray, FloatArray]], *, width: int = 900, height: int = 120
) -> ByteArray:
    """Draw pairs of curves (truth [T], ours [T]) one below the other on one scale, [N height, width, 3].

    The grey line is zero (lips shut, for openings).
    """
    sheet = np.full((height * len(strips), width, 3), 255, np.uint8)
    low = min(0.0, *(float(min(a.min(), b.min())) for a, b in strips))
    high = max(float(max(a.max(), b.max())) for a, b in strips)
    span = max(high - low, 1e-6)
    for index, (true, ours) in enumerate(strips):
        strip = sheet[index * height : (index + 1) * height]
        strip[-1] = ZERO_RGB
        for curve, colour in ((np.zeros(2, np.float32), ZERO_RGB), (true, TRUE_RGB), (ours, OURS_RGB)):
            rows = 6 + (height - 14) * (1 - (curve - low) / span)
            _draw(strip, rows, colour)
    return sheet


def _draw(strip: ByteArray, rows: FloatArray, colour: tuple[int, int, int]) -> None:
    """A line two pixels wide through ``rows``, spread over the strip's width."""
    height, width = strip.shape[:2]
    columns = np.arange(width)
    y = np.interp(columns, np.linspace(0, width - 1, len(rows)), rows)
    # Steep parts are filled from one column's height to the next, so that the line does not break up.
    before = np.concatenate([y[:1], y[:-1]])
    top, bottom = np.minimum(before, y) - 0.5, np.maximum(before, y) + 1.5
    grid = np.arange(height)[:, None]
    inside = (grid >= np.floor(top)) & (grid < np.ceil(bottom))
    strip[inside] = colour
