"""Viseme segments -> mouth channels at 25 fps, by dominance functions and hard lip constraints.

Cohen and Massaro (1993): each segment pulls the channels to its target with a weight that decays before
and after it; neighbours overlap, which is coarticulation. Lip closures (p, b, m) and lip-to-teeth contacts
(f, v) are then enforced at the frames themselves, so a closure survives any sampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter1d

from emogene.geometry.blendshapes import N_UNITS, unit_columns
from emogene.persona.phones import IS_VOWEL, VISEME, Reals, VisemeSegments
from emogene.types import FPS

RATE_HZ = 100
CHANNELS = (
    "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "wide", "upper", "lower", "press",
    "rollLower", "rollUpper", "tongue", "shrugUpper", "jawForward",
)  # fmt: skip
CHANNEL = {name: index for index, name in enumerate(CHANNELS)}
PRESSED = 0.035
"""Opening of the jaw, in units, that lips pressed and rolled in bridge by themselves."""
JAW_CHANNELS = np.array([name in ("jawOpen", "mouthClose", "jawForward") for name in CHANNELS])
_OPENING = [CHANNEL[name] for name in ("jawOpen", "upper", "lower")]
_SHAPING = [CHANNEL[name] for name in ("mouthFunnel", "mouthPucker", "wide")]

# fmt: off
TARGETS = np.array([
    #  jaw close funn puck wide upper lower press rollL rollU tongue shrug jawF
    [.00, .00, .00, .00, .00, .00, .00, .00, .00, .00, .00, .00, .00],  # sil
    [.10, .10, .00, .07, .00, .00, .00, .35, .30, .22, .00, .00, .00],  # PP
    [.12, .00, .00, .00, .10, .19, .00, .00, .62, .00, .00, .05, .00],  # FF
    [.07, .00, .00, .00, .09, .11, .22, .00, .00, .00, .80, .00, .00],  # TH
    [.12, .00, .00, .00, .10, .12, .21, .00, .00, .00, .40, .00, .00],  # DD
    [.24, .00, .00, .00, .13, .12, .20, .00, .00, .00, .00, .00, .00],  # KK
    [.14, .00, .68, .26, .00, .11, .13, .00, .00, .00, .00, .00, .09],  # CH
    [.08, .00, .00, .00, .37, .33, .22, .00, .00, .00, .00, .00, .00],  # SS
    [.10, .00, .29, .30, .00, .02, .04, .00, .00, .00, .00, .00, .00],  # RR
    [.39, .00, .03, .00, .12, .11, .22, .00, .00, .00, .00, .00, .00],  # AA
    [.45, .00, .00, .00, .52, .20, .31, .00, .00, .00, .00, .00, .00],  # AE
    [.26, .00, .06, .00, .07, .11, .19, .00, .00, .00, .00, .00, .00],  # AH
    [.34, .00, .00, .00, .49, .24, .30, .00, .00, .00, .00, .00, .00],  # EH
    [.20, .00, .00, .00, .16, .03, .32, .00, .00, .00, .00, .00, .00],  # IH
    [.23, .00, .00, .00, .54, .21, .27, .00, .00, .00, .00, .00, .00],  # IY
    [.30, .00, .30, .17, .00, .01, .07, .00, .00, .00, .00, .00, .00],  # AO
    [.24, .00, .32, .30, .00, .00, .05, .00, .00, .00, .00, .00, .00],  # OW
    [.16, .00, .25, .22, .00, .00, .05, .00, .00, .00, .00, .00, .00],  # UH
    [.12, .00, .16, .52, .00, .00, .00, .00, .00, .00, .00, .00, .00],  # UW
])
"""[19, 13] channel targets of each viseme, fitted to tracked lips of four people of the GRID corpus
(109 sentences with word times) starting from hand-written ones: mean correlation of the lip opening over a
sentence .57 -> .70, of the mouth width .29 -> .37."""

DOMINANCE = np.array([
    #  lips jaw before after
    [0.52, 0.36, 9.8, 9.9],  # sil
    [2.26, 1.31, 22.3, 34.0],  # PP
    [3.15, 1.41, 21.6, 14.3],  # FF
    [1.00, 0.93, 18.2, 17.5],  # TH
    [0.37, 0.79, 22.3, 20.7],  # DD
    [0.29, 0.51, 19.9, 19.9],  # KK
    [1.95, 1.39, 14.0, 14.1],  # CH
    [1.67, 1.64, 16.4, 16.2],  # SS
    [1.24, 0.73, 13.3, 12.5],  # RR
    [1.13, 1.04, 12.0, 12.9],  # AA
    [0.97, 0.74, 17.1, 12.1],  # AE
    [0.91, 0.99, 13.3, 13.2],  # AH
    [1.09, 1.02, 13.0, 13.0],  # EH
    [0.90, 1.27, 9.0, 13.5],  # IH
    [0.95, 1.00, 14.2, 12.8],  # IY
    [1.86, 0.98, 10.3, 10.5],  # AO
    [2.06, 1.07, 8.2, 12.0],  # OW
    [2.06, 1.07, 8.2, 12.0],  # UH
    [2.25, 1.15, 6.1, 13.5],  # UW
])
"""[19, 4] strength on lips, strength on jaw, decay before and after the segment (1/s)."""

_UNITS_OF_CHANNEL: dict[str, dict[str, float]] = {
    "jawOpen": {"jawOpen": 1}, "mouthClose": {"mouthClose": 1}, "mouthFunnel": {"mouthFunnel": 1},
    "mouthPucker": {"mouthPucker": 1}, "wide": {"mouthStretch": .45, "mouthSmile": .22},
    "upper": {"mouthUpperUp": 1}, "lower": {"mouthLowerDown": 1}, "press": {"mouthPress": 1},
    "rollLower": {"mouthRollLower": 1}, "rollUpper": {"mouthRollUpper": 1}, "tongue": {},
    "shrugUpper": {"mouthShrugUpper": 1}, "jawForward": {"jawForward": 1},
}
# fmt: on


def _units_from_channels() -> Reals:
    matrix = np.zeros((len(CHANNELS), N_UNITS), np.float32)
    for channel, units in _UNITS_OF_CHANNEL.items():
        for unit, share in units.items():
            matrix[CHANNEL[channel], list(unit_columns(unit))] = share
    return matrix


UNITS_FROM_CHANNELS = _units_from_channels()
"""[13, 52] how channels become ARKit units (``tongue`` moves no face unit)."""


@dataclass(frozen=True, slots=True)
class MouthStyle:
    """How one speaker articulates. The defaults are the average speaker."""

    target_scale: Reals | None = None
    """[19, 13] factors on the targets; None: 1."""
    targets: Reals = field(default_factory=lambda: TARGETS)
    """[19, 13]"""
    dominance: Reals = field(default_factory=lambda: DOMINANCE)
    """[19, 4]"""
    decay_scale: float = 1.0
    """Below 1: more coarticulation (mumbled), above 1: crisper."""
    gain: float = 1.0
    """Size of all openings."""
    smoothing_s: float = 0.012
    """Gaussian low-pass of the channels."""


@dataclass(frozen=True, slots=True)
class Articulation:
    """Mouth channels [T, 13] at 25 fps, lip closure [T] and lip-to-teeth friction [T] in 0..1."""

    channels: Reals
    closure: Reals
    friction: Reals


def articulate(
    segments: VisemeSegments, energy: Reals, gain: Reals, style: MouthStyle | None = None
) -> Articulation:
    """Turn viseme segments into mouth channels.

    Args:
        segments: K viseme segments in time order.
        energy: [N] relative loudness at 100 Hz (see ``speech_energy``).
        gain: [T] size of the articulation at 25 fps, 1 neutral.
        style: the speaker's manner.
    """
    style = style or MouthStyle()
    n_frames = len(gain)
    frame_s = np.arange(n_frames) / FPS
    if len(segments.viseme) == 0:
        zero = np.zeros(n_frames, np.float32)
        return Articulation(np.zeros((n_frames, len(CHANNELS)), np.float32), zero, zero)
    fine_s = np.arange(int(np.ceil(n_frames * RATE_HZ / FPS)) + 1) / RATE_HZ
    targets = _segment_targets(segments, energy, np.interp(segments.centre_s, frame_s, gain), style)
    fine = gaussian_filter1d(_pull(segments, targets, fine_s, style), style.smoothing_s * RATE_HZ, axis=0)
    step = RATE_HZ // FPS
    channels = fine[: n_frames * step : step].copy()
    closure = contact(segments, "PP", frame_s)
    friction = contact(segments, "FF", frame_s)
    _enforce_contacts(channels, closure, friction)
    return Articulation(channels.astype(np.float32), closure.astype(np.float32), friction.astype(np.float32))


def speech_energy(samples: Reals, rate_hz: int) -> Reals:
    """Loudness at 100 Hz relative to the loud parts: RMS of 40 ms over its 95th percentile, at most 1.3."""
    hop = rate_hz // RATE_HZ
    square = np.concatenate([np.zeros(2 * hop), np.square(samples, dtype=np.float64), np.zeros(2 * hop)])
    total = np.concatenate([[0], np.cumsum(square)])
    starts = np.arange(0, len(samples), hop)
    rms = np.sqrt((total[starts + 4 * hop] - total[starts]) / (4 * hop))
    # A floor, so that a recording of room noise does not count as loud speech.
    reference = max(float(np.percentile(rms, 95)) if len(rms) else 0.0, 1e-3)
    return np.asarray(np.clip(rms / reference, 0, 1.3), np.float32)


def vowel_effort(loudness: Reals) -> Reals:
    """How far a vowel of this relative loudness reaches for its target."""
    return np.asarray(np.clip(0.84 + 0.23 * loudness, 0.8, 1.12))


def _segment_targets(segments: VisemeSegments, energy: Reals, gain: Reals, style: MouthStyle) -> Reals:
    """Channel targets [K, 13] of each segment, scaled by loudness, gain and style."""
    viseme = segments.viseme
    targets = style.targets[viseme].copy()
    if style.target_scale is not None:
        targets *= style.target_scale[viseme]
    at = np.clip((segments.centre_s * RATE_HZ).astype(int), 0, max(len(energy) - 1, 0))
    loudness = energy[at] if len(energy) else np.ones(len(viseme))
    effort = np.where(IS_VOWEL[viseme], vowel_effort(loudness), 1.0)
    free = ~np.isin(viseme, [VISEME["sil"], VISEME["PP"], VISEME["FF"]])
    size = np.where(free, gain * style.gain, 1.0)
    targets[:, _OPENING] *= (size * np.where(free, effort, 1.0))[:, None]
    targets[:, _SHAPING] *= np.sqrt(size)[:, None]
    return targets


def _pull(segments: VisemeSegments, targets: Reals, time_s: Reals, style: MouthStyle) -> Reals:
    """Dominance-weighted mean of the targets, [N, 13] at the times [N]."""
    dominance = style.dominance[segments.viseme]
    offset = time_s - segments.centre_s[:, None]
    # The core of a segment is 60 % of it, of a long one all but its outer 60 ms: a pause shuts the mouth.
    half = np.maximum(0.3 * segments.duration_s, segments.duration_s / 2 - 0.06)[:, None]
    outside = np.maximum(np.abs(offset) - half, 0)
    decay = np.where(offset < 0, dominance[:, 2:3], dominance[:, 3:4]) * style.decay_scale
    weight = np.exp(-((decay * outside) ** 1.15))
    channels = np.empty((len(time_s), len(CHANNELS)))
    for columns, strength in ((~JAW_CHANNELS, dominance[:, 0]), (JAW_CHANNELS, dominance[:, 1])):
        pull = weight * strength[:, None]
        channels[:, columns] = (pull.T @ targets[:, columns]) / (pull.sum(0)[:, None] + 1e-3)
    return channels


def contact(segments: VisemeSegments, viseme: str, frame_s: Reals) -> Reals:
    """Degree of contact [T] of PP (lips) or FF (lip and teeth): 1 in the core, then a Gaussian fall."""
    plateau, fall_s = {"PP": (0.32, 0.028), "FF": (0.30, 0.030)}[viseme]
    chosen = segments.viseme == VISEME[viseme]
    if not chosen.any():
        return np.zeros(len(frame_s))
    centre, duration = segments.centre_s[chosen], segments.duration_s[chosen]
    # At least half a frame wide, so that each contact has a frame in which it is complete.
    half = np.maximum(plateau * duration, 0.5 / FPS)[:, None]
    beyond = np.maximum(np.abs(frame_s - centre[:, None]) - half, 0)
    return np.asarray(np.exp(-((beyond / fall_s) ** 2)).max(0))


def _enforce_contacts(channels: Reals, closure: Reals, friction: Reals) -> None:
    """Shut the lips where they must shut, in place."""
    column = {name: channels[:, index] for name, index in CHANNEL.items()}
    jaw = column["jawOpen"]
    # Funnelled lips gape: they give way, and what is left of the gap (13 mm against the jaw's 34) is closed.
    column["mouthFunnel"][:] *= 1 - 0.7 * closure
    gap = jaw + 0.35 * column["mouthFunnel"]
    column["mouthClose"][:] = column["mouthClose"] * (1 - closure) + np.maximum(gap - PRESSED, 0) * closure
    for name in ("upper", "lower"):
        column[name][:] *= 1 - closure
    for name, least in (("rollLower", 0.28), ("rollUpper", 0.20), ("press", 0.30)):
        column[name][:] = np.maximum(column[name], least * closure)
    jaw[:] *= 1 - 0.45 * friction
    # The closing muscle never takes back much more than the jaw has opened.
    column["mouthClose"][:] = np.minimum(column["mouthClose"], jaw + 0.1)
    column["rollLower"][:] = np.maximum(column["rollLower"], 0.6 * friction)
    column["upper"][:] = np.maximum(column["upper"], 0.2 * friction)
    column["lower"][:] *= 1 - friction
