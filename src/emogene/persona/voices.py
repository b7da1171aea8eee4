"""The cast: dozens of voices made from a few engine voices by rate, pitch and vocal-tract length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emogene.persona.speech import Voice

# (base, how often, smallest and largest pitch factor, smallest and largest warp)
_FLITE = (
    ("slt", 3, (0.85, 1.25), (0.90, 1.12)),
    # rms has a fixed melody: only the warp changes its pitch.
    ("rms", 3, (1.0, 1.0), (0.90, 1.15)),
    ("awb", 2, (0.85, 1.25), (0.90, 1.15)),
    ("kal16", 1, (0.85, 1.3), (0.92, 1.15)),
)
_ESPEAK_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-us", "en-029")
_ESPEAK_FOREIGN = ("de", "fr", "es", "it")
_ESPEAK_VARIANTS = (
    "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Andy", "Annie", "Gene",
    "Lee", "Michael", "Mike", "anika", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed",
    "grandma", "grandpa", "iven", "john", "klatt2", "klatt4", "linda", "max", "michel", "miguel", "pablo",
    "paul", "quincy", "rob", "sandro", "shelby", "steph", "travis", "victor", "zac",
)  # fmt: skip
FOREIGN_SHARE = 0.25
"""Of the espeak voices, how many speak another language than English."""


def cast_voices(seed: int, count: int, engines: Sequence[str]) -> tuple[Voice, ...]:
    """Draw ``count`` voices; with both programs installed 55 % are flite's and 45 % espeak's."""
    rng = np.random.default_rng([seed, 23])
    real = [name for name in ("flite", "espeak") if name in engines]
    voices = []
    for index in range(count):
        engine = "formant" if not real else real[0] if len(real) == 1 else real[int(rng.random() > 0.55)]
        voices.append(_DRAW[engine](rng, f"{engine}-{index:03d}"))
    return tuple(voices)


def _flite_voice(rng: np.random.Generator, name: str) -> Voice:
    share = np.array([entry[1] for entry in _FLITE], float)
    base, _, pitch, warp = _FLITE[rng.choice(len(_FLITE), p=share / share.sum())]
    return Voice(
        name,
        "flite",
        base,
        "en",
        float(rng.uniform(0.8, 1.25)),
        float(rng.uniform(*pitch)),
        float(rng.uniform(*warp)),
    )


def _espeak_voice(rng: np.random.Generator, name: str) -> Voice:
    foreign = rng.random() < FOREIGN_SHARE
    accent = str(rng.choice(_ESPEAK_FOREIGN if foreign else _ESPEAK_ACCENTS))
    base = f"{accent}+{rng.choice(_ESPEAK_VARIANTS)}"
    rate, pitch, warp = rng.uniform(0.8, 1.25), rng.uniform(0.75, 1.35), rng.uniform(0.92, 1.1)
    return Voice(name, "espeak", base, accent if foreign else "en", float(rate), float(pitch), float(warp))


def _formant_voice(rng: np.random.Generator, name: str) -> Voice:
    rate, pitch, warp = rng.uniform(0.85, 1.2), rng.uniform(0.7, 1.6), rng.uniform(0.9, 1.15)
    return Voice(name, "formant", "formant", "lexicon", float(rate), float(pitch), float(warp))


_DRAW = {"flite": _flite_voice, "espeak": _espeak_voice, "formant": _formant_voice}
