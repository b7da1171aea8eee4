from __future__ import annotations

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.capture.tracker import (
    N_BLENDSHAPES,
    N_MESH,
    FaceBox,
    Track,
    crop_square,
    different_faces,
    face_box,
    interpolate,
    resample,
    track_frames,
)
from emogene.errors import UserError


def track_of(values: np.ndarray, valid: np.ndarray | None = None) -> Track:
    """A track whose every coordinate is values[t]."""
    mesh = np.broadcast_to(values[:, None, None], (len(values), N_MESH, 3)).astype(np.float32).copy()
    valid = np.ones(len(values), bool) if valid is None else valid
    mesh[~valid] = np.nan
    return Track(mesh, np.zeros((len(values), N_BLENDSHAPES), np.float32), valid, (100, 100))


def test_gaps_are_bridged_linearly_and_still_marked() -> None:
    valid = np.array([True, True, False, False, True])
    filled = track_of(np.array([0.0, 1.0, 9.0, 9.0, 4.0]), valid).filled()
    np.testing.assert_allclose(filled.mesh_px[:, 7, 0], [0, 1, 2, 3, 4], atol=1e-6)
    assert filled.valid.tolist() == valid.tolist()


@pytest.mark.parametrize("fps", [15.0, 30.0, 50.0, 29.97])
def test_any_frame_rate_comes_to_25_without_shift(fps: float) -> None:
    times_s = np.arange(int(4 * fps)) / fps
    result = resample(track_of(times_s), times_s)
    wanted = np.arange(len(result)) / 25
    inside = wanted <= times_s[-1]
    np.testing.assert_allclose(result.mesh_px[inside, 0, 0], wanted[inside], atol=1e-5)
    assert abs(len(result) - 100) <= 2
    assert result.valid[inside].all()


def test_a_video_that_starts_after_its_sound_keeps_the_clock() -> None:
    times_s = 0.08 + np.arange(50) / 25
    result = resample(track_of(times_s), times_s)
    np.testing.assert_allclose(result.mesh_px[2:50, 0, 0], np.arange(2, 50) / 25, atol=1e-5)
    assert len(result) == 52


def test_a_track_without_a_face_stays_without() -> None:
    result = resample(track_of(np.zeros(30), np.zeros(30, bool)), np.arange(30) / 30)
    assert len(result) == 25 and not result.valid.any()


def test_interpolation_holds_the_ends() -> None:
    values = np.array([[1.0], [3.0]], np.float32)
    result = interpolate(values, np.array([1.0, 2.0]), np.array([0.0, 1.5, 5.0]))
    np.testing.assert_allclose(result[:, 0], [1, 2, 3])
    one = interpolate(values[:1], np.array([4]), np.array([0, 9]))
    np.testing.assert_allclose(one[:, 0], [1, 1])


@pytest.mark.parametrize(("corner", "side", "size"), [((10.0, 20.0), 64.0, 64), ((-8.0, -4.5), 100.0, 50)])
def test_a_point_lands_where_the_crop_says(corner: tuple[float, float], side: float, size: int) -> None:
    rows, columns = np.mgrid[:120, :160] + 0.5
    spot = np.array([42.3, 51.7])
    bright = 255 * np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / 50)
    frame = np.repeat(bright[..., None], 3, axis=2).astype(np.uint8)
    crop = crop_square(frame, np.array(corner, np.float32), side, size)[..., 0].astype(float)
    assert crop.shape == (size, size)
    rows, columns = np.mgrid[:size, :size] + 0.5
    found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    np.testing.assert_allclose(found * side / size + corner, spot, atol=0.1)


def test_face_box_is_the_extent() -> None:
    mesh = np.zeros((N_MESH, 3), np.float32)
    mesh[0], mesh[1] = (10, 20, 0), (30, 60, 5)
    mesh[2:] = (20, 40, 0)
    box = face_box(mesh)
    assert isinstance(box, FaceBox) and box.side_px == 40
    assert box.centre_px.tolist() == [20, 40]


@pytest.mark.skipif(not is_present("face-landmarker"), reason="the face landmarker was not fetched")
def test_pictures_without_a_face_give_an_empty_track() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in range(2)]
    track = track_frames(noise)
    assert len(track) == 2 and not track.valid.any() and track.size_px == (128, 96)
    with pytest.raises(UserError, match="no picture"):
        track_frames([])


def test_a_face_found_twice_is_one() -> None:
    mesh = np.zeros((N_MESH, 3), np.float32)
    faces = [
        (FaceBox(np.array(centre, np.float32), side), mesh)
        for centre, side in [((100, 100), 80.0), ((110, 95), 60.0), ((300, 100), 50.0)]
    ]
    assert [box.side_px for box, _ in different_faces(faces)] == [80.0, 50.0]
