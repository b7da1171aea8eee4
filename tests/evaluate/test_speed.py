"""The figures of `emogene bench` on a tiny portrait: there, positive, and of the field that was asked."""

from pathlib import Path

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.evaluate import speed
from emogene.evaluate.metric_speed import metric_speed
from emogene.io.video import VideoWriter
from emogene.render.portrait import Portrait
from tests.render.test_inference import SIZE, make_model


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait(make_model(), np.full((SIZE, SIZE, 3), 90, np.uint8))


def test_training_is_timed_on_a_trained_field(portrait: Portrait) -> None:
    result = speed.training_speed(rays=64, rounds=1, portrait=portrait)
    assert result["samples_per_ray"] > 0
    assert result["torch_rays_per_cpu_s"] > 0


def test_field_and_frames_are_timed(portrait: Portrait) -> None:
    field = speed.field_speed(size=16, rounds=1, portrait=portrait)
    assert field["step"] == portrait.model.config.step and field["torch_cpu_ms"] > 0
    assert portrait.model.head.backend == "auto"
    frames = speed.frame_speed(portrait, SIZE, frames=4, rounds=1)
    assert frames["fps"] > 0 and frames["fps_of_idle_cores"] > 0


@pytest.mark.skipif(not is_present("face-landmarker"), reason="the face landmarker was not fetched")
def test_every_family_of_metrics_is_timed(tmp_path: Path) -> None:
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for level, path in enumerate(paths):
        with VideoWriter(path, (64, 64)) as writer:
            for _ in range(4):
                writer.write(np.full((64, 64, 3), 90 + level, np.uint8))
    result = metric_speed(*paths)
    assert result["frames"] == 4 and result["peak_mb"] > 50
    for part in ("PSNR, SSIM, sharpness", "one video observed", "everything"):
        assert "frames/s" in result[part]
