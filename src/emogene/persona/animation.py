"""Phones + loudness + emotion over time -> a whole moving face: 52 units and the head, at 25 fps.

One recording has many possible performances: ``FaceStyle.sampled`` draws a speaker, ``seed`` a take. All
random choices depend on the seed alone and never on the emotion, so takes of one sentence with different
emotions and the same seed stay aligned frame by frame, blinks and head sway included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emogene.geometry.blendshapes import ARKIT_52, N_UNITS, UNIT
from emogene.persona.emotions import (
    ARTICULATION_GAIN,
    BLINKS_PER_S,
    BROW_DROP_ON_ACCENT,
    BROW_RAISE_ON_ACCENT,
    HEAD_AMPLITUDE,
    HEAD_TILT_RAD,
    NOD_STRENGTH,
    RECIPES,
    blend,
    with_neutral,
    yield_to_speech,
)
from emogene.persona.idle import accent, blinks, fixations, smooth_noise
from emogene.persona.phones import VISEMES, Phone, Reals, viseme_segments
from emogene.persona.visemes import (
    CHANNEL,
    CHANNELS,
    UNITS_FROM_CHANNELS,
    Articulation,
    MouthStyle,
    articulate,
)
from emogene.types import N_EMOTIONS

GAZE_UNIT_RAD = (0.45, 0.35)
"""Eye rotation (yaw, pitch) of a full eyeLook unit."""
_SIDED = (
    "mouthSmile",
    "mouthStretch",
    "mouthUpperUp",
    "mouthLowerDown",
    "browOuterUp",
    "browDown",
    "noseSneer",
)


@dataclass(frozen=True, slots=True)
class FaceStyle:
    """One speaker's manner. The defaults are the average, ``sampled`` draws another."""

    mouth: MouthStyle = field(default_factory=MouthStyle)
    recipe_scale: Reals | None = None
    """[8, 52] factors on the emotion recipes; None: 1."""
    side_scale: Reals | None = None
    """[52] factors that make the face slightly uneven; None: 1."""
    jaw_drift: float = 0.0
    """Sideways jaw movement per jaw opening (positive: to the person's left)."""
    head_scale: float = 1.0
    nod_scale: float = 1.0
    brow_scale: float = 1.0
    blinks_per_s: float | None = None
    """Fixed blink rate; None: by emotion."""

    @classmethod
    def sampled(cls, seed: int) -> FaceStyle:
        """Draw a speaker."""
        rng = np.random.default_rng([seed, 11])
        # One factor per viseme and one per channel and their own noise: the three reach +-25 %.
        scale = rng.normal(1, 0.10, (len(VISEMES), 1)) + rng.normal(0, 0.10, (1, len(CHANNELS)))
        scale = np.clip(scale + rng.normal(0, 0.08, scale.shape), 0.6, 1.4)
        side = np.ones(N_UNITS)
        for name in _SIDED:
            lean = rng.normal(0, 0.07)
            side[UNIT[name + "Left"]] += lean
            side[UNIT[name + "Right"]] -= lean
        recipe = np.clip(rng.normal(1, 0.12, (N_EMOTIONS, 1)), 0.75, 1.25) * np.clip(
            rng.normal(1, 0.15, (N_EMOTIONS, N_UNITS)), 0.6, 1.4
        )
        for left in (name for name in ARKIT_52 if name.endswith("Left")):
            recipe[:, UNIT[left[:-4] + "Right"]] = recipe[:, UNIT[left]]
        mouth = MouthStyle(
            target_scale=scale,
            decay_scale=float(np.exp(rng.normal(0, 0.18))),
            gain=float(np.clip(np.exp(rng.normal(-0.03, 0.20)), 0.6, 1.4)),
            smoothing_s=float(rng.uniform(0.010, 0.024)),
        )
        return cls(
            mouth=mouth,
            recipe_scale=recipe,
            side_scale=side,
            jaw_drift=float(rng.normal(0, 0.05)),
            head_scale=float(np.exp(rng.normal(0, 0.3))),
            nod_scale=float(np.exp(rng.normal(0, 0.4))),
            brow_scale=float(np.exp(rng.normal(0, 0.4))),
            blinks_per_s=float(rng.uniform(0.12, 0.45)),
        )


