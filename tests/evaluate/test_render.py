"""The portrait's evaluation on a toy person with an untrained portrait."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emogene.evaluate.render import evaluate_render, face_box, mouth_box, nearest
from emogene.geometry.landmarks import MOUTH
from emogene.io.clip import open_clip
from emogene.training.render_frames import open_frames
from tests.render.test_portrait import tiny_portrait
from tests.render.toy_clip import write_toy_clip


def test_report_has_truth_portrait_and_nearest_rows(tmp_path: Path) -> None:
    write_toy_clip(tmp_path / "clip", n_frames=22, size=64)
    report = evaluate_render(tiny_portrait(64), open_clip(tmp_path / "clip"))
    truth, ours, near = (row.values for row in report.table.rows)
    assert truth["face_sharp"] == 1 and truth["face_ssim"] > 0.999
    assert near["face_psnr"] > ours["face_psnr"]
    assert report.frames == [20, 21]
    assert report.sheet.shape == (2 * 64, 3 * 64 + 32, 3)


def test_boxes_hold_their_points_and_nearest_is_a_training_frame(tmp_path: Path) -> None:
    clip = write_toy_clip(tmp_path / "clip", n_frames=22, size=64)
    frames = open_frames(clip, tmp_path / "frames", low=16, max_frames=99)
    points = frames.project(21)
    left, top, right, bottom = mouth_box(points, 64)
    assert (points[MOUTH].min(0) >= (left - 1, top - 1)).all() and (
        points[MOUTH].max(0) <= (right + 1, bottom + 1)
    ).all()
    assert face_box(points, 64)[2] <= 64
    assert 0 <= nearest(frames, np.array([21]))[0] < frames.n_train
