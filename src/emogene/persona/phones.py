"""Phones of two alphabets (ARPAbet of flite, IPA of espeak-ng) -> viseme classes with times.

A phone is (start_s, end_s, label). Diphthongs become two visemes, split at 55 % of their length.
"""

# ruff: noqa: RUF001 - IPA letters are what they are
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Phone = tuple[float, float, str]
Reals = NDArray[np.floating]
"""Real numbers of any width: the persona computes in float64 and hands out float32."""

SILENCE = "sil"
VISEMES = (
    SILENCE, "PP", "FF", "TH", "DD", "KK", "CH", "SS", "RR",
    "AA", "AE", "AH", "EH", "IH", "IY", "AO", "OW", "UH", "UW",
)  # fmt: skip
VISEME = {name: index for index, name in enumerate(VISEMES)}
VOWELS = frozenset(("AA", "AE", "AH", "EH", "IH", "IY", "AO", "OW", "UH", "UW"))
IS_VOWEL = np.array([name in VOWELS for name in VISEMES])

_ARPABET = {
    SILENCE: "pau sil h# _ _:",
    "PP": "p b m", "FF": "f v", "TH": "th dh", "DD": "t d n l dx", "KK": "k g ng hh hv", "CH": "ch jh sh zh",
    "SS": "s z", "RR": "r er axr",
    "AA": "aa ay aw", "AE": "ae", "AH": "ah ax", "EH": "eh ey", "IH": "ih ix", "IY": "iy y", "AO": "ao oy",
    "OW": "ow", "UH": "uh", "UW": "uw w",
}  # fmt: skip
# The one clash of the alphabets: "y" is the glide of "yes"; the French vowel is written "yː".
_IPA = {
    "PP": "p b m ɸ β p͡f", "FF": "f v ɱ ʋ pf", "TH": "θ ð", "DD": "t d n l ɾ ɫ ɬ ʈ ɖ ɲ ʎ ɭ ɳ t̪ d̪",
    "KK": "k ɡ g ŋ h x ɣ χ ɦ ç q ʔ c ɟ", "CH": "tʃ dʒ ʃ ʒ ɕ ʑ tɕ dʑ ʂ ʐ", "SS": "s z ts dz",
    "RR": "ɹ ɚ ɜː ɝ r ʁ ʀ ɻ ɜ",
    "AA": "ɑː ɑ a aɪ aʊ ɒ ɑ̃ ã a: aː ɐ ɶ", "AE": "æ", "AH": "ʌ ə ɐ̃ ɘ ɵ ᵻ", "EH": "ɛ e eɪ eː ɛː ɛ̃ eʊ",
    "IH": "ɪ ɨ", "IY": "iː i j", "AO": "ɔː ɔ ɔɪ ɔ̃ ɔʏ ɔø", "OW": "oʊ əʊ o oː œ œ̃ õ ɤ", "UH": "ʊ ʏ ø øː",
    "UW": "uː u w yː ɥ ʉ ɯ",
}  # fmt: skip
_GLIDES = {
    "ay": ("AA", "IY"), "aw": ("AA", "UW"), "oy": ("AO", "IY"), "ey": ("EH", "IY"), "ow": ("AO", "UW"),
    "aɪ": ("AA", "IY"), "aʊ": ("AA", "UW"), "ɔɪ": ("AO", "IY"), "ɔʏ": ("AO", "UW"), "eɪ": ("EH", "IY"),
    "oʊ": ("AO", "UW"), "əʊ": ("AH", "UW"), "iə": ("IY", "AH"), "eə": ("EH", "AH"), "ʊə": ("UW", "AH"),
}  # fmt: skip
_GLIDE_SPLIT = 0.55
_MARKS = str.maketrans("", "", "ˈˌːʰʲ̩̯̃̆ˑ;'\"-.^")

_CLASS_OF = {label: viseme for viseme, labels in _ARPABET.items() for label in labels.split()} | {
    label: viseme for viseme, labels in _IPA.items() for label in labels.split()
}


@dataclass(frozen=True, slots=True)
class VisemeSegments:
    """Viseme of each segment [K] (index into VISEMES) and its times [K] in seconds."""

    viseme: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    @property
    def centre_s(self) -> NDArray[np.float64]:
        return (self.start_s + self.end_s) / 2

    @property
    def duration_s(self) -> NDArray[np.float64]:
        return self.end_s - self.start_s


def viseme_of(label: str) -> str:
    """Viseme class of a phone label of either alphabet; an unknown label is a mid vowel, AH."""
    label = label.strip().lstrip("ˈˌ")
    if not label:
        return SILENCE
    plain = label.translate(_MARKS)
    for key in (label, plain, plain[:2], plain[:1]):
        if key in _CLASS_OF:
            return _CLASS_OF[key]
    return "AH"


def viseme_segments(phones: Sequence[Phone]) -> VisemeSegments:
    """Map phones to viseme segments in time order; neighbouring silences become one."""
    rows: list[tuple[int, float, float]] = []
    for start, end, label in phones:
        glide = _glide(label)
        if glide is None:
            viseme = VISEME[viseme_of(label)]
            if rows and viseme == rows[-1][0] == VISEME[SILENCE]:
                start = rows.pop()[1]
            rows.append((viseme, start, end))
        else:
            middle = start + _GLIDE_SPLIT * (end - start)
            rows += [(VISEME[glide[0]], start, middle), (VISEME[glide[1]], middle, end)]
    table = np.array(rows, np.float64).reshape(-1, 3)
    return VisemeSegments(table[:, 0].astype(np.int64), table[:, 1], table[:, 2])


def _glide(label: str) -> tuple[str, str] | None:
    """The two visemes of a diphthong or of a vowel coloured by a following r, else None."""
    plain = label.strip().translate(_MARKS)
    if len(plain) > 1 and plain.endswith("ɹ"):
        return viseme_of(plain[:-1]), "RR"
    return _GLIDES.get(plain)
