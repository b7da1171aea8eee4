"""Crop, masks and background on painted pictures."""

from __future__ import annotations

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.capture.background import background_plate, continued, fill_holes
from emogene.capture.crop import Crop, choose_crop
from emogene.capture.masks import JAW_MESH, PersonFinder, Scene, above_jaw, label, steady
from emogene.capture.tracker import FaceBox
from emogene.io.clip import MASK_BACKGROUND, MASK_HEAD, MASK_TORSO


def box(x: float, y: float, side: float) -> FaceBox:
    return FaceBox(np.array([x, y], np.float32), side)


def test_a_square_portrait_is_taken_whole() -> None:
    crop = choose_crop([box(256, 230, 260)], 512, 512)
    frame = np.zeros((512, 512, 3), np.uint8)
    assert crop == Crop(0, 0, 512) and crop.cut(frame) is frame


@pytest.mark.parametrize("side", [32, 100, 256])
def test_a_crop_keeps_its_place_and_its_edges(side: int) -> None:
    """A step between two pixels lies where it was, as steep as the size allows, without rings."""
    frame = np.full((300, 280, 3), 60, np.uint8)
    frame[:, 10 + side // 2 :] = 180
    row = Crop(10, 20, side).cut(frame, 128)[64, :, 0].astype(int)
    assert row.shape == (128,) and row.min() >= 44 and row.max() <= 196
    middle = int((row < 120).sum())
    assert abs(middle - 64) <= 1
    assert (row[: middle - 8] == 60).all() and (row[middle + 8 :] == 180).all()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (720, 1280), (1920, 1080), (512, 512)])
def test_the_crop_lies_inside_and_shows_the_head(width: int, height: int) -> None:
    boxes = [box(width * 0.6 + d, height * 0.4, min(width, height) * 0.25) for d in (-10, 0, 10)]
    crop = choose_crop(boxes, width, height)
    assert crop.left_px >= 0 and crop.top_px >= 0
    assert crop.left_px + crop.side_px <= width and crop.top_px + crop.side_px <= height
    for face in boxes:
        assert crop.left_px < face.centre_px[0] - face.side_px / 2
        assert face.centre_px[0] + face.side_px / 2 < crop.left_px + crop.side_px
    assert crop.cut(np.zeros((height, width, 3), np.uint8), 256).shape == (256, 256, 3)


def jaw_mesh(size: int) -> np.ndarray:
    mesh = np.full((478, 3), size / 2, np.float32)
    angle = np.linspace(0, np.pi, len(JAW_MESH))
    mesh[list(JAW_MESH), 0] = size / 2 + size / 4 * np.cos(angle)
    mesh[list(JAW_MESH), 1] = size / 2 + size / 4 * np.sin(angle)
    mesh[33, :2], mesh[263, :2] = (size * 0.3, size * 0.4), (size * 0.7, size * 0.4)
    return mesh


