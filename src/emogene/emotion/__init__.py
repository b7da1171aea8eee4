"""Motion-to-Emotion: an emotion over time, and what it does to the face (EmoGene 3.3)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emogene.emotion.grammar import parse_emotion
from emogene.emotion.track import EmotionKey, EmotionTrack

if TYPE_CHECKING:
    from emogene.emotion.apply import EmotionModel

__all__ = ["EmotionKey", "EmotionTrack", "load_emotion", "parse_emotion"]


def load_emotion(path: Path | None = None) -> EmotionModel:
    """Load an emotion model from its folder; None: the weights that ship with the package."""
    from emogene.emotion.apply import EmotionModel

    return EmotionModel.load(path)
