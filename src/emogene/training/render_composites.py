"""What field and torso show of the training frames, drawn once, for the decoder to learn on.

Training the field along with the decoder costs two thirds of every step, and what a few patches teach a
hash table is mostly noise (31 -> 28 dB). So field and torso are finished first, and the decoder sees five
times as many pixels in the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emogene.render.decoder import INPUTS
from emogene.render.inference import Look, PixelGrid
from emogene.render.model import PortraitModel

MOST = 1000
"""Frames that are drawn: neighbours are nearly alike, and a frame takes .65 MB."""


@dataclass(frozen=True)
class Composites:
    """Low-resolution pictures of M training frames.

    frames: [M] frame numbers. pictures: [M, 18, h, w] premultiplied channels and both alphas, f16, mapped.
    places: [M, 4, h, w] on the textures of head and torso, f16, mapped. grid: what they were drawn on.
    """

    frames: NDArray[np.int64]
    pictures: NDArray[np.float16]
    places: NDArray[np.float16]
    grid: PixelGrid

    def cut(self, rows: NDArray[np.int64], corners: NDArray[np.int64], edge: int) -> tuple[Tensor, Tensor]:
        """Patches [B, 18, e, e] and places [B, 4, e, e] at low pixels ``corners`` [B, 2] (x, y)."""
        places = list(zip(rows.tolist(), corners.tolist(), strict=True))

        def stacked(array: NDArray[np.float16]) -> Tensor:
            patches = [array[row, :, y : y + edge, x : x + edge] for row, (x, y) in places]
            return torch.from_numpy(np.stack(patches)).float()

        return stacked(self.pictures), stacked(self.places)


def draw_composites(
    model: PortraitModel,
    frames: NDArray[np.int64],
    look: Callable[[int], Look],
    quality: str,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Composites:
    """Draw frames with the portrait as it is.

    Args:
        model: field and torso are finished.
        frames: [M] frame numbers.
        look: of a frame.
        quality: "standard" or "draft".
        folder: where the pictures are mapped from; None keeps them in memory.
        progress: called with (frames done, frames in all).
    """
    grid = PixelGrid.of(model, quality, model.config.camera.width_px)
    shapes = {
        "pictures": (len(frames), INPUTS, grid.height, grid.width),
        "places": (len(frames), 4, grid.height, grid.width),
    }
    if folder is None:
        arrays = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    else:
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: np.memmap(folder / f"{quality}_{name}.f16", np.float16, "w+", shape=shape)
            for name, shape in shapes.items()
        }
    for row, (picture, place) in enumerate(_drawn(model, grid, frames, look)):
        arrays["pictures"][row], arrays["places"][row] = picture, place
        if progress is not None:
            progress(row + 1, len(frames))
    return Composites(frames, arrays["pictures"], arrays["places"], grid)


@torch.inference_mode()
def _drawn(
    model: PortraitModel, grid: PixelGrid, frames: NDArray[np.int64], look: Callable[[int], Look]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    for frame in frames.tolist():
        composite, place = grid.small(model, look(frame))
        yield composite[0].numpy(), place[0].numpy()
