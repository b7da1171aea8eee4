"""Capture on real recordings (research data beside the checkout; skipped where they are absent)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.capture.canonical import CAMERA_FLIP
from emogene.capture.preflight import check
from emogene.capture.tracks import neutral_of, track_to_clip
from emogene.geometry.landmarks import NOSE, eye_opening, lip_opening, lip_width
from emogene.io.clip import open_clip

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason="the recordings in ../shared/data are absent"),
    pytest.mark.skipif(not is_present("face-landmarker"), reason="the face landmarker was not fetched"),
]


def test_a_small_face_is_tracked_and_its_lips_move(tmp_path: Path) -> None:
    track_to_clip(DATA / "grid" / "s1" / "bbaf2n.mkv", tmp_path / "clip", speaker="s1")
    clip = open_clip(tmp_path / "clip")
    assert abs(clip.n_frames - 75) <= 1 and clip.valid.mean() > 0.95 and clip.audio_path.exists()
    landmarks = clip.arrays["landmarks_cano"]
    np.testing.assert_allclose(np.median(landmarks[:, [36, 45], 0], axis=0), [-0.5, 0.5], atol=0.01)
    # "bin blue at f two now": lips open and shut, the nose stands still.
    assert np.ptp(lip_opening(landmarks)) > 0.1
    assert landmarks[:, NOSE].std(0).max() < 0.02
    neutral = neutral_of(clip)
    assert abs(lip_opening(neutral)) < 0.02
    assert 0.35 < lip_width(neutral) < 0.75 and eye_opening(neutral).min() > 0.05
    # A frontal head in front of the camera.
    assert (clip.pose.camera_from_head[:, 2, 3] > 1).all()
    frontal = CAMERA_FLIP @ clip.pose.camera_from_head[:, :3, :3]
    assert np.degrees(np.arccos(frontal[:, 2, 2].clip(-1, 1))).max() < 25


def test_short_footage_is_refused_by_the_check() -> None:
    report = check(DATA / "portraits" / "woman_5s.mp4")
    assert [finding.topic for finding in report.errors] == ["length"]
    assert any("found in 100%" in finding.sentence for finding in report.findings)
