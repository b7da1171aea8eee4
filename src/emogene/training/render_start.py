"""What the decoder's training starts from: detail of the head taken from the pictures.

Left to start from nothing, the decoder learns to turn detail off before there is any.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from emogene.geometry.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE
from emogene.io.clip import MASK_HEAD
from emogene.render.detail import EYE_BOXES, Detail
from emogene.render.inference import Look, PixelGrid
from emogene.render.model import PortraitModel
from emogene.render.rays import HeadBox
from emogene.training.render_frames import Frames
from emogene.types import FloatArray

USUAL_LIPS, OPEN_LIPS = 0.3, 0.8
"""Amounts below which lips are shut as usual and above which the mouth is open."""
OPEN_LIDS, OPEN_RANGE, SHUT_LIDS = 0.9, (0.85, 1.2), 0.15
"""Quantile of the openness of eyes, its range, and the openness of shut ones."""
OUTLINE = 5
"""Pixels along the head's outline that give none: there the mask errs and background shines in."""
SOLID = 0.9
"""Opacity from which a pixel of the head may give its detail."""


def detail_boxes(neutral: FloatArray, box: HeadBox, texels: int) -> tuple[tuple[int, int, int, int], ...]:
    """Where right eye, left eye and mouth of the neutral face [68, 3] lie on the texture."""
    cube = box.to_cube(neutral)
    flat = np.stack([cube[:, 0], 1 - cube[:, 1]], 1) * texels
    boxes = []
    for points, (wide, high) in ((RIGHT_EYE, (0.35, 1.6)), (LEFT_EYE, (0.35, 1.6)), (MOUTH, (0.15, 0.6))):
        low, top = flat[points].min(0), flat[points].max(0)
        room = (top - low) * (wide, high)
        start = np.clip(2 * np.floor((low - room) / 2), 0, texels - 2).astype(int)
        size = np.clip(2 * np.ceil((top + room - start) / 2), 2, texels - start).astype(int)
        boxes.append((int(start[0]), int(start[1]), int(size[0] // 2 * 2), int(size[1] // 2 * 2)))
    return tuple(boxes)


def lid_range(eyes: FloatArray) -> tuple[float, float]:
    """Openness from which a person's lids count as wide open, and to which as shut: eyes [N, 4]."""
    return float(np.clip(np.quantile(eyes[:, :2], OPEN_LIDS), *OPEN_RANGE)), SHUT_LIDS


def write_detail(
    detail: Detail,
    usual: DetailAverage,
    ways: list[list[DetailAverage | None]],
) -> None:
    """Make means the first layer of ``detail`` and in its boxes what it becomes on the way to the other end.

    Args:
        detail: is changed.
        usual: of frames with open lids and shut lips.
        ways: per box its stages (``Detail.stages``) and the other end; None: too few frames show it. An end
            that nobody saw is empty, a stage lies between its neighbours.
    """
    with torch.no_grad():
        first = usual.mean()
        detail.texture[0, :3] = first
        for index, (box, way) in enumerate(zip(detail.config.boxes, ways, strict=True)):
            seen = {0: torch.zeros(3, box[3], box[2]), len(way): _within(-first, box)}
            means = {step: part.mean() for step, part in enumerate(way, 1) if part is not None}
            seen |= {step: _within(mean - first, box) for step, mean in means.items()}
            pictures = [*(detail.halfway[stage] for stage in detail.stages(index)), detail.other[index]]
            for step, picture in enumerate(pictures, 1):
                before = max(known for known in seen if known <= step)
                after = min(known for known in seen if known >= step)
                share = (step - before) / max(after - before, 1)
                picture.copy_((1 - share) * seen[before] + share * seen[after])


def _within(texture: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """A box of a texture [3, S, S], fading towards its border."""
    x, y, width, height = box
    return texture[:, y : y + height, x : x + width] * _feather(height, width)


def start_detail(
    model: PortraitModel, frames: Frames, mix: Tensor, look: Callable[[int], Look], most: int = 64
) -> None:
    """Lay out what interpolation misses: first a plain mean, then, sharper, each picture moved onto it.

    Args:
        model: field and torso are finished; the detail is changed.
        frames: training frames.
        mix: [N, boxes + 2] of their pictures (``Detail.mix``).
        look: of a frame.
        most: frames of the usual face; half as many of each other picture.
    """
    grid, texels = PixelGrid.of(model, "standard", frames.rgb.shape[1]), model.detail.config.texels
    usual, ways = shown_frames(model.detail, mix)
    first = _some(usual, most)
    chosen = [[_some(wanted, most // 2) for wanted in way] for way in ways]

    # Each frame is drawn once; it is asked for by several pictures, twice by each.
    small = functools.cache(lambda frame: _small(model, grid, look(frame)))

    def lay_out(frame: int) -> LaidOut:
        return laid_out(frames, frame, *small(frame), MASK_HEAD)

    def shown(frame: int, place: Tensor) -> Tensor:
        detail: Tensor = model.detail(place, 1, mix[frame : frame + 1])
        return detail[0, :3]

    def mean(chosen: list[int], so_far: Shown | None) -> DetailAverage | None:
        # What two frames show is noise: nothing is better.
        return mean_missed(texels, chosen, lay_out, so_far) if len(chosen) > 2 else None

    for so_far in (None, shown):
        parts = [[mean(some, so_far) for some in way] for way in chosen]
        write_detail(model.detail, mean_missed(texels, first, lay_out, so_far), parts)
    if model.detail.iris:
        # What the mean has lost where irises move, laid out as it moves.
        irises = DetailAverage(texels)
        for frame in first:
            laid = lay_out(frame)
            away = mix[frame, len(model.detail.config.boxes) :, None, None] * (2 / texels)
            without = model.detail(laid.place[None], 1)[0, :3]
            irises.add(laid.real - laid.smooth - without, laid.place - away, laid.solid)
        write_irises(model.detail, irises)


def shown_frames(detail: Detail, mix: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
    """Which frames [N] show the usual face, and, per box, each stage of its way and its other end.

    Args:
        detail: of the person.
        mix: [N, boxes + 2] of the frames.
    """
    usual, ways = torch.ones(len(mix), dtype=torch.bool), []
    for index, amount in enumerate(mix.T[: len(detail.config.boxes)]):
        steps = len(detail.stages(index)) + 1
        near = (steps * amount).round() if index < EYE_BOXES else (amount > OPEN_LIPS).float()
        usual &= near == 0 if index < EYE_BOXES else amount < USUAL_LIPS
        ways.append([near == step for step in range(1, steps + 1)])
    return (usual if usual.any() else ~usual), ways


def write_irises(detail: Detail, average: DetailAverage) -> None:
    """Make a mean what moves with the gaze."""
    mean = average.mean()
    with torch.no_grad():
        for box, iris in zip(detail.config.boxes, detail.iris, strict=False):
            iris.copy_(_within(mean, box))


@dataclass(frozen=True)
class LaidOut:
    """A frame on a texture.

    smooth, real: [3, H, W] interpolated and real picture. place: [2, H, W] on the texture. solid: [H, W]
    where the frame may give its detail.
    """

    smooth: Tensor
    real: Tensor
    place: Tensor
    solid: Tensor


Shown = Callable[[int, Tensor], Tensor]
"""Of a frame, at its places [1, 2, H, W]: what the texture adds so far, [3, H, W]."""


def mean_missed(
    edge: int, chosen: list[int], lay_out: Callable[[int], LaidOut], shown: Shown | None
) -> DetailAverage:
    """What interpolation misses in the mean of frames, on a texture of ``edge`` texels.

    Args:
        edge: texels.
        chosen: frames.
        lay_out: of a frame.
        shown: each picture is moved onto what this says; None: they stay where they are.
    """
    average = DetailAverage(edge)
    for frame in chosen:
        laid = lay_out(frame)
        real = laid.real
        if shown is not None:
            real = moved(real, flow(laid.smooth + shown(frame, laid.place[None]), real))
        average.add(real - laid.smooth, laid.place, laid.solid)
    return average


def laid_out(
    frames: Frames, frame: int, picture: Tensor, place: Tensor, opacity: Tensor, part: int
) -> LaidOut:
    """A frame on the texture of a part of the person.

    Args:
        frames: the video.
        frame: which of it.
        picture: [1, 3, h, w] as the field and the torso show it.
        place: [1, 2, h, w] on the texture.
        opacity: [h, w] of the part.
        part: its mask.
    """
    real = pictures_of(frames.rgb[frame][None])[0]
    smooth, at = (
        F.interpolate(small, real.shape[1:], mode="bilinear", align_corners=False)[0]
        for small in (picture, place)
    )
    return LaidOut(smooth, real, at, solid_part(np.array(frames.labels[frame]), opacity, part))


def _small(model: PortraitModel, grid: PixelGrid, look: Look) -> tuple[Tensor, Tensor, Tensor]:
    """Picture [1, 3, h, w], place on the head's texture [1, 2, h, w] and opacity of the head [h, w]."""
    composite, places = grid.small(model, look)
    return composite[:, :3].clone(), places[:, :2].clone(), composite[0, -2].clone()


def _some(wanted: Tensor, most: int) -> list[int]:
    """At most ``most`` of the frames that are wanted [N], spread evenly."""
    index = wanted.nonzero()[:, 0]
    spread = torch.linspace(0, len(index) - 1, min(most, len(index))).round().long()
    return [int(frame) for frame in index[spread]]


def _feather(height: int, width: int) -> Tensor:
    """[height, width], 1 inside and 0 on the border."""
    rows, columns = (
        torch.minimum(torch.arange(n) + 0.5, n - 0.5 - torch.arange(n)) / (0.2 * n) for n in (height, width)
    )
    return rows.clamp(max=1.0)[:, None] * columns.clamp(max=1.0)


class DetailAverage:
    """Mean, over frames, of what interpolation of the small picture misses, laid out as texture."""

    def __init__(self, edge: int) -> None:
        self._edge = edge
        self._total = np.zeros((3, self._edge**2))
        self._count = np.zeros(self._edge**2)

    def add(self, missed: Tensor, place: Tensor, solid: Tensor) -> None:
        """One frame.

        Args:
            missed: [3, H, W] what is wanted there.
            place: [2, H, W] texture coordinates.
            solid: [H, W] where the head is whole.
        """
        cell = ((place + 1) * (self._edge / 2)).long()
        inside = solid & ((cell >= 0) & (cell < self._edge)).all(0)
        index = (cell[1] * self._edge + cell[0])[inside].numpy()
        values = missed[:, inside].numpy()
        self._count += np.bincount(index, minlength=self._edge**2)
        for channel in range(3):
            self._total[channel] += np.bincount(index, values[channel], self._edge**2)

    def mean(self) -> Tensor:
        """[3, S, S]; texels that no frame showed are empty."""
        shape = (3, self._edge, self._edge)
        total = torch.from_numpy(self._total).float().view(1, *shape)
        count = torch.from_numpy(self._count).float().view(1, 1, *shape[1:])
        # Texels are finer than pixels: those between take their neighbours' mean.
        near_total, near_count = (F.avg_pool2d(values, 3, 1, 1) for values in (total, count))
        own = count > 2
        mean: Tensor = torch.where(own, total / count.clamp(min=1), near_total / near_count.clamp(min=0.2))
        return mean[0]


def flow(ours: Tensor, real: Tensor, window: float = 5.0, limit: float = 1.25) -> Tensor:
    """Small displacements d, [2, H, W] in pixels (x, y), with real(p + d) like ours(p) (Lucas & Kanade 1981).

    Args:
        ours: [3, H, W].
        real: [3, H, W].
        window: deviation of the neighbourhood that moves together, in pixels of half the size.
        limit: longer displacements are cut to this, in the same pixels.
    """
    from scipy.ndimage import gaussian_filter

    first, second = (F.avg_pool2d(image.mean(0)[None], 2)[0].numpy() for image in (ours, real))
    dx, dy = gaussian_filter(first, 1.0, order=(0, 1)), gaussian_filter(first, 1.0, order=(1, 0))
    change = gaussian_filter(second, 1.0) - gaussian_filter(first, 1.0)
    # Brightness that differs over a whole neighbourhood is light, not motion.
    change = change - gaussian_filter(change, 2 * window)
    products = (dx * dx, dx * dy, dy * dy, dx * change, dy * change)
    xx, xy, yy, xt, yt = (gaussian_filter(product, window) for product in products)
    floor = 0.05 * float(np.median(xx + yy)) + 1e-8
    xx, yy = xx + floor, yy + floor
    determinant = xx * yy - xy * xy
    found = np.stack([-(yy * xt - xy * yt), -(xx * yt - xy * xt)]) / determinant
    shift = torch.from_numpy(2 * np.clip(found, -limit, limit).astype(np.float32))
    return F.interpolate(shift[None], real.shape[1:], mode="bilinear", align_corners=False)[0]


def moved(image: Tensor, shift: Tensor) -> Tensor:
    """image [3, H, W] read at p + shift(p), shift [2, H, W] in pixels."""
    height, width = image.shape[1:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    grid = torch.stack([(x + shift[0]) * (2 / width) - 1, (y + shift[1]) * (2 / height) - 1], -1)
    result: Tensor = F.grid_sample(
        image[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False
    )[0]
    return result


def solid_part(labels: NDArray[np.uint8], opacity: Tensor, part: int = MASK_HEAD) -> Tensor:
    """Where mask [H, W] and alpha [h, w] both see a part of the person, and it is not its outline, [H, W]."""
    inside = torch.from_numpy(labels == part).float()[None, None]
    inside = -F.max_pool2d(-inside, 2 * OUTLINE + 1, 1, OUTLINE)[0, 0]
    grown = F.interpolate(opacity[None, None], labels.shape, mode="bilinear", align_corners=False)[0, 0]
    result: Tensor = (inside > 0) & (grown > SOLID)
    return result


def pictures_of(rgb: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, H, W, 3] -> float [B, 3, H, W] in 0..1."""
    return torch.from_numpy(np.array(rgb)).permute(0, 3, 1, 2).float() / 255
