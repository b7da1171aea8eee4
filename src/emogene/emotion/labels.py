"""Names of the emotions: the eight labels, what people call them instead, and a hint for typing errors."""

from __future__ import annotations

import difflib

from emogene.errors import UserError
from emogene.types import EMOTIONS

ALIASES: dict[str, str] = {
    "anger": "angry",
    "mad": "angry",
    "furious": "angry",
    "annoyed": "angry",
    "contemptuous": "contempt",
    "scorn": "contempt",
    "scornful": "contempt",
    "smug": "contempt",
    "disgusted": "disgust",
    "disgusting": "disgust",
    "revolted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "terrified": "fear",
    "anxious": "fear",
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "cheerful": "happy",
    "excited": "happy",
    "glad": "happy",
    "calm": "neutral",
    "none": "neutral",
    "normal": "neutral",
    "neutrality": "neutral",
    "sadness": "sad",
    "sorrow": "sad",
    "unhappy": "sad",
    "depressed": "sad",
    "surprised": "surprise",
    "amazed": "surprise",
    "amazement": "surprise",
    "astonished": "surprise",
}
"""Other words for a label, lower case."""

EMOJI: dict[str, str] = {
    "😠": "angry",
    "😡": "angry",
    "🤬": "angry",
    "😏": "contempt",
    "😒": "contempt",
    "🙄": "contempt",
    "🤢": "disgust",
    "🤮": "disgust",
    "😨": "fear",
    "😱": "fear",
    "😰": "fear",
    "🙂": "happy",
    "😀": "happy",
    "😃": "happy",
    "😄": "happy",
    "😁": "happy",
    "😊": "happy",
    "😂": "happy",
    "😐": "neutral",
    "😶": "neutral",
    "😢": "sad",
    "😭": "sad",
    "😞": "sad",
    "🙁": "sad",
    "😲": "surprise",
    "😮": "surprise",
    "😯": "surprise",
}
"""Faces that stand for a label; a variation selector behind them is ignored."""


def known(name: str) -> str | None:
    """Return the label that ``name`` (label, alias or emoji, any case) stands for, or None."""
    word = name.strip().strip("\ufe0f").lower()
    if word in EMOTIONS:
        return word
    return ALIASES.get(word) or EMOJI.get(word)


def resolve(name: str) -> str:
    """Return the label that ``name`` stands for.

    Raises:
        UserError: the name is none of ours; the message says which one may be meant.
    """
    label = known(name)
    if label is not None:
        return label
    close = difflib.get_close_matches(name.strip().lower(), [*EMOTIONS, *ALIASES], n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else "choose one of " + ", ".join(EMOTIONS)
    raise UserError(f"unknown emotion {name.strip()!r}; {hint}")


def index_of(name: str) -> int:
    """Return the column of ``name`` in every weights array."""
    return EMOTIONS.index(resolve(name))
