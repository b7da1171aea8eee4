"""The curve picture shows both curves where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emogene.evaluate.curves import OURS_RGB, TRUE_RGB, curve_drawing, curve_sheet


def test_curves_are_drawn() -> None:
    true, ours = np.zeros(50, np.float32), np.ones(50, np.float32)
    sheet = curve_sheet([(true, ours), (ours, true)], width=200, height=60)
    assert sheet.shape == (120, 200, 3)
    rows_true = np.flatnonzero((sheet[:60] == TRUE_RGB).all(-1).any(1))
    rows_ours = np.flatnonzero((sheet[:60] == OURS_RGB).all(-1).any(1))
    assert rows_ours.max() < rows_true.min()
    assert (sheet == OURS_RGB).all(-1).any(0).all()


def test_the_drawing_names_its_strips(tmp_path: Path) -> None:
    wave = np.sin(np.arange(80) / 5).astype(np.float32)
    curve_drawing(tmp_path / "lips.svg", {"s1": (wave, 0.8 * wave), "s2": (wave, wave[:70])})
    text = (tmp_path / "lips.svg").read_text()
    assert text.count("<polyline") == 4 and ">s2</text>" in text
    assert text.count("<g ") == text.count("</g>") == 2
