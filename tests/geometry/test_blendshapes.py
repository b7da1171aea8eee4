from __future__ import annotations

import numpy as np

from emogene.geometry.blendshapes import ARKIT_52, UNIT, UNIT_MIRROR, from_mediapipe, unit_columns, units_row


def test_names_are_unique_and_in_order() -> None:
    assert len(set(ARKIT_52)) == 52 and ARKIT_52[0] == "browDownLeft" and ARKIT_52[51] == "tongueOut"
    assert all(UNIT[name] == index for index, name in enumerate(ARKIT_52))


def test_mirror_swaps_sides_and_undoes_itself() -> None:
    assert np.all(UNIT_MIRROR[UNIT_MIRROR] == np.arange(52))
    assert UNIT_MIRROR[UNIT["mouthSmileLeft"]] == UNIT["mouthSmileRight"]
    assert (
        UNIT_MIRROR[UNIT["jawOpen"]] == UNIT["jawOpen"] and UNIT_MIRROR[UNIT["jawLeft"]] == UNIT["jawRight"]
    )


def test_a_name_without_side_means_both() -> None:
    assert unit_columns("mouthSmile") == (UNIT["mouthSmileLeft"], UNIT["mouthSmileRight"])
    row = units_row({"mouthSmile": 0.5, "jawOpen": 0.2})
    assert row[UNIT["mouthSmileRight"]] == 0.5 and row.sum() == np.float32(1.2)


def test_mediapipe_scores_lose_their_neutral() -> None:
    scores = np.arange(52, dtype=np.float32)
    ordered = from_mediapipe(scores)
    assert ordered[UNIT["browDownLeft"]] == 1 and ordered[UNIT["noseSneerRight"]] == 51
    assert ordered[UNIT["tongueOut"]] == 0