@dataclass(frozen=True, slots=True)
class FaceAnimation:
    """A take at 25 fps.

    units: [T, 52] in the order of ARKIT_52. head_euler_rad: [T, 3] pitch (positive: down), yaw (to the
    person's left), roll (person's left side up), rotation R = Rz Ry Rx. head_translation_mm: [T, 3] to the
    person's left, up, forward. gaze_rad: [T, 2] yaw (to the person's left), pitch (up) relative to the head.
    tongue: [T] tongue tip raised to the teeth, 0..1. closure: [T] how much the lips must be shut, 0..1.
    """

    units: Reals
    head_euler_rad: Reals
    head_translation_mm: Reals
    gaze_rad: Reals
    tongue: Reals
    closure: Reals

    def __len__(self) -> int:
        return len(self.units)


def animate_face(
    phones: Sequence[Phone],
    energy: Reals,
    emotion_weights: Reals,
    style: FaceStyle | None = None,
    seed: int = 0,
) -> FaceAnimation:
    """Perform a sentence.

    Args:
        phones: (start_s, end_s, label) of either alphabet; empty for a listening face.
        energy: [N] loudness at 100 Hz, from ``visemes.speech_energy``; may be empty.
        emotion_weights: [T, 8] dose of each emotion per frame in 0..1; the neutral column is ignored.
            T sets the length of the result.
        style: the speaker.
        seed: the take.
    """
    style = style or FaceStyle()
    rng = {
        name: np.random.default_rng([seed, key]) for key, name in enumerate(("head", "blink", "gaze", "face"))
    }
    weights = with_neutral(emotion_weights)
    n_frames = len(weights)
    stress = accent(energy, n_frames)
    mouth = articulate(viseme_segments(phones), energy, blend(ARTICULATION_GAIN, weights), style.mouth)
    euler, translation = _head(rng["head"], weights, stress, style)
    performed = _speech_units(mouth, style) + _emotion_units(rng["face"], weights, mouth, style)
    units = performed + _brow_accents(weights, stress, style)
    _apply_blinks(units, blinks(rng["blink"], _blink_rate(weights, style)))
    _look(units, fixations(rng["gaze"], n_frames), euler)
    limited = _limited(units)
    return FaceAnimation(
        units=limited,
        head_euler_rad=euler.astype(np.float32),
        head_translation_mm=translation.astype(np.float32),
        gaze_rad=gaze_of(limited),
        tongue=mouth.channels[:, CHANNEL["tongue"]],
        closure=mouth.closure,
    )


def gaze_of(units: Reals) -> Reals:
    """Gaze [T, 2] in rad, yaw to the person's left and pitch up, that the eyeLook units [T, 52] mean."""
    column = {name: units[:, UNIT[name]] for name in ARKIT_52 if name.startswith("eyeLook")}
    yaw = column["eyeLookOutLeft"] - column["eyeLookInLeft"]
    pitch = column["eyeLookUpLeft"] - column["eyeLookDownLeft"]
    return np.stack([yaw * GAZE_UNIT_RAD[0], pitch * GAZE_UNIT_RAD[1]], 1).astype(np.float32)


def _speech_units(mouth: Articulation, style: FaceStyle) -> Reals:
    units = mouth.channels @ UNITS_FROM_CHANNELS
    if style.side_scale is not None:
        units = units * style.side_scale
    drift = style.jaw_drift * units[:, UNIT["jawOpen"]] * (1 - mouth.closure)
    units[:, UNIT["jawLeft"]] += np.maximum(drift, 0)
    units[:, UNIT["jawRight"]] += np.maximum(-drift, 0)
    return units


