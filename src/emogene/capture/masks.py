"""Frames and jaw lines -> labels per pixel: background, head, torso (io.clip.MASK_*).

The person is found by MediaPipe's selfie segmentation (256 x 256), averaged over neighbouring frames of a
shot and sharpened along the picture's own edges. Near the outline the background plate, once it is known,
has a say too: what looks like the empty scene is not the person. Head is what lies above the jaw line:
face, hair, ears, and a rim of neck below the chin; the rest of the person is torso, hair on the
shoulders included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.capture.quiet import quiet_libraries
from emogene.errors import UserError
from emogene.io.clip import MASK_HEAD, MASK_TORSO
from emogene.types import ByteArray, FloatArray

NET_PX = 256
JAW_MESH = (361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132)
"""Mesh points along the jaw, from the person's left ear under the chin to the right ear."""
NECK_SHARE = 0.05
"""How far the head's label reaches below the jaw, in outer-eye distances: the seam lies on the neck."""
GUIDE_RADIUS, GUIDE_EPS = 0.012, 2e-4
"""Edge sharpening: window over picture size, and the contrast (variance of 0..1 grey) that is an edge."""

OUTLINE_SHARE = 0.022
"""Half width over picture size of the band along the outline in which the plate has a say."""
LOOKS_EMPTY, LOOKS_FULL = 6.0, 40.0
"""Difference to the plate (grey levels) of the scene itself, and of what surely is not the scene."""
PLATE_SAY = 0.9
"""Below 1 the plate cannot overrule the net where that is certain: a shirt as white as the wall stays."""


class PersonFinder:
    """Selfie segmentation: rgb [H, W, 3] -> probability of a person [256, 256] uint8."""

    def __init__(self, model: Path | None = None) -> None:
        try:
            with quiet_libraries():
                from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise UserError(
                "finding the person needs ai-edge-litert, which is not installed;"
                " pip install 'emogene[capture]'"
            ) from None
        if model is None:
            from emogene.assets import fetch

            model = fetch("selfie-segmentation")
        with quiet_libraries():
            self._net: Any = Interpreter(str(model), num_threads=1)
            self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._output = self._net.get_output_details()[0]["index"]

    def __call__(self, frame: ByteArray) -> ByteArray:
        """Probability of a person, 0..255."""
        import cv2

        small = cv2.resize(frame, (NET_PX, NET_PX), interpolation=cv2.INTER_AREA)
        self._net.set_tensor(self._input, small[None].astype(np.float32) / 255)
        self._net.invoke()
        probability = self._net.get_tensor(self._output)[0, ..., 0]
        return np.asarray(np.clip(probability * 255 + 0.5, 0, 255), np.uint8)


def steady(probabilities: Iterable[ByteArray], cuts: Sequence[int]) -> Iterator[ByteArray]:
    """Average each mask with its neighbours (1 2 1) within its shot; as a stream."""
    starts = set(cuts)
    before: ByteArray | None = None
    here: ByteArray | None = None
    for index, after in enumerate(chain(probabilities, [None])):
        if here is not None:
            following = here if after is None or index in starts else after
            wide = np.stack([here if before is None else before, here, here, following])
            yield (wide.astype(np.uint16).sum(0) // 4).astype(np.uint8)
            before = None if index in starts else here
        here = after


@dataclass(frozen=True)
class Scene:
    """The empty scene: plate [H, W, 3], and where it was really seen and stands still [H, W]."""

    plate: ByteArray
    seen: NDArray[np.bool_]


def label(
    frame: ByteArray, probability: ByteArray, mesh_px: FloatArray, scene: Scene | None = None
) -> ByteArray:
    """Labels [H, W] of one frame.

    Args:
        frame: rgb [H, W, 3].
        probability: of a person, [256, 256] uint8.
        mesh_px: [478, 3] tracked mesh in the frame's pixels.
        scene: the empty scene, where it is known.
    """
    return divided(evidence(frame, sharpened(probability, frame), scene), mesh_px)


def evidence(frame: ByteArray, person: FloatArray, scene: Scene | None) -> FloatArray:
    """Evidence [H, W] for the person, above .5 where they are: the net's and that of the scene."""
    return person if scene is None else person + unlike(frame, scene, person)


def divided(person: FloatArray, mesh_px: FloatArray) -> ByteArray:
    """Evidence for the person [H, W] -> labels: head above the jaw, torso below."""
    import cv2

    height, width = person.shape
    # One odd pixel is noise.
    solid = cv2.medianBlur((person > 0.5).astype(np.uint8), 5)
    above = above_jaw(mesh_px, width, height)
    return np.asarray(np.where(above, MASK_HEAD, MASK_TORSO) * solid, np.uint8)


def unlike(frame: ByteArray, scene: Scene, person: FloatArray) -> FloatArray:
    """Evidence [H, W] near the outline: positive where the frame differs from the scene.

    Against a scene of quite another colour the outline runs where half of the difference is reached: the
    pixels along it are mixtures of both.
    """
    import cv2

    side = 2 * max(2, round(OUTLINE_SHARE * frame.shape[1])) + 1
    red, green, blue = cv2.split(cv2.absdiff(frame, scene.plate))
    difference = cv2.blur(cv2.max(cv2.max(red, green), blue), (3, 3))
    peak = cv2.dilate(difference, np.ones((side, side), np.uint8)).astype(np.float32)
    full = np.maximum(0.9 * peak, LOOKS_FULL)
    evidence = np.clip((difference - LOOKS_EMPTY) / (full - LOOKS_EMPTY), 0, 1) - 0.5
    share = cv2.blur((person > 0.5).astype(np.float32), (side, side))
    outline = (share > 0.02) & (share < 0.98) & scene.seen
    return np.asarray(PLATE_SAY * evidence * outline, np.float32)


def sharpened(probability: ByteArray, frame: ByteArray) -> FloatArray:
    """Person probability [H, W] in 0..1 at the frame's size, its edges moved onto the picture's.

    A guided filter (He, Sun & Tang 2010) with the green-weighted grey picture as guide.
    """
    import cv2

    height, width = frame.shape[:2]
    coarse = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    guide = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    side = 2 * max(2, round(GUIDE_RADIUS * width)) + 1

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(cv2.blur(values, (side, side)))

    guide_mean, coarse_mean = mean(guide), mean(coarse)
    slope = (mean(guide * coarse) - guide_mean * coarse_mean) / (
        mean(guide * guide) - guide_mean**2 + GUIDE_EPS
    )
    offset = coarse_mean - slope * guide_mean
    return np.asarray(mean(slope) * guide + mean(offset), np.float32)


def above_jaw(mesh_px: FloatArray, width: int, height: int) -> Any:
    """Boolean [H, W]: above the line from side to side along the jaw, a rim of neck included."""
    import cv2

    unit = float(np.linalg.norm(mesh_px[263, :2] - mesh_px[33, :2]))
    rim = NECK_SHARE * unit
    jaw = mesh_px[list(JAW_MESH), :2] + np.array([0.0, rim], np.float32)
    left, right = jaw[0, 1], jaw[-1, 1]
    outline = np.array([(0, 0), (width, 0), (width, left), *jaw, (0, right)], np.float32)
    area = np.zeros((height, width), np.uint8)
    cv2.fillPoly(area, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    return area.astype(bool)


def person_probabilities(frames: Iterable[ByteArray]) -> Iterator[ByteArray]:
    """Probability of a person for every frame, [256, 256] uint8 each."""
    find = PersonFinder()
    return map(find, frames)
