"""Curves as a picture, without a plotting library: truth in black, ours in red, one strip per clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from emogene.io.files import atomic_path
from emogene.types import FPS, ByteArray, FloatArray

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


def curve_drawing(
    path: Path, strips: Mapping[str, tuple[FloatArray, FloatArray]], *, width: int = 800, height: int = 96
) -> None:
    """Write labelled strips (truth [T], ours [T]) as an SVG: a mark at every second, a scale for each."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height * len(strips)}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for row, (label, pair) in enumerate(strips.items()):
        low = min(0.0, *(float(curve.min()) for curve in pair))
        scale = (height - 26) / max(max(float(curve.max()) for curve in pair) - low, 1e-6)
        seconds = max(len(curve) for curve in pair) / FPS
        parts.append(f'<g transform="translate(0 {row * height})"><text x="4" y="13">{label}</text>')
        parts += [
            f'<path d="M{width * second / seconds:.1f} {height - 8}v5" stroke="#999"/>'
            for second in range(int(seconds) + 1)
        ]
        for curve, colour in zip(pair, (TRUE_RGB, OURS_RGB), strict=True):
            places = " ".join(
                f"{width * frame / FPS / seconds:.1f},{height - 8 - scale * (float(value) - low):.1f}"
                for frame, value in enumerate(curve)
            )
            parts.append(f'<polyline points="{places}" fill="none" stroke="rgb{colour}" stroke-width="1.4"/>')
        parts.append("</g>")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([*parts, "</svg>", ""]))


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
