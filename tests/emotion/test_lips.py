import numpy as np

from emogene.emotion.lips import REACH_FRAMES, keep_contacts, part_lips, shut_degree

UPPER, LOWER = [61, 62, 63], [67, 66, 65]


def mouth(opening):
    """Offsets [T, 68, 3] of a mouth whose lower lip drops by ``opening`` [T]."""
    offsets = np.zeros((len(opening), 68, 3), np.float32)
    offsets[:, LOWER, 1] = -np.asarray(opening, np.float32)[:, None]
    return offsets


def gap(offsets):
    return (offsets[:, UPPER, 1] - offsets[:, LOWER, 1]).mean(1)


def with_gaping(neutral):
    """An emotion that pulls the lips 3 + 3 mm apart."""
    emotional = neutral.copy()
    emotional[:, UPPER, 1] += 0.03
    emotional[:, LOWER, 1] -= 0.03
    return emotional


SPEECH = [0.08] * 8 + [0.04, 0.0, 0.0, 0.04] + [0.08] * 8


def test_a_closure_between_vowels_survives():
    neutral = mouth(SPEECH)
    kept = gap(keep_contacts(neutral, with_gaping(neutral)))
    assert kept[9:11].max() < 0.003
    assert kept[:5].min() > 0.13  # the vowels keep the emotion's opening


def test_a_pause_keeps_the_emotions_open_lips():
    neutral = mouth([0.08] * 6 + [0.0] * 30)
    kept = gap(keep_contacts(neutral, with_gaping(neutral)))
    assert kept[14:].min() > 0.05


def test_lips_on_the_teeth_stay_there_while_the_upper_lip_is_free():
    neutral = mouth([0.10] * 8 + [0.025] * 2 + [0.10] * 8)
    kept = keep_contacts(neutral, with_gaping(neutral))
    np.testing.assert_allclose(kept[8:10, LOWER, 1], neutral[8:10, LOWER, 1], atol=1e-3)
    assert (kept[8:10, UPPER, 1] > 0.015).all()


def test_without_emotion_nothing_changes():
    neutral = mouth(SPEECH)
    np.testing.assert_array_equal(keep_contacts(neutral, neutral), neutral)
    assert len(keep_contacts(neutral[:0], neutral[:0])) == 0


def test_windows_agree():
    rng = np.random.default_rng(0)
    neutral = mouth(np.abs(np.convolve(rng.normal(0, 0.1, 200), np.ones(4) / 4, "same")))
    emotional = with_gaping(neutral)
    whole = keep_contacts(neutral, emotional)
    part = keep_contacts(neutral[50 - REACH_FRAMES : 120], emotional[50 - REACH_FRAMES : 120])
    np.testing.assert_allclose(part[REACH_FRAMES:-REACH_FRAMES], whole[50 : 120 - REACH_FRAMES], atol=1e-6)


def test_a_pout_leaves_speech_its_openings():
    neutral = mouth(SPEECH)
    pout = neutral.copy()
    pout[:, LOWER, 1] += 0.07
    kept = gap(keep_contacts(neutral, pout))
    np.testing.assert_allclose(kept[:5], 0.6 * 0.08, atol=1e-6)
    assert np.abs(kept[9:11]).max() < 0.003


def test_lips_do_not_pass_through_each_other():
    neutral = mouth(SPEECH)
    pout = neutral.copy()
    pout[:, LOWER, 1] += 0.05
    parted = part_lips(neutral, pout)
    assert gap(parted).min() > -1e-6
    np.testing.assert_allclose(gap(parted)[:3], 0.03, atol=1e-6)  # where they do not meet nothing changes
    pressed = mouth([-0.01] * 5)
    np.testing.assert_array_equal(part_lips(pressed, pressed), pressed)


def test_lips_are_told_to_be_shut_in_speech_not_in_a_pause():
    degree = shut_degree(mouth(SPEECH))
    assert degree[9:11].min() > 0.95 and degree[:6].max() < 0.05
    assert not shut_degree(mouth([0.0] * 20)).any()
    assert shut_degree(mouth([])).shape == (0,)
