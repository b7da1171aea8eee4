"""Are the phone times of the synthetic voices true? Sentences -> distance of labelled from heard boundaries.

    python -m emogene.persona.check_timing --voices 40

Where a hissing s or sh meets a vowel, the ear has one clear instant (z fades in): the share of sound above
3.5 kHz crosses the middle between what it is in the hiss and in the vowel. Each is held against the label.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import defaultdict
from itertools import pairwise

import numpy as np
from scipy.signal import butter, sosfiltfilt

from emogene.persona.corpus import choose_engines
from emogene.persona.phones import VOWELS, Phone, viseme_of
from emogene.persona.speech import PROSODY, speak
from emogene.persona.texts import sentence_in
from emogene.persona.voices import cast_voices
from emogene.types import SAMPLE_RATE_HZ, FloatArray

HISS_ABOVE_HZ = 3500
LEAST_PHONE_S = 0.05
SEARCH_S = 0.04
_HISSES = ("s", "sh", "ʃ")


def boundary_errors_s(samples: FloatArray, phones: tuple[Phone, ...]) -> list[float]:
    """Heard minus labelled time of every boundary between a hiss and a vowel, either way round."""
    high = sosfiltfilt(butter(4, HISS_ABOVE_HZ, "high", fs=SAMPLE_RATE_HZ, output="sos"), samples)
    # 6 ms are short against a phone and long against a glottal period's noise.
    window = np.hanning(int(0.006 * SAMPLE_RATE_HZ))
    power = np.convolve(np.square(samples), window, "same") + 1e-7
    share = np.log(np.convolve(np.square(high), window, "same") / power + 1e-4)
    errors = []
    for first, second in pairwise(phones):
        hiss, vowel = (first, second) if first[2] in _HISSES else (second, first)
        if hiss[2] not in _HISSES or viseme_of(vowel[2]) not in VOWELS:
            continue
        if min(first[1] - first[0], second[1] - second[0]) < LEAST_PHONE_S:
            continue
        levels = [np.median(share[_middle(phone)]) for phone in (first, second)]
        if abs(levels[0] - levels[1]) < 1.0:
            continue
        start = int((second[0] - SEARCH_S) * SAMPLE_RATE_HZ)
        near = share[start : start + int(2 * SEARCH_S * SAMPLE_RATE_HZ)]
        past = (near - np.mean(levels)) * (levels[1] - levels[0]) > 0
        # The step with fewest samples on the wrong side: those past it too early, those not past it too late.
        wrong = np.concatenate([[(~past).sum()], (~past).sum() + np.cumsum(np.where(past, 1, -1))])
        errors.append((start + int(wrong.argmin())) / SAMPLE_RATE_HZ - second[0])
    return errors


def _middle(phone: Phone) -> slice:
    quarter = (phone[1] - phone[0]) / 4
    return slice(int((phone[0] + quarter) * SAMPLE_RATE_HZ), int((phone[1] - quarter) * SAMPLE_RATE_HZ))


def main() -> None:
    """Print a line per engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--voices", type=int, default=40)
    parser.add_argument("--sentences", type=int, default=4, help="of each voice")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = defaultdict(list)
    for voice in cast_voices(0, arguments.voices, choose_engines(None)):
        for _ in range(arguments.sentences):
            said = speak(sentence_in(voice.language, rng), voice, PROSODY["neutral"])
            errors[f"{voice.engine} {voice.base}" if voice.engine == "flite" else voice.engine] += (
                boundary_errors_s(said.samples, said.phones)
            )
    for name, values in errors.items():
        milliseconds = 1000 * np.array(values)
        sys.stdout.write(
            f"{name}: {len(values)} boundaries, median {np.median(milliseconds):+.1f} ms, "
            f"median distance {np.median(np.abs(milliseconds)):.1f} ms, "
            f"within 10 ms {np.mean(np.abs(milliseconds) <= 10):.0%}, "
            f"within 20 ms {np.mean(np.abs(milliseconds) <= 20):.0%}\n"
        )


if __name__ == "__main__":
    main()