def _emotion_units(rng: np.random.Generator, weights: Reals, mouth: Articulation, style: FaceStyle) -> Reals:
    recipes = RECIPES if style.recipe_scale is None else RECIPES * style.recipe_scale
    swell = np.clip(1 + 0.10 * smooth_noise(rng, len(weights), 0.35), 0.7, 1.3)
    emotional = blend(recipes, weights) * swell[:, None]
    if style.side_scale is not None:
        emotional = emotional * style.side_scale
    rounding = mouth.channels[:, CHANNEL["mouthPucker"]] + 0.7 * mouth.channels[:, CHANNEL["mouthFunnel"]]
    return yield_to_speech(emotional, rounding=rounding, closure=mouth.closure, friction=mouth.friction)


def _brow_accents(weights: Reals, stress: Reals, style: FaceStyle) -> Reals:
    raised = np.clip(stress, 0, 1) * style.brow_scale * 0.5
    units = np.zeros((len(weights), N_UNITS))
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
        units[:, UNIT[name]] = raised * blend(BROW_RAISE_ON_ACCENT, weights)
    for name in ("browDownLeft", "browDownRight"):
        units[:, UNIT[name]] = raised * blend(BROW_DROP_ON_ACCENT, weights) * 2
    return units


def _blink_rate(weights: Reals, style: FaceStyle) -> Reals:
    if style.blinks_per_s is None:
        return blend(BLINKS_PER_S, weights)
    return np.full(len(weights), style.blinks_per_s)


def _apply_blinks(units: Reals, closing: Reals) -> None:
    for side in ("Left", "Right"):
        lid = units[:, UNIT["eyeBlink" + side]]
        lid += (1 - lid) * closing
        units[:, UNIT["eyeWide" + side]] *= 1 - closing
        units[:, UNIT["eyeSquint" + side]] *= 1 - 0.7 * closing
        # Else the raised cheek pushes the lower lid over the upper one.
        units[:, UNIT["cheekSquint" + side]] *= 1 - closing


def _look(units: Reals, target_rad: Reals, head_euler_rad: Reals) -> None:
    """Turn the eyes to the target, countering most of the head's turn."""
    yaw = (target_rad[:, 0] - 0.8 * head_euler_rad[:, 1]) / GAZE_UNIT_RAD[0]
    pitch = (target_rad[:, 1] + 0.6 * head_euler_rad[:, 0]) / GAZE_UNIT_RAD[1]
    # The lowered gaze of sadness is part of its recipe and joins in.
    pitch -= units[:, UNIT["eyeLookDownLeft"]]
    for name, value in (
        ("eyeLookOutLeft", yaw), ("eyeLookInRight", yaw), ("eyeLookInLeft", -yaw), ("eyeLookOutRight", -yaw),
        ("eyeLookUpLeft", pitch), ("eyeLookUpRight", pitch),
        ("eyeLookDownLeft", -pitch), ("eyeLookDownRight", -pitch),
    ):  # fmt: skip
        units[:, UNIT[name]] = np.maximum(value, 0)


def _head(rng: np.random.Generator, weights: Reals, stress: Reals, style: FaceStyle) -> tuple[Reals, Reals]:
    """Head rotation [T, 3] rad and translation [T, 3] mm."""
    n_frames = len(weights)
    amplitude = blend(HEAD_AMPLITUDE, weights) * style.head_scale
    sway = np.stack([smooth_noise(rng, n_frames, rate) for rate in (0.45, 0.35, 0.35)], 1)
    euler = sway * (0.030, 0.055, 0.025) * amplitude[:, None] + blend(HEAD_TILT_RAD, weights)
    euler[:, 0] += 0.07 * stress * blend(NOD_STRENGTH, weights) * style.nod_scale
    drift = np.stack([smooth_noise(rng, n_frames, 0.25) for _ in range(3)], 1)
    return np.clip(euler, -0.5, 0.5), drift * (3.0, 1.2, 2.0)


def _limited(units: Reals) -> Reals:
    """Bound the units: 0..1.05, raised upper lips and lowered lower lips softly less."""
    for side in ("Left", "Right"):
        upper, lower = units[:, UNIT["mouthUpperUp" + side]], units[:, UNIT["mouthLowerDown" + side]]
        upper[:] = np.where(upper > 0.6, 0.6 + 0.3 * (upper - 0.6), upper)
        lower[:] = np.minimum(lower, 0.6)
    return np.clip(units, 0, 1.05).astype(np.float32)
