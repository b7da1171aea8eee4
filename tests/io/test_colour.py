from __future__ import annotations

import numpy as np
import pytest

from emogene.io.colour import tone_mapped


@pytest.mark.parametrize(("is_pq", "paper_white"), [(True, 0.58), (False, 0.75)])
def test_hdr_signal_becomes_a_picture_of_normal_brightness(is_pq: bool, paper_white: float) -> None:
    grey = np.linspace(0, 1, 256)[None, :, None].repeat(3, 2)
    picture = tone_mapped((grey * 65535).astype(np.uint16), is_pq=is_pq)[0].astype(int)
    assert picture[0].max() == 0 and picture[-1].min() >= 250
    assert (np.diff(picture, axis=0) >= 0).all()
    assert np.ptp(picture, axis=1).max() <= 2
    assert 210 <= picture[round(paper_white * 255)].mean() <= 240


def test_wide_primaries_become_more_saturated() -> None:
    skin = np.array([[[0.62, 0.52, 0.46]]])
    red, _, blue = tone_mapped((skin * 65535).astype(np.uint16), is_pq=False)[0, 0].astype(int)
    assert red - blue > (0.62 - 0.46) * 255
