from __future__ import annotations

from pathlib import Path

import numpy as np

from emogene.capture.survey import _at_25
from emogene.capture.tracks import (
    assumed_camera,
    assumed_pose,
    fitted,
    is_done,
    neutral_of,
    share_neutral,
    sound_of,
)
from emogene.io.clip import open_clip, write_clip
from emogene.types import Audio
from tests.capture.synthetic_head import synthetic_head


def arrays(n: int, value: float) -> dict[str, np.ndarray]:
    return {
        "landmarks_cano": np.full((n, 68, 3), value, np.float32),
        "eyes": np.ones((n, 4), np.float32),
        "pose": np.tile(np.eye(4, dtype=np.float32), (n, 1, 1)),
    }


def test_the_assumed_camera_shows_the_head_where_it_was_seen() -> None:
    head = synthetic_head(n_frames=10, noise_px=0.0)
    face, camera = head.weak_face(), assumed_camera(head.track)
    pose = assumed_pose(face, camera)
    np.testing.assert_allclose(
        pose[:, :3, :3] @ np.swapaxes(pose[:, :3, :3], 1, 2), np.tile(np.eye(3), (10, 1, 1)), atol=1e-5
    )
    origin = camera.focal_px * pose[:, :2, 3] / pose[:, 2:3, 3] + [camera.cx_px, camera.cy_px]
    np.testing.assert_allclose(origin, face.origin_px[:, :2], atol=1e-3)
    np.testing.assert_allclose(camera.focal_px / pose[:, 2, 3], face.scale_px, rtol=1e-5)


def test_the_track_is_cut_to_the_sound() -> None:
    track = synthetic_head(n_frames=30).track
    assert len(fitted(track, Audio(np.zeros(16000, np.float32)))) == 25
    # One picture too few is held; many too few are not invented.
    assert len(fitted(track, Audio(np.zeros(31 * 640, np.float32)))) == 31
    assert len(fitted(track, Audio(np.zeros(16000 * 9, np.float32)))) == 32
    assert len(sound_of(Audio(np.ones(1000, np.float32)), 5).samples) == 3200


def test_clips_of_a_speaker_share_the_median_neutral(tmp_path: Path) -> None:
    folders = []
    for index, value in enumerate((1.0, 2.0, 9.0)):
        folders.append(tmp_path / str(index))
        write_clip(folders[-1], arrays(4, value), speaker="a", neutral_cano=np.full((68, 3), value).tolist())
    share_neutral(folders)
    for folder in folders:
        clip = open_clip(folder)
        np.testing.assert_allclose(neutral_of(clip), 2.0)
        assert clip.speaker == "a"
    assert is_done(folders[0]) and not is_done(tmp_path / "absent")


def test_a_clip_without_a_note_has_its_median_as_neutral(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip", arrays(3, 5.0))
    np.testing.assert_allclose(neutral_of(clip), 5.0)


def test_surveys_look_25_times_a_second() -> None:
    for fps in (15, 25, 30, 60):
        times: list[float] = []
        film = ((index / fps, np.zeros((2, 2, 3), np.uint8)) for index in range(4 * fps))
        seen = len(list(_at_25(film, times)))
        assert len(times) == 4 * fps
        assert abs(seen - 4 * min(fps, 25)) <= 2
