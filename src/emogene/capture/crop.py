"""Which square of the video becomes the portrait: head and shoulders, the whole of it if it fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emogene.capture.tracker import FaceBox
from emogene.types import ByteArray

SIZE_PX = 512
FACE_SHARE = 0.5
"""Wanted height of the face (forehead to chin) over the side of the portrait."""
FACE_SHARE_RANGE = (0.28, 0.62)
"""A square video whose face lies in this range is taken whole."""
FACE_HEIGHT = 0.46
"""Where the middle of the face stands, from the top."""


@dataclass(frozen=True)
class Crop:
    """A square of the source picture, in its whole pixels."""

    left_px: float
    top_px: float
    side_px: float

    def cut(self, frame: ByteArray, size_px: int = SIZE_PX) -> ByteArray:
        """The square of a frame [H, W, 3], resized to [size, size, 3].

        Averaged when it shrinks, by cubics when it grows: lines between pixels cost a 256 px film a fifth
        of its sharpness.
        """
        import cv2

        left, top, side = round(self.left_px), round(self.top_px), round(self.side_px)
        if frame.shape[:2] == (size_px, size_px) == (side, side):
            return frame
        square = np.ascontiguousarray(frame[top : top + side, left : left + side])
        if square.shape[:2] == (size_px, size_px):
            return square
        method = cv2.INTER_AREA if size_px < side else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(square, (size_px, size_px), interpolation=method), np.uint8)


def choose_crop(boxes: list[FaceBox], width: int, height: int) -> Crop:
    """The square for a video of this size whose face was seen in these boxes (at least one)."""
    sides = np.array([box.side_px for box in boxes])
    centres = np.array([box.centre_px for box in boxes])
    face = float(np.quantile(sides, 0.9))
    shorter = min(width, height)
    if width == height and FACE_SHARE_RANGE[0] <= face / width <= FACE_SHARE_RANGE[1]:
        return Crop(0, 0, width)
    low, high = np.quantile(centres, 0.02, axis=0), np.quantile(centres, 0.98, axis=0)
    # Room for the head to move: the whole travel of its middle widens the square.
    side = min(float(shorter), face / FACE_SHARE + float((high - low).max()) * 0.7)
    middle = (low + high) / 2
    left = np.clip(middle[0] - side / 2, 0, width - side)
    top = np.clip(middle[1] - FACE_HEIGHT * side, 0, height - side)
    return Crop(float(np.round(left)), float(np.round(top)), float(np.floor(side)))
