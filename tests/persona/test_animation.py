# ruff: noqa: RUF001 - IPA letters are what they are
from __future__ import annotations

import numpy as np
import pytest

from emogene.geometry.blendshapes import UNIT
from emogene.geometry.landmarks import lip_opening
from emogene.persona.animation import FaceStyle, animate_face
from emogene.persona.emotions import RECIPES, with_neutral
from emogene.persona.idle import blinks, smooth_noise
from emogene.persona.phones import VISEMES, Phone, viseme_of, viseme_segments
from emogene.persona.rig import LandmarkRig
from emogene.persona.visemes import DOMINANCE, TARGETS, speech_energy
from emogene.types import EMOTIONS, FPS, N_EMOTIONS

SENTENCE = [
    "pau", "m", "ay", "m", "ah", "dh", "er", "b", "ay", "z", "ax", "p", "er", "p", "ax",
    "l", "b", "ow", "t", "pau", "f", "ay", "v", "b", "oy", "z", "m", "uw", "v", "pau",
]  # fmt: skip


def spoken(labels: list[str], phone_s: float = 0.09) -> list[Phone]:
    return [(i * phone_s, (i + 1) * phone_s, label) for i, label in enumerate(labels)]


def weights_of(emotion: str, dose: float, n_frames: int) -> np.ndarray:
    weights = np.zeros((n_frames, N_EMOTIONS), np.float32)
    weights[:, EMOTIONS.index(emotion)] = dose
    return weights


def performed(emotion: str = "neutral", dose: float = 1.0, seed: int = 1, style: FaceStyle | None = None):
    phones = spoken(SENTENCE)
    n_frames = int(np.ceil(phones[-1][1] * FPS))
    energy = np.ones(n_frames * 4, np.float32)
    return phones, animate_face(phones, energy, weights_of(emotion, dose, n_frames), style, seed)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_lips_meet_at_every_p_b_m_in_every_emotion(emotion: str) -> None:
    rig = LandmarkRig.load()
    shut, total = 0, 0
    for seed in range(6):
        phones, animation = performed(emotion, seed=seed, style=FaceStyle.sampled(seed))
        opening = lip_opening(rig.sampled_face(seed).landmarks_cano(animation.units))
        spoken_opening = np.median(
            [opening[frame_of(p)] for p in phones if viseme_of(p[2]) not in ("PP", "sil")]
        )
        for phone in phones:
            if viseme_of(phone[2]) == "PP":
                total += 1
                shut += opening[frame_of(phone)] < 0.15 * spoken_opening
    assert total >= 40 and shut / total >= 0.98


def frame_of(phone: Phone) -> int:
    return round((phone[0] + phone[1]) / 2 * FPS)


def test_takes_of_one_seed_are_aligned_and_repeatable() -> None:
    style = FaceStyle.sampled(5)
    _, neutral = performed("neutral", seed=9, style=style)
    _, again = performed("neutral", seed=9, style=style)
    _, happy = performed("happy", seed=9, style=style)
    np.testing.assert_array_equal(neutral.units, again.units)
    blink = UNIT["eyeBlinkLeft"]
    np.testing.assert_allclose(neutral.units[:, blink], happy.units[:, blink], atol=1e-6)
    assert (
        happy.units[:, UNIT["mouthSmileLeft"]].mean() > neutral.units[:, UNIT["mouthSmileLeft"]].mean() + 0.3
    )


def test_dose_scales_the_expression() -> None:
    smile = [
        performed("happy", dose)[1].units[:, UNIT["mouthSmileLeft"]].mean() for dose in (0, 0.4, 0.7, 1.0)
    ]
    assert np.all(np.diff(smile) > 0.1)


def test_a_silent_face_keeps_its_mouth_shut_and_lives() -> None:
    animation = animate_face(
        [], np.zeros(0, np.float32), np.zeros((30 * FPS, N_EMOTIONS), np.float32), seed=2
    )
    assert np.all(animation.units[:, UNIT["jawOpen"]] == 0)
    assert animation.units[:, UNIT["eyeBlinkLeft"]].max() > 0.9
    assert np.std(animation.head_euler_rad, axis=0).min() > 0.005
    assert np.std(animation.gaze_rad[:, 0]) > 0.01


def test_pauses_shut_the_mouth() -> None:
    phones = [(0.0, 0.5, "aa"), (0.5, 1.0, "pau"), (1.0, 1.5, "pau"), (1.5, 2.0, "aa")]
    animation = animate_face(phones, np.ones(200, np.float32), np.zeros((50, N_EMOTIONS), np.float32))
    jaw = animation.units[:, UNIT["jawOpen"]]
    assert jaw[17:34].max() < 0.15 * jaw.max()


def test_units_are_bounded_in_mixtures() -> None:
    rng = np.random.default_rng(0)
    animation = animate_face(
        spoken(SENTENCE), np.ones(240), rng.uniform(0, 1, (60, N_EMOTIONS)), FaceStyle.sampled(1)
    )
    assert animation.units.min() >= 0 and animation.units.max() <= 1.05
    assert animation.units.dtype == np.float32


def test_speakers_differ() -> None:
    jaws = [performed(style=FaceStyle.sampled(seed))[1].units[:, UNIT["jawOpen"]] for seed in range(8)]
    assert np.std([jaw.max() for jaw in jaws]) > 0.03


def test_neutral_is_the_remainder() -> None:
    weights = with_neutral(np.array([[0.9, 0, 0, 0, 0.9, 0.3, 0, 0], [0.2, 0, 0, 0, 0, 0, 0, 0]], np.float32))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(weights[:, 5], [0, 0.8], atol=1e-6)
    assert np.all(RECIPES[EMOTIONS.index("neutral")] == 0)


@pytest.mark.parametrize(
    ("label", "viseme"),
    [("m", "PP"), ("b", "PP"), ("pau", "sil"), ("", "sil"), ("ˈɑː", "AA"), ("tʃ", "CH"), ("əl", "AH"),
     ("y", "IY"), ("yː", "UW"), ("hh", "KK"), ("ʁ", "RR"), ("?", "AH"), ("ts", "SS"), ("ŋ", "KK")],
)  # fmt: skip
def test_phones_of_both_alphabets(label: str, viseme: str) -> None:
    assert viseme_of(label) == viseme


def test_diphthongs_glide_and_silences_merge() -> None:
    segments = viseme_segments([(0, 0.1, "pau"), (0.1, 0.2, "_:"), (0.2, 0.4, "ay"), (0.4, 0.5, "ɛɹ")])
    assert [VISEMES[i] for i in segments.viseme] == ["sil", "AA", "IY", "EH", "RR"]
    assert segments.start_s[2] == pytest.approx(0.31)
    assert len(TARGETS) == len(DOMINANCE) == len(VISEMES)


def test_energy_is_relative_and_blind_to_level() -> None:
    wave = np.sin(np.arange(16000) * 0.3).astype(np.float32) * np.repeat([1, 0.1], 8000)
    energy = speech_energy(wave, 16000)
    np.testing.assert_allclose(energy, speech_energy(0.2 * wave, 16000), atol=1e-3)
    assert len(energy) == 100 and energy[20] > 5 * energy[80]


def test_blinks_and_noise_have_their_rates() -> None:
    closing = blinks(np.random.default_rng(0), np.full(FPS * 600, 0.3))
    starts = np.sum((closing[1:] > 0.5) & (closing[:-1] <= 0.5))
    assert 120 < starts < 220
    noise = smooth_noise(np.random.default_rng(0), FPS * 1000, 0.4)
    assert np.std(noise) == pytest.approx(1, abs=0.1)
