"""What people type after ``--emotion``: a label, a dose, a mixture, a timeline, or a file.

happy                            one emotion at dose 1
happy:0.7   0.7 happy   happy 70%
happy:0.5+surprise:0.3           a mixture; parts without a dose share what is left of 1
0:neutral, 2.5:happy:0.8, 6:sad  a timeline: the second (or m:ss) at which a change begins
face.json   face.vtt             an EmotionTrack file (see emotion.interchange)
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from emogene.emotion.interchange import read_track
from emogene.emotion.mixture import NUMBER, parse_mixture
from emogene.emotion.track import EmotionKey, EmotionTrack
from emogene.errors import UserError

logger = logging.getLogger(__name__)

FILE_SUFFIXES = (".json", ".vtt")
_TIME = re.compile(r"\s*((?:\d+:){0,2}(?:\d+\.?\d*|\.\d+))\s*s?\s*:(?=\s*[^\d\s.:])|\s*", re.IGNORECASE)
_TIME_DOSE_FIRST = re.compile(
    rf"\s*((?:\d+:){{0,2}}(?:\d+\.?\d*|\.\d+))\s*s?\s*:(?=\s*{NUMBER}\s*%?\s*\*?\s*[^\d\s.:])"
)


def parse_emotion(text: str | Path) -> EmotionTrack:
    """Read an emotion as people write it, or a .json or .vtt file of one; say so if it exaggerates.

    Raises:
        UserError: one sentence that says what cannot be read and what to write instead.
    """
    track = _parse(text)
    if track.largest_dose > 1.0 + 1e-6:
        logger.warning("emotion dose %.2f is above 1: the face will be exaggerated", track.largest_dose)
    return track


def _parse(text: str | Path) -> EmotionTrack:
    if isinstance(text, Path) or str(text).strip().lower().endswith(FILE_SUFFIXES):
        return read_track(Path(str(text).strip()))
    if str(text).strip().lower().split(":")[0] == "auto":
        raise UserError(
            "emotion auto must be heard from the sound with a voice model, and none ships (licences of acted "
            "speech); make one with `emogene train voice` and write auto:FOLDER"
        )
    entries = re.split(r"[,;\n]", text)
    if any(not entry.strip() for entry in entries):
        raise UserError(f"emotion {text!r} has an empty part; write for example happy:0.7 or 0:sad, 3:happy")
    keys = []
    for number, entry in enumerate(entries):
        t_s, mixture = _split_time(entry)
        if t_s is None and number:
            raise UserError(
                f"{entry.strip()!r} needs a time, as in 2.5:{entry.strip()} (join mixtures with +)"
            )
        keys.append(EmotionKey(t_s or 0.0, parse_mixture(mixture)))
    return EmotionTrack(tuple(keys))


def parse_time(text: str) -> float:
    """Read seconds, m:ss or h:mm:ss."""
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60.0 * seconds + float(part)
    return seconds


def _split_time(entry: str) -> tuple[float | None, str]:
    """Take a leading time off ``2.5:happy:0.8`` or ``2.5: 0.8 happy``."""
    found = _TIME_DOSE_FIRST.match(entry) or _TIME.match(entry)
    if found is None or found.group(1) is None:
        return None, entry
    return parse_time(found.group(1)), entry[found.end() :]
