"""Speech with phone times by festival's diphone voices, pieces of recorded people: Italian, Finnish, Czech.

Used to judge speech features on voices and languages that none of them was trained on. festival and its
voices are programs of the operating system: apt install festival festvox-italp16k festvox-itapc16k
festvox-suopuhe-lj festvox-suopuhe-mv festvox-czech-dita festvox-czech-krb festvox-czech-machac
festvox-czech-ph.
"""

# ruff: noqa: RUF001 - IPA letters are what they are
from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from emogene.errors import UserError
from emogene.io.audio import read_audio
from emogene.persona.phones import Phone
from emogene.persona.speech import Utterance, Voice

ENCODING = {"it": "latin-1", "fi": "latin-1", "cs": "iso-8859-2"}
PHONES: Mapping[str, Mapping[str, str]] = {
    "it": {"L": "ʎ", "J": "ɲ", "ng": "ŋ", "tS": "tʃ", "dZ": "dʒ", "S": "ʃ", "E": "ɛ", "O": "ɔ"},
    "fi": {"@": "æ", "7": "ø", "y": "yː", "N": "ŋ", "S": "ʃ"},
    "cs": {
        "ch": "x", "c": "ts", "c~": "tʃ", "s~": "ʃ", "z~": "ʒ", "r~": "ʒ", "n~": "ɲ", "t~": "t", "d~": "d",
        "dz~": "dʒ", "y": "i",
    },
}  # fmt: skip
"""Labels of a language's voices that are not IPA -> IPA."""


def speak_with_festival(text: str, voice: Voice) -> Utterance:
    """Speak a sentence. Raises UserError when festival or the voice is not installed."""
    if shutil.which("festival") is None:
        raise UserError("festival is not installed: apt install festival, and voices (training/festival.py)")
    with tempfile.TemporaryDirectory() as work:
        sound, labels, script = (Path(work) / name for name in ("a.wav", "a.segs", "a.scm"))
        lines = (
            f"(voice_{voice.base})",
            f"(set! said (eval (list 'Utterance 'Text \"{text}\")))",
            f'(utt.synth said) (utt.save.wave said "{sound}") (utt.save.segs said "{labels}")',
        )
        script.write_text("\n".join(lines), encoding=ENCODING[voice.language])
        ended = subprocess.run(["festival", "-b", str(script)], capture_output=True, check=False)
        if not labels.exists():
            reason = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"festival has no voice {voice.base} ({''.join(reason)}); install it with apt")
        phones = _phones(labels.read_text(encoding=ENCODING[voice.language]), PHONES[voice.language])
        return Utterance(read_audio(sound).samples, tuple(phones))


def _phones(segments: str, table: Mapping[str, str]) -> list[Phone]:
    """Lines "end_s 100 label" -> phones."""
    phones: list[Phone] = []
    start = 0.0
    for line in segments.splitlines():
        parts = line.split()
        if len(parts) == 3:
            end, label = float(parts[0]), re.sub(r"[0-9](?<!^.)|[*:]", "", parts[2])
            phones.append((start, end, "pau" if label.strip("#") == "" else table.get(label, label)))
            start = end
    return phones
