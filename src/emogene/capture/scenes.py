"""Shots of another place, person or look -> left out: an avatar is one person in one coat.

Signatures are tiny pictures of the frames; the median ones of two shots are compared along the border, where
in a portrait there is background, along the lower edge, where clothes and long hair are, and in the middle,
where the light on the face shows. Shots that agree with the most frames stay. A woman filmed on three days
for one corpus became a film whose skin turned from pink to orange and whose coat melted into a sweater.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emogene.capture.smoothing import shots
from emogene.types import FPS, ByteArray, FloatArray

SIGNATURE_PX = 16
BORDER_PX = 3
BORDER_ROWS = 9
"""The border is the picture's upper edge and its sides down to this row: below are shoulders."""
LOWER_ROWS = 4
OTHER_SCENE = 28.0
"""Mean difference (grey levels) from which it is another place or coat: 65 to 71 between strangers, 34 to 69
between days, up to 22 where one person's light or seat changed from take to take, 1 to 6 otherwise."""
FACE = slice(5, 11)
OTHER_LIGHT = 14.0
"""Difference of the mean colour about the face from which it is another light: 25 to 31 between days, up to 7
from take to take."""
LEAST_FRAMES = 8 * FPS
"""Where fewer frames than this have one look, all looks before one background are taken, and then all."""


def signature(frame: ByteArray) -> ByteArray:
    """Tiny picture [16, 16, 3] of a frame [H, W, 3]; in colour: a blue wall may be as light as a shelf."""
    import cv2

    tiny = cv2.resize(frame, (SIGNATURE_PX, SIGNATURE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(tiny, np.uint8)


def main_scene(signatures: ByteArray, cuts: Sequence[int]) -> NDArray[np.bool_]:
    """Which frames [T] belong to the place and the look that fill most of the time.

    Args:
        signatures: [T, 16, 16, 3] uint8.
        cuts: first frame of every later shot.
    """
    parts = list(shots(len(signatures), cuts))
    looks = np.array([np.median(signatures[part], axis=0) for part in parts], np.float32)
    frames = np.array([part.stop - part.start for part in parts])
    place = _difference(looks[:, _border()]) < OTHER_SCENE
    clothes = _difference(looks[:, -LOWER_ROWS:]) < OTHER_SCENE
    light = _difference(looks[:, FACE, FACE].mean((1, 2))) < OTHER_LIGHT
    kept = np.ones(len(signatures), bool)
    for alike in (place & clothes & light, place):
        main = int(np.argmax(alike @ frames))
        if alike[main] @ frames >= LEAST_FRAMES:
            for part, same in zip(parts, alike[main], strict=True):
                kept[part] = same
            break
    return kept


def _difference(values: FloatArray) -> FloatArray:
    """Mean absolute difference of all pairs of rows: [N, ...] -> [N, N]."""
    flat = values.reshape(len(values), -1)
    return np.stack([np.abs(flat - row).mean(1) for row in flat])


def _border() -> NDArray[np.bool_]:
    border = np.zeros((SIGNATURE_PX, SIGNATURE_PX), bool)
    border[:BORDER_PX] = True
    border[:BORDER_ROWS, :BORDER_PX] = border[:BORDER_ROWS, -BORDER_PX:] = True
    return border
