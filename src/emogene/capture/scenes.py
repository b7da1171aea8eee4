"""Shots of another place or person -> left out: an avatar is one person before one background.

Signatures are tiny pictures of the frames; of every shot the median one is compared with the others' along
the border, where in a portrait there is background. Shots that agree with the most frames stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emogene.capture.smoothing import shots
from emogene.types import ByteArray, FloatArray

SIGNATURE_PX = 16
BORDER_PX = 3
BORDER_ROWS = 9
"""The border is the picture's upper edge and its sides down to this row: below are shoulders."""
OTHER_SCENE = 28.0
"""Mean difference (grey levels) from which it is another place: 39 to 44 between three strangers, up to 20
where one person's light or exposure changed from take to take, 1 to 6 otherwise."""


def signature(small: FloatArray) -> ByteArray:
    """Tiny picture [16, 16] uint8 of a thumbnail [64, 64]."""
    block = small.shape[0] // SIGNATURE_PX
    return np.asarray(
        small.reshape(SIGNATURE_PX, block, SIGNATURE_PX, block).mean((1, 3)).round(), dtype=np.uint8
    )


def main_scene(signatures: ByteArray, cuts: Sequence[int]) -> NDArray[np.bool_]:
    """Which frames [T] belong to the place that fills most of the time.

    Args:
        signatures: [T, 16, 16] uint8.
        cuts: first frame of every later shot.
    """
    parts = list(shots(len(signatures), cuts))
    border = _border()
    looks = np.array([np.median(signatures[part][:, border], axis=0) for part in parts], np.float32)
    frames = np.array([part.stop - part.start for part in parts])
    alike = np.abs(looks[:, None] - looks[None]).mean(-1) < OTHER_SCENE
    main = int(np.argmax(alike @ frames))
    kept = np.zeros(len(signatures), bool)
    for part, same in zip(parts, alike[main], strict=True):
        kept[part] = same
    return kept


def _border() -> NDArray[np.bool_]:
    border = np.zeros((SIGNATURE_PX, SIGNATURE_PX), bool)
    border[:BORDER_PX] = True
    border[:BORDER_ROWS, :BORDER_PX] = border[:BORDER_ROWS, -BORDER_PX:] = True
    return border
