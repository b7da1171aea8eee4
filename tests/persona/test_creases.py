from __future__ import annotations

import numpy as np
import pytest

from emogene.errors import UserError
from emogene.geometry.blendshapes import N_UNITS, units_row
from emogene.persona.creases import SHEETS, crease_sheets, crease_weights
from emogene.persona.kit import shipped_kit
from emogene.persona.mesh import PersonaMesh
from emogene.persona.render_gl import Renderer, Studio

REST = np.zeros(N_UNITS, np.float32)
ZERO = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("unit", "sheet"),
    [("mouthSmile", "laugh"), ("noseSneer", "nose"), ("browDown", "frown"), ("cheekSquint", "crow")],
)
def test_a_unit_deepens_its_crease_on_its_side(unit: str, sheet: str) -> None:
    at = SHEETS.index(sheet)
    right, left = crease_weights(units_row({unit + "Left": 0.8}))[:, at]
    assert left > right + 0.4
    assert right == crease_weights(REST)[0, at]


def test_raised_brows_fold_both_sides_and_no_crease_is_bottomless() -> None:
    raised = crease_weights(units_row({"browInnerUp": 1.0}))[:, SHEETS.index("forehead")]
    assert raised[0] == raised[1] > 0.3
    assert crease_weights(np.ones(N_UNITS, np.float32)).max() < 1.2


def test_sheets_are_level_but_for_creases_between_the_landmarks() -> None:
    mesh = PersonaMesh(shipped_kit("lena"))
    marks = mesh.neutral_cano * mesh.unit_mm
    grid = np.stack(np.meshgrid(np.linspace(-60, 60, 121), np.linspace(60, -110, 171)), -1)
    place = np.concatenate([grid, np.full((*grid.shape[:2], 1), 30.0)], -1)
    sheets = crease_sheets((place, marks), (place, marks)).astype(int) - 128
    assert np.abs(sheets - sheets[:, ::-1]).max() <= 1, "both sides are alike"
    for index, name in enumerate(SHEETS):
        assert sheets[..., index].min() < -40, name
        assert (np.abs(sheets[..., index]) < 5).mean() > 0.8, name
    rows, columns = np.nonzero(sheets[..., SHEETS.index("laugh")] < -30)
    beside = np.abs(place[rows, columns, 0])
    assert (beside > marks[35, 0]).all() and (place[rows, columns, 1] < marks[30, 1] + 10).all()


def test_several_renderers_live_in_one_process() -> None:
    try:
        first, second = (
            Renderer(PersonaMesh(shipped_kit(name)), Studio(size_px=64, supersample=1))
            for name in ("lena", "jonas")
        )
    except UserError as error:
        pytest.skip(str(error))
    pictures = [renderer.draw(REST, ZERO, ZERO)[0].astype(int) for renderer in (first, second, first)]
    assert (pictures[0] == pictures[2]).all() and np.abs(pictures[0] - pictures[1]).mean() > 5
