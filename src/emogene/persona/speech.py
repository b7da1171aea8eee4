"""Text -> speech with phone times, by free engines: flite, espeak-ng, and a built-in formant voice.

flite and espeak-ng are programs of the operating system, used if installed; the formant voice needs nothing,
sounds like a machine and speaks a small lexicon, so tiny corpora build anywhere.
"""

from __future__ import annotations

import ctypes.util
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from emogene.errors import UserError
from emogene.io.audio import resample
from emogene.persona.phones import Phone, Reals
from emogene.types import SAMPLE_RATE_HZ, FloatArray

ENGINES = ("flite", "espeak", "formant")


@dataclass(frozen=True, slots=True)
class Prosody:
    """How an emotion is spoken, as factors on the neutral voice, and loudness in dB."""

    duration: float = 1.0
    pitch: float = 1.0
    pitch_range: float = 1.0
    loudness_db: float = 0.0

    def scaled(self, dose: float) -> Prosody:
        """The same manner at a dose of 0..1."""
        return Prosody(
            1 + (self.duration - 1) * dose,
            1 + (self.pitch - 1) * dose,
            1 + (self.pitch_range - 1) * dose,
            self.loudness_db * dose,
        )


PROSODY: Mapping[str, Prosody] = {
    "neutral": Prosody(),
    "happy": Prosody(0.92, 1.16, 1.6, 1),
    "angry": Prosody(0.88, 1.08, 1.5, 4),
    "contempt": Prosody(1.08, 0.93, 0.8, 0),
    "disgust": Prosody(1.08, 0.92, 1.0, 0),
    "fear": Prosody(0.86, 1.28, 1.1, -1),
    "sad": Prosody(1.22, 0.90, 0.55, -4),
    "surprise": Prosody(0.95, 1.25, 1.9, 2),
}


@dataclass(frozen=True, slots=True)
class Voice:
    """One speaker's voice.

    engine: one of ENGINES. base: the engine's voice. language: two letters. rate: speaking rate factor.
    pitch: fundamental frequency factor. warp: factor on all resonances (and pitch): above 1 a smaller head.
    """

    name: str
    engine: str
    base: str
    language: str = "en"
    rate: float = 1.0
    pitch: float = 1.0
    warp: float = 1.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech [S] at 16 kHz and its phones (start_s, end_s, label)."""

    samples: FloatArray
    phones: tuple[Phone, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


def available_engines() -> tuple[str, ...]:
    """The engines this machine can use."""
    have = {"flite": shutil.which("flite"), "espeak": ctypes.util.find_library("espeak-ng"), "formant": True}
    return tuple(name for name in ENGINES if have[name])


def speak(text: str, voice: Voice, prosody: Prosody | None = None) -> Utterance:
    """Speak ``text``, one or more sentences."""
    prosody = prosody or Prosody()
    if voice.engine not in available_engines():
        package = {"flite": "flite", "espeak": "espeak-ng"}.get(voice.engine)
        if package is None:
            raise UserError(f"no speech engine is called {voice.engine}; there are {', '.join(ENGINES)}")
        raise UserError(
            f"the voice {voice.name} needs {package}, which is not installed: apt install {package}"
        )
    samples, rate_hz, phones = _synthesise(text, voice, prosody)
    if len(samples) == 0:
        raise UserError(f"the voice {voice.name} has nothing to say for {text!r}")
    # Played faster, everything is higher and shorter; the engines were asked to speak slower by as much.
    samples = resample(np.asarray(samples, np.float32), round(rate_hz * voice.warp), SAMPLE_RATE_HZ)
    stretched = [(start / voice.warp, end / voice.warp, label) for start, end, label in phones]
    peak = max(float(np.abs(samples).max()), 1e-4)
    return Utterance(np.asarray(samples * (0.5 / peak), np.float32), tuple(stretched))


def _synthesise(text: str, voice: Voice, prosody: Prosody) -> tuple[Reals, int, list[Phone]]:
    slowed = replace(voice, rate=voice.rate / voice.warp)
    if voice.engine == "espeak":
        from emogene.persona.espeak import open_espeak

        return open_espeak().speak(text, slowed, prosody)
    if voice.engine == "flite":
        from emogene.persona.flite import speak_sentence
    else:
        from emogene.persona.formants import speak_sentence
    pieces, phones, offset, rate_hz = [], [], 0.0, SAMPLE_RATE_HZ
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        samples, rate_hz, own = speak_sentence(sentence, slowed, prosody)
        pieces.append(samples)
        phones += [(start + offset, end + offset, label) for start, end, label in own]
        offset += len(samples) / rate_hz
    return np.concatenate(pieces), rate_hz, phones
