"""Shots of another place or person -> left out: an avatar is one person before one background.

Signatures are tiny pictures of the frames; of every shot the median one is compared with the others' along
the border, where in a portrait there is background. Shots that agree with the most frames stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emogene.capture.smoothing import shots
from emogene.types import ByteArray

SIGNATURE_PX = 16
BORDER_PX = 3
BORDER_ROWS = 9
"""The border is the picture's upper edge and its sides down to this row: below are shoulders."""
OTHER_SCENE = 28.0
"""Mean difference (grey levels) from which it is another place: 65 to 71 between strangers, up to 20
where one person's light or exposure changed from take to take, 1 to 6 otherwise."""


def signature(frame: ByteArray) -> ByteArray:
    """Tiny picture [16, 16, 3] of a frame [H, W, 3]; in colour: a blue wall may be as light as a shelf."""
    import cv2

    tiny = cv2.resize(frame, (SIGNATURE_PX, SIGNATURE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(tiny, np.uint8)


def main_scene(signatures: ByteArray, cuts: Sequence[int]) -> NDArray[np.bool_]:
    """Which frames [T] belong to the place that fills most of the time.

    Args:
        signatures: [T, 16, 16, 3] uint8.
        cuts: first frame of every later shot.
    """
    parts = list(shots(len(signatures), cuts))
    border = _border()
    looks = np.array([np.median(signatures[part][:, border], axis=0) for part in parts], np.float32)
    frames = np.array([part.stop - part.start for part in parts])
    alike = np.abs(looks[:, None] - looks[None]).mean((-2, -1)) < OTHER_SCENE
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
