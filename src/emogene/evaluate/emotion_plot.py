"""The displacement field of each emotion as a picture: 68 points before and after, one SVG sheet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from emogene.io.files import atomic_path
from emogene.types import FloatArray

_OPEN = (range(0, 17), range(17, 22), range(22, 27), range(27, 31), range(31, 36))
_CLOSED = (range(36, 42), range(42, 48), range(48, 60), range(60, 68))
_CELL_PX = 200
_SCALE_PX = 88
_COLUMNS = 4


def displacement_sheet(path: Path, neutral_cano: FloatArray, faces_cano: Mapping[str, FloatArray]) -> None:
    """Write a sheet of faces [68, 3], each over the neutral one, with the way of every point.

    Args:
        path: the .svg to write.
        neutral_cano: the face without emotion.
        faces_cano: label -> the face with it.
    """
    rows = -(-len(faces_cano) // _COLUMNS)
    size = f'width="{_COLUMNS * _CELL_PX}" height="{rows * _CELL_PX}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">']
    parts.append('<rect width="100%" height="100%" fill="white"/>')
    for index, (label, face) in enumerate(faces_cano.items()):
        left, top = index % _COLUMNS * _CELL_PX, index // _COLUMNS * _CELL_PX
        parts.append(f'<g transform="translate({left + _CELL_PX / 2:.0f} {top + 72})">')
        parts.append(f'<text x="{-_CELL_PX / 2 + 8:.0f}" y="-56">{label}</text>')
        parts.append(_outline(neutral_cano, "#bbbbbb"))
        parts += [_way(before, after) for before, after in zip(neutral_cano, face, strict=True)]
        parts.append(_outline(face, "#a02020"))
        parts.append("</g>")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([*parts, "</svg>", ""]))


def _place(point: FloatArray) -> tuple[float, float]:
    """Frontal view: canonical x is the picture's right, y is up."""
    return _SCALE_PX * float(point[0]), -_SCALE_PX * float(point[1])


def _outline(face: FloatArray, colour: str) -> str:
    lines = []
    for group, shape in [(g, "polyline") for g in _OPEN] + [(g, "polygon") for g in _CLOSED]:
        places = [_place(face[index]) for index in group]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        lines.append(f'<{shape} points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
    return "\n".join(lines)


def _way(before: FloatArray, after: FloatArray) -> str:
    (x0, y0), (x1, y1) = _place(before), _place(after)
    return f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="#e0a030" stroke-width="1"/>'