def test_head_is_above_the_jaw_and_torso_below() -> None:
    size = 128
    above = above_jaw(jaw_mesh(size), size, size)
    assert above[10].all() and above[size // 2, 2] and not above[-5].any()
    chin = int(size * 0.75)
    assert above[chin - 3, size // 2] and not above[chin + 8, size // 2]
    frame = np.full((size, size, 3), 90, np.uint8)
    probability = np.zeros((256, 256), np.uint8)
    probability[40:, 40:216] = 255
    labels = label(frame, probability, jaw_mesh(size))
    assert labels[50, 64] == MASK_HEAD and labels[120, 64] == MASK_TORSO and labels[50, 2] == MASK_BACKGROUND


def test_a_coarse_mask_snaps_to_the_edge_of_the_picture() -> None:
    """The person's true edge is at 130, the net says 126; the plate tells which is right."""
    scene = Scene(np.full((256, 256, 3), 60, np.uint8), np.ones((256, 256), bool))
    frame = scene.plate.copy()
    frame[:, 130:] = 200
    coarse = np.zeros((256, 256), np.uint8)
    coarse[:, 126:] = 255
    roughly = label(frame, coarse, jaw_mesh(256))[40]
    exactly = label(frame, coarse, jaw_mesh(256), scene)[40]
    assert abs(int(roughly.argmax()) - 130) <= 4
    assert abs(int(exactly.argmax()) - 130) <= 1


def test_masks_are_averaged_within_a_shot_only() -> None:
    masks = np.zeros((4, 2, 2), np.uint8)
    masks[2:] = 200
    assert [int(mask[0, 0]) for mask in steady(masks, [])] == [0, 50, 150, 200]
    assert [int(mask[0, 0]) for mask in steady(masks, [2])] == [0, 0, 200, 200]


def test_the_background_is_seen_behind_a_moving_person() -> None:
    size = 96
    rows, columns = np.mgrid[:size, :size]
    scene = np.stack([columns * 2, rows * 2, np.full_like(rows, 80)], -1).astype(np.uint8)
    pairs = []
    for shift in range(0, 60, 3):
        frame, labels = scene.copy(), np.zeros((size, size), np.uint8)
        frame[30:, shift : shift + 30] = (255, 0, 255)
        labels[30:, shift : shift + 30] = MASK_TORSO
        pairs.append((frame, labels))
    found = background_plate(pairs)
    plate, seen = found.rgb, found.seen
    assert seen.mean() > 0.95
    assert np.abs(plate.astype(int) - scene).mean() < 1


def test_holes_fill_smoothly() -> None:
    rows, columns = np.mgrid[:64, :64]
    scene = np.repeat((2 * columns + rows)[..., None], 3, axis=2).astype(np.uint8)
    known = np.ones((64, 64), bool)
    known[20:44, 20:44] = False
    image = np.where(known[..., None], scene, 0).astype(np.uint8)
    filled = fill_holes(image, known)
    assert np.abs(filled.astype(int) - scene)[~known].mean() < 15
    np.testing.assert_array_equal(filled[known], scene[known])
    assert (fill_holes(image, np.zeros_like(known)) == 128).all()


def test_hair_that_the_masks_miss_is_not_part_of_the_scene() -> None:
    size = 128
    rows, columns = np.mgrid[:size, :size]
    scene = np.repeat((120 + 0.5 * columns)[..., None], 3, axis=2).astype(np.uint8)
    scene[:, 100:110] = 20
    person = (rows - 64) ** 2 + (columns - 64) ** 2 < 30**2
    curl = (np.abs(rows - 64) < 3) & (np.abs(columns - 33) < 3)
    frame = np.where((person | curl)[..., None], np.uint8(30), scene)
    found = background_plate([(frame, np.where(person, MASK_HEAD, MASK_BACKGROUND))] * 5)
    plate, seen = found.rgb, found.seen
    assert seen[64, 30] and not seen[64, 64]
    # The curl is gone; the dark post, just as dark but away from the person, is not.
    assert np.abs(plate.astype(int) - scene)[curl].max() < 25
    assert (plate[:, 102:108] == 20).all()


def test_a_shadow_beside_the_person_stays() -> None:
    size = 256
    rows, columns = np.mgrid[:size, :size]
    away = np.hypot(rows - 128, columns - 128)
    shade = 28 * np.exp(-(((away - 64) / 9) ** 2))
    scene = np.repeat((170 - shade)[..., None], 3, axis=2).astype(np.uint8)
    person = away < 60
    frame = np.where(person[..., None], np.uint8(140), scene)
    found = background_plate([(frame, np.where(person, MASK_HEAD, MASK_BACKGROUND))] * 5)
    shadow = (away > 66) & (away < 70)
    assert np.abs(found.rgb.astype(int) - scene)[shadow].mean() < 4


def test_a_shelf_goes_on_behind_the_person() -> None:
    size = 128
    scene = np.full((size, size, 3), 210, np.uint8)
    scene[60:70] = (150, 90, 20)
    known = np.ones((size, size), bool)
    known[20:, 50:100] = False
    shown = continued(np.where(known[..., None], scene, 0).astype(np.uint8), known).astype(int)
    np.testing.assert_array_equal(shown[known], scene[known])
    # At the edge the shelf is a shelf, far behind the person a blur: no outline of them stands in the scene.
    assert np.abs(shown[64, 50:53] - scene[64, 50:53]).max() < 40
    assert np.abs(np.diff(shown[64], axis=0)).max() < 25
    assert np.abs(np.diff(shown[30:50], axis=1)).max() < 25


@pytest.mark.skipif(not is_present("selfie-segmentation"), reason="the segmentation net was not fetched")
def test_an_empty_picture_holds_no_person() -> None:
    probability = PersonFinder()(np.full((100, 80, 3), 128, np.uint8))
    assert probability.shape == (256, 256) and probability.mean() < 64
