from __future__ import annotations

import numpy as np

from emogene.persona.check_clip import as_text, closed_share, takes_of
from emogene.types import EMOTIONS, NEUTRAL


def test_takes_are_runs_of_one_strong_emotion() -> None:
    emotion = np.zeros((50, 8), np.float32)
    emotion[:10, NEUTRAL] = 1
    emotion[10:20, 0] = 0.9
    emotion[20:30, 1] = 0.4
    emotion[30:40, [2, 3]] = (0.6, 0.2)
    emotion[40:, 4] = 1
    emotion[:, NEUTRAL] = 1 - np.delete(emotion, NEUTRAL, 1).sum(1)
    takes = takes_of(emotion)
    assert [label for _, label in takes] == [NEUTRAL, 0, 4], "weak and mixed ones are left out"
    assert takes[0][0] == slice(0, 10) and takes[-1][0] == slice(40, 50)


def test_a_table_reads_row_by_row() -> None:
    table = np.zeros((8, 8), np.float32)
    table[EMOTIONS.index("happy"), EMOTIONS.index("happy")] = 3
    table[EMOTIONS.index("happy"), EMOTIONS.index("sad")] = 1
    text = as_text(table)
    assert "| happy |" in text and "75% |" in text and "right: 75% of 4" in text and "angry |  |" not in text


def test_closures_are_looked_for_in_p_b_m_alone() -> None:
    opening = np.ones(100, np.float32)
    opening[[10, 11, 50]] = 0.0
    opening[60:70] = 0.05
    phones = [(0.4, 0.48, "p"), (1.0, 1.08, "m"), (2.0, 2.04, "b"), (2.4, 2.8, "aa")]
    assert np.isclose(closed_share(opening, np.arange(100), phones), 2 / 3)
    assert np.isnan(closed_share(opening, np.arange(100), phones[3:]))
