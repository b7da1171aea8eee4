"""Frames and masks -> the empty scene behind the person (background plate).

Per pixel: the median over the frames in which it lies well outside the person; where the person always
stands, colours flow in smoothly from around (nobody will see most of it). Curls that the masks miss would
stand in the scene for ever, beside a head that moves: close to the person, what has the colour of the person
rather than of the scene farther out is taken for the person, and colours flow in there, too.

What moves (people, leaves, the camera in a hand) has no empty picture: there the plate is a backdrop out of
focus, and `capture.matte` lays the person of every frame over it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emogene.types import ByteArray, FloatArray

MARGIN_SHARE = 0.015
"""Pixels nearer to the person than this share of the picture carry the person's colour: left out."""
RIM_SHARE = 0.045
"""Width over picture size of the rim around the person in which the masks may have missed hair."""
FEATHER_SHARE = 0.012
"""Width of the seam between seen and filled, where a camera's sharpening draws a line."""
CONTINUE_SHARE, CONTINUE_RADIUS_SHARE = 0.12, 0.012
"""How far over the picture's width the scene goes on behind the person, and from how near it is made up."""
LIKE_PERSON = 0.5
"""How near the person's colour must be, relative to the scene's: a red stripe beside a neck is not skin."""
UNLIKE_SCENE = 10.0
"""Grey levels from the scene farther out below which a pixel of the rim is not questioned."""
HAIR_EDGE = 3.0
"""Grey levels per pixel: the median of a moving curl has 5 to 20, a shadow's rim 1 to 2."""
MIN_VIEWS_SHARE = 0.03
"""A pixel seen free in fewer frames than this is not trusted."""
STILL, MOVES = 10.0, 18.0
"""Mean deviation of a place from its median (grey levels; whole-picture changes of exposure taken off) up to
which the scene stands still, and from which it moves: studios, walls and flags have 1 to 9, a street 40."""
BLOCK_PX = 4
MOVING_SHARE = 0.05
"""Of the scene; less of it (a lamp, a far monitor) is left as it is."""
CAMERA_SHARE = 0.5
"""From here on it is the camera that moves: plain places, too, that do not show it."""
MOVE_BLUR_SHARE = 0.03
"""How far a movement is spread over the picture: to its neighbours, not to the other side."""
BACKDROP_BLUR_SHARE = 0.08
"""How far out of focus the backdrop is where the scene moves."""


@dataclass(frozen=True)
class Plate:
    """The empty scene.

    rgb: [H, W, 3]. seen: [H, W] whether a pixel was really seen empty. moves: [H, W] 0..1, whether what is
    there moves; `rgb` is a blurred backdrop there.
    """

    rgb: ByteArray
    seen: NDArray[np.bool_]
    moves: FloatArray


def background_plate(pairs: Iterable[tuple[ByteArray, ByteArray]]) -> Plate:
    """The scene without the person.

    Args:
        pairs: frames [H, W, 3] and their labels [H, W] (0 is background), up to a few hundred.
    """
    import cv2

    frames, free = [], []
    person: FloatArray | float = 0.0
    times: FloatArray | float = 0.0
    for frame, labels in pairs:
        there = (labels > 0).astype(np.float32)
        person, times = person + frame * there[..., None], times + there
        side = 2 * max(1, round(MARGIN_SHARE * frame.shape[1])) + 1
        grown = cv2.dilate((labels > 0).astype(np.uint8), np.ones((side, side), np.uint8))
        frames.append(frame)
        free.append(grown == 0)
    stack, seen = np.stack(frames), np.stack(free)
    enough = seen.sum(0) >= max(1, MIN_VIEWS_SHARE * len(seen))
    plate = fill_holes(_masked_median(stack, seen), enough)
    often = np.asarray(times) >= MIN_VIEWS_SHARE * len(seen)
    mean = np.asarray(person / np.maximum(times, 1)[..., None], np.uint8)
    plate = clean_rim(plate, enough, fill_holes(mean, often))
    moves = moving(stack, seen)
    return Plate(backdrop(plate, moves), enough, moves)


def moving(stack: ByteArray, seen: NDArray[np.bool_]) -> FloatArray:
    """Where the scene moves, [H, W] 0..1: nowhere if it hardly does, everywhere if most of it does.

    Args:
        stack: [N, H, W, 3] frames.
        seen: [N, H, W] where they show the scene.
    """
    import cv2

    height, width = seen.shape[1:]
    size = (width // BLOCK_PX, height // BLOCK_PX)
    blocks = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in stack])
    free = np.stack([cv2.resize(one.astype(np.float32), size, interpolation=cv2.INTER_AREA) for one in seen])
    free = free > 0.99
    often = free.sum(0) >= max(3, MIN_VIEWS_SHARE * len(seen))
    if not often.any():
        return np.zeros((height, width), np.float32)
    deviation = np.zeros(often.shape, np.float32)
    deviation[often] = _deviation(blocks[:, often].astype(np.float32), free[:, often])
    known, blur = often.astype(np.float32), MOVE_BLUR_SHARE * size[0]
    near = np.maximum(cv2.GaussianBlur(known, (0, 0), blur), 1e-6)
    wide = cv2.GaussianBlur(deviation, (0, 0), blur) / near
    moves = np.clip((wide - STILL) / (MOVES - STILL), 0, 1) * known
    share = float(moves[often].mean())
    if not MOVING_SHARE < share < CAMERA_SHARE:
        return np.full((height, width), float(share >= CAMERA_SHARE), np.float32)
    grey = np.repeat(np.asarray(255 * moves, np.uint8)[..., None], 3, axis=-1)
    filled = fill_holes(grey, often)[..., 0].astype(np.float32) / 255
    return np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _deviation(values: FloatArray, free: NDArray[np.bool_]) -> FloatArray:
    """Mean deviation from the median over the frames that show a place: [N, P, 3] and [N, P] -> [P]."""
    shown = np.where(free[..., None], values, np.nan)[free.any(1)]
    offset = shown - np.nanmedian(shown, axis=0)
    # Exposure changes the whole picture at once; that is no movement.
    offset = offset - np.nanmedian(offset, axis=1, keepdims=True)
    return np.asarray(np.nanmean(np.abs(offset), axis=0).max(-1), np.float32)


