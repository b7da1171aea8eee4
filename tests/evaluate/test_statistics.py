import math

import numpy as np
import pytest

from emogene.evaluate.statistics import bootstrap_mean, krippendorff_alpha, paired_difference


def test_bootstrap_covers_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 1, 200).tolist()
    interval = bootstrap_mean(values)
    assert interval.low < 3.0 < interval.high and interval.n == 200
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / math.sqrt(200), rel=0.2)
    assert math.isnan(bootstrap_mean([]).mean)


def test_pairing_sees_what_separate_means_hide() -> None:
    rng = np.random.default_rng(1)
    clip = rng.normal(0, 5, 40)
    first, second = clip + 0.5 + rng.normal(0, 0.1, 40), clip
    assert paired_difference(first.tolist(), second.tolist()).low > 0.4
    with pytest.raises(ValueError, match="equally many"):
        paired_difference([1.0], [1.0, 2.0])


def test_agreement_of_raters() -> None:
    assert krippendorff_alpha([[1, 2, 3, 4], [1, 2, 3, 4]]) == 1
    assert krippendorff_alpha([[1, 5, 1, 5], [5, 1, 5, 1]]) < 0
    assert math.isnan(krippendorff_alpha([[1, None], [None, 2]]))
    # Krippendorff 2011, interval data of the canonical example: 0.849
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    assert krippendorff_alpha(rows) == pytest.approx(0.849, abs=1e-3)
