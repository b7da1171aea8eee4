"""What the corpus says: English from a grammar with phonetically rich words, other languages from lists.

All sentences are written for this project.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emogene.persona.formants import LEXICON

_SUBJECTS = (
    "my mother", "your father", "the baby", "our neighbour", "the old fisherman", "a young woman",
    "the judge", "this boy", "his brother", "the whole family", "nobody", "everybody", "the teacher",
    "my best friend", "the man in the yellow coat", "her uncle", "the people from the village",
    "a very patient vet", "the new pilot", "the bus driver", "Paul", "Barbara", "Vivian", "Joshua",
    "Thomas and Beth", "we", "they",
)  # fmt: skip
_VERBS = (
    "bought", "forgot", "pushed", "moved", "found", "washed", "fixed", "threw", "promised", "borrowed",
    "measured", "painted", "would love", "brought back", "never touched", "chose", "put away",
    "asked for", "laughed about", "could smell", "wrapped up", "showed me", "always wanted", "opened",
    "dropped", "sold", "might keep",
)  # fmt: skip
_ADJECTIVES = (
    "big", "small", "purple", "blue", "broken", "wonderful", "heavy", "quiet", "beautiful", "empty",
    "warm", "shiny", "very expensive", "rough", "thick", "fresh", "orange", "huge", "loyal", "rubber",
    "smooth", "wooden",
)  # fmt: skip
_NOUNS = (
    "boat", "table", "apples", "map", "shoes", "phone", "window", "garden", "book about birds",
    "bowl of soup", "piano", "picture of the moon", "umbrella", "watch", "fish", "jacket",
    "cup of coffee", "bridge", "television", "vase", "mushrooms", "puppy", "toy", "box of matches",
    "voice", "chair", "pipe", "measuring tape", "mouthwash",
)  # fmt: skip
_PLACES = (
    "today", "before breakfast", "in the morning", "by the river", "on the way home", "at five o'clock",
    "near the beach", "after the show", "for a while", "without asking", "in April", "with both hands",
    "under the bridge", "again and again", "above the shop", "next Thursday", "for the first time",
    "maybe",
)  # fmt: skip
_TEMPLATES = (
    "{S} {v} the {a} {n} {p}.", "{S} {v} {a} {n} and {a} {n}.", "Why would {s} want the {a} {n}?",
    "I think {s} {v} that {n} {p}.", "{P}, {s} {v} my {a} {n}.", "Please give me the {a} {n} {p}!",
    "Do you believe that {s} {v} the {n}?", "If {s} {v} the {n}, I will be very happy.",
    "There is a {a} {n} {p}, and {s} {v} it.", "{S} {v} it {p}, but the {n} is {a}.", "What a {a} {n}!",
    "Oh, {s} {v} the {n}!", "No, not the {a} {n}.", "{S}? Maybe {p}.",
    "The code is {d} {l} {d} {l}, not {d} {l}.", "Turn to page {d} {d} and read line {l} {d}.",
    "Put the {a} {n} by the {n} now.", "Call {d} {d} {d} {d} {d} {p}.",
)  # fmt: skip
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_RICH = (
    "Both of my brothers prefer to walk along the edge of the forest.",
    "The chef should measure a cup of sugar, a pinch of salt and four eggs.",
    "A loud voice from the boat woke the whole harbour at dawn.",
    "Five brave puppies jumped over the muddy ditch and ran home.",
    "We usually have a casual chat about the weather before the show begins.",
    "Poor old Ruth could hardly hear the children through the thick wall.",
    "He joined the choir, enjoyed the noise, and lost his voice by noon.",
    "Mix the blueberries with warm milk, then whip up the batter.",
    "The judge put on her gown, looked around, and told us to stay.",
    "Thirty thousand people watched the parade march past the museum.",
    "You owe me an apology, a new umbrella, and half of that pie.",
    "Maybe Emma mumbled, but I am pretty sure she promised me a map.",
    "What time does the airport bus leave on Wednesday evening?",
    "Beige is a boring colour; the vision we have needs azure and gold.",
    "The young yacht captain yelled at us to use the yellow rope.",
    "Oil the hinges, boil the water, and point the hose at the soil.",
    "She sells fresh fish, shellfish, and a few cheap fishing rods.",
    "Look at the wood, push the hook, and pull the wool through.",
    "Our flower shop is open for about an hour around noon.",
    "The thief thought that the path beneath the bridge was safe.",
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def sentence_in(language: str, rng: np.random.Generator) -> str:
    """Draw a sentence; ``language`` is two letters, or "lexicon" for the built-in voice's words."""
    if language == "lexicon":
        return _lexicon_sentence(rng)
    if language != "en":
        return str(rng.choice(foreign_sentences(language)))
    if rng.random() < 0.1:
        return str(rng.choice(_RICH))
    template = str(rng.choice(_TEMPLATES))
    while "{" in template:
        start = template.index("{")
        slot = template[start + 1]
        template = template[:start] + _fill(slot, rng) + template[start + 3 :]
    return template


def foreign_sentences(language: str) -> list[str]:
    """The sentences of a language other than English."""
    path = Path(__file__).parent / "data" / f"sentences_{language}.txt"
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _fill(slot: str, rng: np.random.Generator) -> str:
    words = {
        "s": _SUBJECTS,
        "v": _VERBS,
        "a": _ADJECTIVES,
        "n": _NOUNS,
        "p": _PLACES,
        "d": _DIGITS,
        "l": tuple(_LETTERS),
    }[slot.lower()]
    word = str(rng.choice(words))
    return word[:1].upper() + word[1:] if slot.isupper() else word


def _lexicon_sentence(rng: np.random.Generator) -> str:
    words = list(LEXICON)
    starters, nouns = words[:9], words[9:29]
    verbs = words[words.index("buys") : words.index("big")]
    adjectives = words[words.index("big") : words.index("today")]
    last = words[words.index("today") : words.index("this")]
    pick = [str(rng.choice(group)) for group in (starters, nouns, verbs, starters, adjectives, nouns, last)]
    return " ".join(pick) + "."
