"""The curve picture shows both curves where they belong."""

from __future__ import annotations

import numpy as np

from emogene.evaluate.curves import OURS_RGB, TRUE_RGB, curve_sheet


def test_curves_are_drawn() -> None:
    true, ours = np.zeros(50, np.float32), np.ones(50, np.float32)
    sheet = curve_sheet([(true, ours), (ours, true)], width=200, height=60)
    assert sheet.shape == (120, 200, 3)
    rows_true = np.flatnonzero((sheet[:60] == TRUE_RGB).all(-1).any(1))
    rows_ours = np.flatnonzero((sheet[:60] == OURS_RGB).all(-1).any(1))
    assert rows_ours.max() < rows_true.min()
    assert (sheet == OURS_RGB).all(-1).any(0).all()
