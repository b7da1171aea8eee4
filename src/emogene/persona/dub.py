"""Real voices, synthetic faces: performances for recordings whose phone times are known.

A corpus of synthetic voices alone teaches few timbres. Any recording NAME.flac with NAME.phones.json beside
it ({"phones": [[start_s, end_s, label], ...]}, ARPAbet or IPA, from any aligner) becomes pairs of neutral and
emotional takes as in ``corpus``: the sound is real, the face is played by the rules.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emogene.errors import UserError
from emogene.io.audio import read_audio, write_wav
from emogene.io.clip import write_clip
from emogene.io.files import atomic_folder, read_json
from emogene.persona.rig import LandmarkRig
from emogene.persona.speech import Voice
from emogene.persona.takes import Recording, Speaker, perform
from emogene.persona.visemes import speech_energy
from emogene.types import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

logger = logging.getLogger(__name__)


def dub_recordings(
    recordings: Sequence[Path],
    out: Path,
    *,
    seed: int = 0,
    performances: int = 2,
    source: str = "",
    licence: str = "",
) -> int:
    """Let synthetic people speak with the voices of ``recordings``.

    Args:
        recordings: sound files, each with its phones beside it.
        out: folder for the pairs; finished ones are kept.
        seed: chooses faces, manners and emotions.
        performances: how many different people perform each recording.
        source: where the recordings are from, for clip.json.
        licence: the recordings' licence, for clip.json.

    Returns:
        the number of pairs.

    Raises:
        UserError: a recording has no phones beside it.
    """
    rig = LandmarkRig.load()
    pairs = 0
    for number, path in enumerate(recordings):
        recording = read_recording(path)
        for performance in range(performances):
            index = number * performances + performance
            folder = Path(out) / f"pair-{index:06d}"
            pairs += 1
            if folder.exists():
                continue
            person = 1_000_000 + 1000 * seed + index
            speaker = Speaker(f"dubbed-{path.stem}", Voice(path.stem, "recorded", path.stem), person, person)
            _, takes = perform(rig, speaker, seed, index, recording)
            with atomic_folder(folder) as temporary:
                for take in takes:
                    about = take.about | {"source": source or path.name, "licence": licence, "dubbed": True}
                    write_wav(temporary / take.name / "audio.wav", recording.audio)
                    write_clip(temporary / take.name, take.arrays, phones=list(recording.phones), **about)
    logger.info("%s: %d pairs from %d recordings", out, pairs, len(recordings))
    return pairs


def read_recording(path: Path) -> Recording:
    """Read a sound file and the phones beside it; the sound is padded to whole frames."""
    phones_path = path.with_suffix(".phones.json")
    if not phones_path.exists():
        raise UserError(f"{path} has no {phones_path.name} beside it; align the recording first")
    audio = read_audio(path)
    padded = np.pad(audio.samples, (0, -len(audio.samples) % SAMPLES_PER_FRAME))
    phones = tuple((float(a), float(b), str(label)) for a, b, label in read_json(phones_path)["phones"])
    energy = speech_energy(padded, SAMPLE_RATE_HZ)
    return Recording(replace(audio, samples=padded), phones, energy, "")
