import numpy as np

from emogene.emotion.variation import Performance, side_of_landmark


def test_every_landmark_has_its_side():
    side = side_of_landmark()
    assert np.flatnonzero(side == 0).tolist() == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    assert side[36] == -1  # outer corner of the person's right eye
    assert side[54] == 1


def test_size_zero_is_the_average():
    average = Performance.of(5, 8, 0.0)
    assert not average.style.any()
    np.testing.assert_allclose(average.gains_at(0, 50), 1)


def test_gains_are_moderate_smooth_and_addressed_by_frame():
    for seed in range(20):
        gains = Performance.of(seed, 8, 1.0).gains_at(0, 500)
        assert 0.5 < gains.min() < gains.max() < 1.6
        assert np.abs(np.diff(gains, axis=0)).max() < 0.03
    np.testing.assert_allclose(Performance.of(19, 8, 1.0).gains_at(100, 50), gains[100:150], atol=1e-6)
    uneven = np.abs(gains[:, 48] - gains[:, 54]).mean()
    assert uneven > 0.001