def backdrop(plate: ByteArray, moves: FloatArray) -> ByteArray:
    """The plate, out of focus where the scene moves."""
    import cv2

    if not moves.any():
        return plate
    soft = cv2.GaussianBlur(plate, (0, 0), BACKDROP_BLUR_SHARE * plate.shape[1]).astype(np.float32)
    share = moves[..., None]
    return np.asarray(share * soft + (1 - share) * plate + 0.5, np.uint8)


def clean_rim(plate: ByteArray, seen: NDArray[np.bool_], person: ByteArray) -> ByteArray:
    """The plate without what the masks missed of the person, and without a seam where the person stands.

    Args:
        plate: [H, W, 3], filled.
        seen: [H, W] where it was seen empty.
        person: [H, W, 3] colours of the person, wherever they were, and of the nearest elsewhere.
    """
    import cv2

    if seen.all() or not seen.any():
        return plate
    width = plate.shape[1]
    far = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 5)
    outside = far > RIM_SHARE * width
    if not outside.any():
        return plate
    scene = fill_holes(plate, outside).astype(np.float32)
    colours = plate.astype(np.float32)
    to_scene = np.linalg.norm(colours - scene, axis=-1)
    to_person = np.linalg.norm(colours - person, axis=-1)
    missed = (to_person < LIKE_PERSON * to_scene) & (to_scene > UNLIKE_SCENE)
    missed &= seen & ~outside & _near_edges(plate, seen)
    grown = cv2.dilate(missed.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    known = seen & ~(grown & ~outside)
    feather = max(1.0, FEATHER_SHARE * width)
    clear = cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_L2, 5)
    share = np.clip(clear / feather, 0, 1)[..., None]
    beyond = continued(plate, clear > feather)
    return np.asarray(share * plate + (1 - share) * beyond + 0.5, np.uint8)


def _near_edges(plate: ByteArray, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[H, W] beside an edge: hair has some, a shadow of it on the wall, as dark, has none."""
    import cv2

    grey = cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
    # Not the edge of what was seen.
    inner = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8))
    edges = (slope > HAIR_EDGE).astype(np.uint8) * inner
    return np.asarray(cv2.dilate(edges, np.ones((9, 9), np.uint8)) > 0)


def continued(plate: ByteArray, known: NDArray[np.bool_]) -> ByteArray:
    """The plate with shelves, stripes and shadows going on where it is not known (Telea 2004), into a blur.

    Without that the person's outline stands in the scene as an edge, seen whenever they lean aside.
    """
    import cv2

    blur = fill_holes(plate, known)
    if known.all() or not known.any():
        return blur
    width = plate.shape[1]
    radius = max(2.0, CONTINUE_RADIUS_SHARE * width)
    lines = cv2.inpaint(plate, (~known).astype(np.uint8), radius, cv2.INPAINT_TELEA)
    inside = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5)
    share = np.clip(1 - inside / (CONTINUE_SHARE * width), 0, 1)[..., None]
    return np.asarray(share * lines + (1 - share) * blur + 0.5, np.uint8)


def _masked_median(stack: ByteArray, seen: NDArray[np.bool_]) -> ByteArray:
    """Median over frames of the pixels marked in ``seen``; row by row to save memory."""
    plate = np.zeros(stack.shape[1:], np.uint8)
    count = seen.sum(0)
    middle = np.maximum((count - 1) // 2, 0)
    for row in range(stack.shape[1]):
        # Hidden pixels sort to the end, so the middle of the seen ones is at half their count.
        values = np.where(seen[:, row, :, None], stack[:, row].astype(np.int16), 999)
        values.sort(axis=0)
        picked = np.take_along_axis(values, middle[row][None, :, None], axis=0)[0]
        plate[row] = np.where(count[row][:, None] > 0, picked, 0)
    return plate


def fill_holes(image: ByteArray, known: NDArray[np.bool_]) -> ByteArray:
    """Fill unknown pixels smoothly from the known ones (push-pull pyramid). Grey where nothing is known."""
    if known.all():
        return image
    if not known.any():
        return np.full_like(image, 128)
    weight: FloatArray = known.astype(np.float32)[..., None]
    colour: FloatArray = image.astype(np.float32) * weight
    filled = _push_pull(colour, weight)
    return np.where(known[..., None], image, np.clip(filled + 0.5, 0, 255).astype(np.uint8))


def _push_pull(colour: FloatArray, weight: FloatArray) -> FloatArray:
    """Colours premultiplied by weight -> colours everywhere, coarse levels filling fine ones."""
    import cv2

    height, width = weight.shape[:2]
    if min(height, width) <= 2 or weight.min() > 0.99:
        total = np.maximum(weight, 1e-6)
        mean = colour.sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return np.asarray(np.where(weight > 1e-6, colour / total, mean), np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse_colour = np.asarray(cv2.resize(colour, half, interpolation=cv2.INTER_AREA), np.float32)
    coarse_weight = np.asarray(cv2.resize(weight, half, interpolation=cv2.INTER_AREA), np.float32)[..., None]
    coarse = _push_pull(coarse_colour, coarse_weight)
    spread = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(colour + (1 - weight) * spread, np.float32)
