"""A person cut out of a frame, the colours of the scene taken off the outline, and laid over another one.

A scene that moves (people, a street, leaves, the camera in a hand) has no empty picture of its own to train
against: outlines would learn fringes of every colour that ever passed behind them. What moves is therefore
replaced by one still backdrop in the pictures themselves. A pixel of the outline is I = a F + (1 - a) B; the
share a of the person and their own colour F are found from the colours of the nearest person and scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emogene.capture.background import fill_holes
from emogene.types import ByteArray, FloatArray

SURE = 0.9
"""Probability from which the net is believed; below one minus it there is nobody."""
BAND_SHARE = 0.006
"""So much of the picture's width nearer to the outline nobody is believed: its pixels are mixtures."""
ALIKE, DISTINCT = 15.0, 60.0
"""Grey levels between person and scene up to which colours cannot tell them apart, and from which they do."""
OPEN = 0.6
"""Between one minus this probability and this, colours alone decide; towards SURE ever less."""
LEAST_SHARE = 0.3
"""Below this share of the person, what is left of their colour is mostly noise."""


@dataclass(frozen=True)
class CutOut:
    """share: [H, W] of the person in every pixel, 0..1. colour: [H, W, 3] their own, 0..255."""

    share: FloatArray
    colour: FloatArray

    def before(self, scene: ByteArray) -> ByteArray:
        """The person before a scene [H, W, 3]."""
        share = self.share[..., None]
        return np.asarray(share * self.colour + (1 - share) * scene + 0.5, np.uint8)


def cut_out(frame: ByteArray, person: FloatArray) -> CutOut:
    """Cut the person out of a frame [H, W, 3].

    Where person and scene are alike, nothing but the net tells them apart.

    Args:
        frame: rgb [H, W, 3].
        person: probability [H, W], its edges already on the picture's (masks.sharpened).
    """
    import cv2

    side = 2 * max(1, round(BAND_SHARE * frame.shape[1])) + 1
    kernel = np.ones((side, side), np.uint8)
    inside = cv2.erode((person > SURE).astype(np.uint8), kernel) > 0
    outside = cv2.erode((person < 1 - SURE).astype(np.uint8), kernel) > 0
    pixels = frame.astype(np.float32)
    near = fill_holes(frame, inside).astype(np.float32)
    scene = fill_holes(frame, outside).astype(np.float32)
    step = near - scene
    length = np.linalg.norm(step, axis=-1)
    along = ((pixels - scene) * step).sum(-1) / np.maximum(length, 1.0) ** 2
    trust = np.clip((length - ALIKE) / (DISTINCT - ALIKE), 0, 1)
    guess = np.clip((person - (1 - SURE)) / (2 * SURE - 1), 0, 1)
    share = trust * np.clip(along, 0, 1) + (1 - trust) * guess
    # A hair as dark as the street behind it is not nobody: the net's opinion has bounds.
    least, most = (person - OPEN) / (SURE - OPEN), (person - 1 + SURE) / (SURE - OPEN)
    share = np.clip(np.clip(share, least, most), 0, 1)
    share = np.where(inside, 1.0, np.where(outside, 0.0, share)).astype(np.float32)
    # What is left when the scene is taken off; the thinner the person, the more of it is the nearest colour.
    thick = share[..., None]
    own = np.clip((pixels - (1 - thick) * scene) / np.maximum(thick, LEAST_SHARE), 0, 255)
    return CutOut(share, np.asarray(thick**2 * own + (1 - thick**2) * near, np.float32))
