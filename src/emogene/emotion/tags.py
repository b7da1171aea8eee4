"""Emotion written into the text that is spoken: tags, emoji, SSML -> plain text and an EmotionTrack.

    [happy:0.7] I found it! [sad] And lost it again. [/] Well.
    I found it! 🙂
    <speak><mstts:express-as style="cheerful" styledegree="0.7">I found it!</mstts:express-as></speak>

A tag holds until the next one; ``[/]`` ends it. An emoji colours the sentence it ends, or, at the start
of a sentence, the sentence it starts. Words are timed by the caller (a synthesiser's or aligner's word
starts), or else in proportion to their letters.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emogene.emotion.labels import EMOJI, known
from emogene.emotion.mixture import parse_mixture
from emogene.emotion.track import DEFAULT_FADE_S, LARGEST_DOSE, EmotionKey, EmotionTrack, doses_of
from emogene.errors import UserError

logger = logging.getLogger(__name__)

LEAD_S = 0.2
"""A face changes a little before the words it belongs to."""
_EMOJI = "|".join(re.escape(face) + "\ufe0f?" for face in EMOJI)
_TOKEN = re.compile(
    r"\[(?P<tag>[^\[\]]{0,80})\]"
    r"|<(?P<close>/)?(?:\w+:)?express-as(?P<attributes>[^<>]*)>"
    r"|(?P<xml></?[A-Za-z?!][^<>]*>)"
    rf"|(?P<emoji>{_EMOJI})"
)
_ATTRIBUTE = re.compile(r"""(\w+)\s*=\s*["']([^"']*)["']""")
_SENTENCE_END = (".", "!", "?", "…", "。", "\n")
_SSML_STYLES = {"cheerful": "happy", "terrified": "fear", "unfriendly": "contempt", "disgruntled": "disgust"}


@dataclass(frozen=True)
class TaggedText:
    """Text without its tags, and the doses that begin at a word: marks = ((word index, 8 doses), ...)."""

    text: str
    marks: tuple[tuple[int, tuple[float, ...]], ...]

    @property
    def words(self) -> list[str]:
        return self.text.split()

    def track(
        self, *, word_starts_s: Sequence[float] | None = None, duration_s: float | None = None
    ) -> EmotionTrack:
        """Return the track of the spoken text.

        Args:
            word_starts_s: start of every word of ``words``; else ``duration_s`` of the whole speech is
                shared out by letters, a sentence end counting as four.
        """
        words = self.words
        if word_starts_s is None:
            if duration_s is None:
                raise ValueError("give word_starts_s or duration_s")
            word_starts_s = _starts_by_letters(words, duration_s)
        if len(word_starts_s) != len(words):
            raise UserError(f"{len(word_starts_s)} word times were given for {len(words)} words")
        by_time: dict[float, EmotionKey] = {}
        for word, doses in self.marks:
            if word >= len(words) and words:
                continue  # nothing is said in this emotion
            start_s = float(word_starts_s[word]) if words else 0.0
            t_s = 0.0 if word == 0 else max(start_s - LEAD_S, 0.0)
            by_time[t_s] = EmotionKey(t_s, doses, DEFAULT_FADE_S)
        return EmotionTrack(tuple(by_time.values()))


def parse_tags(text: str, *, strict: bool = True) -> TaggedText:
    """Split text into what is said and how.

    Args:
        text: speech text with tags, emoji or SSML express-as elements.
        strict: an unknown tag is an error; else it is left out with a warning (text from a language model).
    """
    plain, position = "", 0
    marks: dict[int, tuple[float, ...]] = {}
    for found in _TOKEN.finditer(text):
        plain += text[position : found.start()]
        position = found.end()
        doses = _token_doses(found, strict)
        if doses is None:
            plain += " "
            continue
        here = len(plain.split())
        if found.group("emoji") and _sentence_start(plain) < here:
            marks[_sentence_start(plain)] = doses
            marks.setdefault(here, doses_of({}))
        else:
            marks[here] = doses
        plain += " "
    plain = re.sub(r"\s+([.,!?;:…])", r"\1", " ".join((plain + text[position:]).split()))
    return TaggedText(plain, tuple(sorted(marks.items())))


def has_tags(text: str) -> bool:
    """Whether a text holds words with tags, rather than an emotion alone."""
    return any(found.group("emoji") is None for found in _TOKEN.finditer(text))


def _token_doses(found: re.Match[str], strict: bool) -> tuple[float, ...] | None:
    """Doses that begin at a token; None: the token only disappears."""
    if found.group("emoji"):
        return doses_of({found.group("emoji"): 1.0})
    if found.group("xml"):
        return None
    if found.group("attributes") is not None:
        return doses_of({}) if found.group("close") else _express_as(found.group("attributes"), strict)
    tag = found.group("tag").strip()
    if tag.startswith("/") or not tag:
        return doses_of({})
    try:
        return parse_mixture(tag)
    except UserError as error:
        if strict:
            raise UserError(f"tag [{tag}]: {error}") from None
        logger.warning("tag [%s] left out: %s", tag, error)
        return None


def _express_as(attributes: str, strict: bool) -> tuple[float, ...] | None:
    """Doses of an SSML express-as element; its styledegree (0.01 to 2, 1 is usual) is the dose."""
    values = dict(_ATTRIBUTE.findall(attributes))
    style = values.get("style", "")
    label = _SSML_STYLES.get(style.lower()) or known(style)
    try:
        degree = float(values.get("styledegree", 1.0))
    except ValueError:
        raise UserError(f"styledegree {values['styledegree']!r} is not a number; use 0.01 to 2") from None
    if label is None:
        if strict:
            raise UserError(f"unknown SSML style {style!r}; use an emotion such as happy, sad or angry")
        logger.warning("SSML style %r left out: no emotion of ours", style)
        return None
    return doses_of({label: min(max(degree, 0.0), LARGEST_DOSE)})


def _sentence_start(plain: str) -> int:
    """Index of the first word of the sentence that ``plain`` ends in (or has just ended)."""
    words = plain.split()
    start = len(words)
    while start > 0 and (start == len(words) or not words[start - 1].endswith(_SENTENCE_END)):
        start -= 1
    return start


def _starts_by_letters(words: Sequence[str], duration_s: float) -> list[float]:
    costs = [len(word) + 1.0 + 3.0 * word.endswith(_SENTENCE_END) for word in words]
    begun = np.concatenate([[0.0], np.cumsum(costs)])
    return [float(value) for value in begun[:-1] / max(begun[-1], 1.0) * duration_s]
