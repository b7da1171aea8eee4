"""Real footage against itself and against what was done to it: metrics must rank as anybody would."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.evaluate.observe import Nets, Observation, observe
from emogene.evaluate.video import Seen, VideoReport, measure
from emogene.io.audio import read_audio
from emogene.io.images import resize
from emogene.io.video import VideoWriter, read_video
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, ByteArray

DATA = Path(__file__).parents[3] / "shared" / "data"
NEEDED = ("face-landmarker", "efficientnet-lite0", "face-expression", "mobileface")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason="the recordings in ../shared/data are absent"),
    pytest.mark.skipif(not all(map(is_present, NEEDED)), reason="the evaluation nets were not fetched"),
]
FRAMES = 45
SHIFT = 4


def same(picture: ByteArray) -> ByteArray:
    return picture


def blurred(picture: ByteArray) -> ByteArray:
    height, width = picture.shape[:2]
    return resize(resize(picture, width // 4, height // 4), width, height)


def excerpt(
    source: Path, target: Path, change: Callable[[ByteArray], ByteArray] = same, late: int = 0
) -> Path:
    """FRAMES pictures of a GRID sentence, ``late`` frames later than their sound."""
    pictures = [picture for _, picture in read_video(source, FPS)[1]][10 - late : 10 - late + FRAMES]
    sound = read_audio(source).samples[10 * SAMPLES_PER_FRAME : (10 + FRAMES) * SAMPLES_PER_FRAME]
    height, width = pictures[0].shape[:2]
    with VideoWriter(target, (width, height), audio=Audio(sound), crf=4) as writer:
        for picture in pictures:
            writer.write(change(picture))
    return target


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoReport]:
    folder, nets = tmp_path_factory.mktemp("clips"), Nets()
    one, other = (sorted((DATA / "grid" / who).glob("*.mkv"))[0] for who in ("s1", "s2"))
    paths = {
        "real": excerpt(one, folder / "real.mp4"),
        "late": excerpt(one, folder / "late.mp4", late=SHIFT),
        "blurred": excerpt(one, folder / "blurred.mp4", blurred),
        "other person": excerpt(other, folder / "other.mp4"),
    }
    seen = {name: Seen(path, observe(path, nets)) for name, path in paths.items()}
    # A copy: a file against itself is not compared picture by picture.
    copied = Seen(Path(shutil.copy(paths["real"], folder / "copy.mp4")), seen["real"].observation)
    return {name: measure(video, copied, nets) for name, video in seen.items()}


def test_real_footage_equals_itself(reports: dict[str, VideoReport]) -> None:
    found = reports["real"].metrics
    assert found["psnr"] == np.inf and found["ssim"] == pytest.approx(1)
    for name in (
        "m_lmd",
        "f_lmd",
        "unit_error_lower",
        "perceptual_efflite0",
        "fd_efflite0",
        "flicker_excess",
    ):
        assert found[name] == pytest.approx(0, abs=1e-3), name
    assert found["csim"] == pytest.approx(1, abs=1e-4) and found["lip_opening_r"] == pytest.approx(1)
    assert found["lip_opening_lag_frames"] == 0 and found["sharpness_mouth"] == pytest.approx(1)


def test_a_late_picture_is_found_by_lips(reports: dict[str, VideoReport]) -> None:
    found = reports["late"].metrics
    assert abs(found["lip_opening_lag_frames"] - SHIFT) <= 1
    assert found["lip_opening_r"] < 0.9 and found["m_lmd"] > reports["blurred"].metrics["m_lmd"]
    if "sync_offset_frames" in found and "sync_offset_frames" in reports["real"].metrics:
        moved = found["sync_offset_frames"] - reports["real"].metrics["sync_offset_frames"]
        assert abs(moved - SHIFT) <= 2


def test_blur_costs_sharpness_and_perception_but_no_identity(reports: dict[str, VideoReport]) -> None:
    found, swapped = reports["blurred"].metrics, reports["other person"].metrics
    assert found["sharpness_face"] < 0.5 and found["perceptual_efflite0"] > 0.05
    assert found["fd_efflite0"] > 1 and found["csim"] > swapped["csim"] + 0.2


def test_another_person_is_another_person(reports: dict[str, VideoReport]) -> None:
    found = reports["other person"].metrics
    assert found["csim"] < 0.4
    assert (
        found["f_lmd"] > reports["late"].metrics["f_lmd"]
        and found["psnr"] < reports["blurred"].metrics["psnr"]
    )
    assert found["fd_efflite0"] > reports["late"].metrics["fd_efflite0"]


def test_frames_without_a_face_are_counted_and_silence_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hidden.mp4"
    source = sorted((DATA / "grid" / "s1").glob("*.mkv"))[0]
    pictures = [picture for _, picture in read_video(source, FPS)[1]][:40]
    with VideoWriter(path, (360, 288), audio=Audio(np.zeros(40 * SAMPLES_PER_FRAME, np.float32))) as writer:
        for index, picture in enumerate(pictures):
            writer.write(np.zeros_like(picture) if 10 <= index < 20 else picture)
    nets = Nets()
    seen = Seen(path, observe(path, nets))
    report = measure(seen, seen, nets, emotion="neutral")
    assert report.aligned["frames_without_face"] == 10 and report.aligned["compared_faces"] == 30
    assert "silent" in report.missing["sync"] and "sync_confidence" not in report.metrics
    assert (
        report.metrics["f_lmd"] == pytest.approx(0, abs=1e-4) and 0 <= report.metrics["emotion_accuracy"] <= 1
    )


def test_acted_emotion_is_told_from_the_wrong_one() -> None:
    nets = Nets()
    clips = {"happy": "MEADcrop256_happy.mp4", "sad": "MEADcrop256_sad.mp4"}
    scores = {}
    for label, file in clips.items():
        path = DATA / "emotion" / file
        seen: Observation = observe(path, nets)
        for meant in clips:
            report = measure(Seen(path, seen), None, nets, emotion=meant)
            scores[label, meant] = report.metrics["emotion_score"]
    assert scores["happy", "happy"] > scores["happy", "sad"] + 0.3
    assert scores["sad", "sad"] > scores["sad", "happy"] + 0.3
