"""A built-in voice: pulses or noise through three resonators per phone, and a lexicon of sixty words.

It is for tests and first steps: intelligible with good will, phone times exact, no program needed.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
from scipy.signal import lfilter

from emogene.errors import UserError
from emogene.persona.phones import Phone, Reals
from emogene.persona.speech import Prosody, Voice
from emogene.types import SAMPLE_RATE_HZ

# fmt: off
LEXICON = {
    "my": "m ay", "the": "dh ax", "a": "ax", "we": "w iy", "you": "y uw", "they": "dh ey", "our": "aw er",
    "mother": "m ah dh er", "father": "f aa dh er", "baby": "b ey b iy", "boy": "b oy",
    "people": "p iy p ax l", "book": "b uh k", "boat": "b ow t", "apple": "ae p ax l", "cup": "k ah p",
    "shoe": "sh uw", "fish": "f ih sh", "chair": "ch eh r", "house": "hh aw s", "moon": "m uw n",
    "map": "m ae p", "voice": "v oy s", "home": "hh ow m", "buys": "b ay z", "moves": "m uw v z",
    "makes": "m ey k s", "pushes": "p uh sh ax z", "finds": "f ay n d z", "loves": "l ah v z",
    "watches": "w aa ch ax z", "brings": "b r ih ng z", "forgets": "f er g eh t s", "keeps": "k iy p s",
    "throws": "th r ow z", "paints": "p ey n t s", "has": "hh ae z", "big": "b ih g", "small": "s m ao l",
    "purple": "p er p ax l", "blue": "b l uw", "warm": "w ao r m", "young": "y ah ng", "good": "g uh d",
    "funny": "f ah n iy", "soft": "s ao f t", "wet": "w eh t", "today": "t ax d ey", "now": "n aw",
    "before": "b ax f ao r", "maybe": "m ey b iy", "again": "ax g eh n", "outside": "aw t s ay d",
    "together": "t ax g eh dh er", "this": "dh ih s", "morning": "m ao r n ih ng", "hello": "hh ax l ow",
    "yes": "y eh s", "please": "p l iy z", "measure": "m eh zh er", "joy": "jh oy",
}
_VOWELS = {  # formants in Hz
    "iy": (280, 2250, 2900), "ih": (400, 1950, 2550), "eh": (550, 1800, 2500), "ae": (680, 1700, 2450),
    "ah": (620, 1200, 2400), "ax": (500, 1400, 2400), "aa": (740, 1100, 2500), "ao": (580, 880, 2450),
    "uh": (440, 1020, 2300), "uw": (310, 880, 2250), "er": (480, 1350, 1700),
    "w": (300, 650, 2200), "y": (270, 2200, 2950), "r": (350, 1100, 1500), "l": (360, 1050, 2700),
    "m": (250, 1000, 2200), "n": (250, 1500, 2500), "ng": (250, 1900, 2600),
}
_NOISES = {  # centre and band of the noise in Hz, loudness, voiced part
    "s": (6000, 1500, .5, 0), "z": (6000, 1500, .3, .4), "sh": (3000, 1200, .6, 0),
    "zh": (2800, 1200, .4, .4),
    "f": (5000, 4000, .15, 0), "v": (4500, 4000, .08, .5), "th": (5500, 4000, .12, 0),
    "dh": (5000, 4000, .06, .6),
    "hh": (1500, 1200, .2, 0), "ch": (3200, 1200, .6, 0), "jh": (2900, 1200, .4, .3),
    "p": (900, 800, .5, 0), "b": (700, 700, .2, .4), "t": (4200, 2000, .6, 0), "d": (3500, 2000, .25, .4),
    "k": (2000, 900, .5, 0), "g": (1900, 900, .2, .4),
}
# fmt: on
_DIPHTHONGS = {"ay": "aa iy", "aw": "aa uw", "oy": "ao iy", "ey": "eh iy", "ow": "ao uw"}
_STOPS = frozenset(("p", "b", "t", "d", "k", "g", "ch", "jh"))
_BASE_F0_HZ = 130.0
_EDGE = 80


def speak_sentence(text: str, voice: Voice, prosody: Prosody) -> tuple[Reals, int, list[Phone]]:
    """Return samples, rate and phones of a sentence made of LEXICON words."""
    labels = [
        "pau",
        *(phone for word in re.findall(r"[a-z']+", text.lower()) for phone in _word(word)),
        "pau",
    ]
    # The same sentence always sounds the same.
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    stretch = prosody.duration / voice.rate
    durations = [_duration_s(label) * stretch * rng.uniform(0.85, 1.15) for label in labels]
    ends = np.cumsum(durations)
    total = int(ends[-1] * SAMPLE_RATE_HZ)
    time_s = np.arange(total) / SAMPLE_RATE_HZ
    melody = 1.15 - 0.3 * time_s / ends[-1] + 0.06 * prosody.pitch_range * np.sin(2 * np.pi * 1.7 * time_s)
    phase = np.cumsum(_BASE_F0_HZ * voice.pitch * prosody.pitch * melody / SAMPLE_RATE_HZ)
    pulses = np.diff(np.floor(phase), prepend=0.0) - np.mean(np.diff(np.floor(phase)))
    glottal = lfilter([1], [1, -0.9], pulses)
    noise = rng.standard_normal(total)
    samples = np.zeros(total)
    phones: list[Phone] = []
    for label, end, duration in zip(labels, ends, durations, strict=True):
        first, last = int((end - duration) * SAMPLE_RATE_HZ), int(end * SAMPLE_RATE_HZ)
        samples[first:last] += _sound(label, glottal[first:last], noise[first:last])
        phones.append((float(end - duration), float(end), label))
    return np.asarray(samples, np.float32), SAMPLE_RATE_HZ, phones


def _word(word: str) -> list[str]:
    if word not in LEXICON:
        raise UserError(f"the built-in voice does not know the word {word!r}; use flite or espeak-ng")
    return LEXICON[word].split()


def _duration_s(label: str) -> float:
    if label == "pau":
        return 0.2
    if label in _DIPHTHONGS:
        return 0.16
    return 0.11 if label in _VOWELS else 0.08


def _sound(label: str, glottal: Reals, noise: Reals) -> Reals:
    """Waveform of one phone."""
    if label == "pau" or len(glottal) < 4 * _EDGE:
        return np.zeros(len(glottal), np.float32)
    if label in _DIPHTHONGS:
        first, second = (_resonate(glottal, _VOWELS[part]) for part in _DIPHTHONGS[label].split())
        fade = np.clip((np.linspace(0, 1, len(glottal)) - 0.35) / 0.4, 0, 1)
        sound: Reals = first * (1 - fade) + second * fade
    elif label in _VOWELS:
        sound = _resonate(glottal, _VOWELS[label]) * (0.5 if label in ("m", "n", "ng") else 1.0)
    else:
        centre, band, loudness, voiced = _NOISES[label]
        sound = loudness * _resonate(noise, (centre,), band) + voiced * _resonate(glottal, (250,), 120)
        if label in _STOPS:
            # Closed for the first 60 %, then the burst.
            sound[: int(0.6 * len(sound))] *= 0.05
    ramp = np.minimum(1, np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / _EDGE)
    return np.asarray(0.2 * sound * ramp, np.float32)


def _resonate(source: Reals, formants_hz: tuple[float, ...], band_hz: float = 90.0) -> Reals:
    """Sum of the source through one resonator per formant, weaker with each."""
    total = np.zeros(len(source))
    for rank, formant in enumerate(formants_hz):
        radius = np.exp(-np.pi * (band_hz + 30 * rank) / SAMPLE_RATE_HZ)
        angle = 2 * np.pi * formant / SAMPLE_RATE_HZ
        total += lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], source) / (1 + rank)
    return np.asarray(total / (np.sqrt(np.mean(total**2)) + 1e-6), np.float32)
