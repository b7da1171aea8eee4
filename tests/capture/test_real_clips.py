"""Capture on real recordings (research data beside the checkout; skipped where they are absent)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.capture.canonical import CAMERA_FLIP
from emogene.capture.create import CaptureConfig, create_clip
from emogene.capture.preflight import check
from emogene.capture.tracks import neutral_of, track_to_clip
from emogene.errors import UserError
from emogene.geometry.landmarks import NOSE, eye_opening, lip_opening, lip_width
from emogene.io.clip import MASK_HEAD, MASK_TORSO, open_clip
from emogene.io.images import read_mask, read_rgb

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


@pytest.mark.skipif(not is_present("selfie-segmentation"), reason="the segmentation net was not fetched")
def test_a_video_becomes_a_whole_clip_and_is_not_made_twice(tmp_path: Path) -> None:
    video = DATA / "free_speech" / "clip_003.mkv"
    config = CaptureConfig(strict=False)
    with pytest.raises(UserError, match="too short"):
        create_clip(video, tmp_path / "clip", speaker="x")
    clip = create_clip(video, tmp_path / "clip", config=config, speaker="x")
    assert clip.camera is not None and clip.camera.width_px == 512
    seen = np.einsum("tij,tpj->tpi", clip.arrays["pose"][:, :3, :3], clip.arrays["landmarks_cano"])
    seen = seen + clip.arrays["pose"][:, None, :3, 3]
    pixels = clip.camera.focal_px * seen[..., :2] / seen[..., 2:] + [clip.camera.cx_px, clip.camera.cy_px]
    np.testing.assert_allclose(pixels, clip.arrays["landmarks_px"], atol=0.01)
    assert float(clip.about["pose_rms_px"]) < 2.5
    middle = clip.n_frames // 2
    labels, frame = read_mask(clip.mask_path(middle)), read_rgb(clip.frame_path(middle))
    assert labels.shape == frame.shape[:2] == (512, 512)
    nose = clip.arrays["landmarks_px"][middle, 30].astype(int)
    assert labels[nose[1], nose[0]] == MASK_HEAD and (labels == MASK_TORSO).mean() > 0.02
    assert read_rgb(clip.background_path).shape == (512, 512, 3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "clip").rglob("*") if path.is_file()}
    create_clip(video, tmp_path / "clip", config=config, speaker="x")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "clip").rglob("*") if path.is_file()}
    assert before == after
