"""What a person's own footage is worth: motion fitted to some seconds of it, judged on the rest.

Clips of one speaker, in the order of their names, are pieces of one recording. Some seconds at both ends of
it are learned from in turn, or a share of it beside its end, its beginning and its middle, and what is left
is judged, so that no frame is both; the neutral face comes from the learned part alone, and so does its one
A/V offset, to a fraction of a frame as in `emogene create`. What is judged is corrected clip by clip, as in
the other tables: edited footage changes its offset at cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emogene.data.prepare import by_speaker
from emogene.data.rest import mouth_amplitude, neutral_face
from emogene.evaluate.motion import Truth, follow_table, truths
from emogene.features.extractor import SpeechFeatures
from emogene.io.clip import Clip
from emogene.motion.model import MotionModel
from emogene.training.adapt import SHORTEST_S, adapt_motion
from emogene.types import FPS, Audio, FloatArray

LEAST_JUDGED_S = 4.0
"""Speakers with less than this beside the learned part are left out."""


def person_table(
    clips: Sequence[Clip],
    base: MotionModel,
    extractor: SpeechFeatures,
    prosody: Callable[[Audio], FloatArray],
    work: Path,
    *,
    seconds: float,
) -> dict[str, dict[str, Any]]:
    """Rows "as everybody" and "fitted": the table of ``follow_table``, mean over speakers and places.

    Args:
        clips: footage, corrected for its A/V offset.
        base: the model to fit.
        extractor, prosody: what it hears.
        work: folder for the runs.
        seconds: learned from, at least; below 1 the share of a speaker's footage, 15 s at least. A speaker
            needs 4 s more.
    """
    judged: list[Truth] = []
    plain: list[FloatArray] = []
    fitted: list[FloatArray] = []
    for name, group in by_speaker(clips).items():
        for place, (learned, rest) in enumerate(_places(group, seconds)):
            learned = with_common_offset(learned)
            model = adapt_motion(work / f"{name}-{place}", learned, base, extractor, prosody)
            neutral = neutral_face(learned)
            amplitude = base.amplitude_for(mouth_amplitude(learned))
            for clip in truths(rest, extractor, prosody):
                # The neutral face that a product would know, and each place a speaker of its own.
                moved = clip.offsets + clip.neutral - neutral
                judged.append(replace(clip, speaker=f"{name}-{place}", neutral=neutral, offsets=moved))
                for made, who in ((plain, base), (fitted, model)):
                    motion = who.generate(clip.features, clip.prosody, temperature=0.0, mouth_amp=amplitude)
                    made.append(motion)
    if not judged:
        return {}
    return {"as everybody": follow_table(judged, plain), "fitted": follow_table(judged, fitted)}


def with_common_offset(clips: Sequence[Clip]) -> list[Clip]:
    """Pieces of one recording with one A/V offset: the median of theirs, to a fraction where it is known."""
    common = {
        name: float(np.median([_offset(clip) for clip in group])) for name, group in by_speaker(clips).items()
    }
    return [replace(clip, about=clip.about | {"av_offset_frames": common[clip.speaker]}) for clip in clips]


def _offset(clip: Clip) -> float:
    return float(clip.about.get("av_offset_exact", clip.about.get("av_offset_frames", 0)))


def _places(group: Sequence[Clip], seconds: float) -> Iterator[tuple[list[Clip], list[Clip]]]:
    """(learned, judged), see ``person_table``: the end is judged, then the beginning, with a share also the
    middle."""
    ordered = sorted(group, key=lambda clip: clip.folder.name)
    total = sum(clip.n_frames for clip in ordered)
    least = seconds * FPS if seconds >= 1 else max(seconds * total, SHORTEST_S * FPS)
    if total < least + LEAST_JUDGED_S * FPS:
        return
    first, last = range(len(ordered)), range(len(ordered) - 1, -1, -1)
    middle = sorted(first, key=lambda index: abs(index - (len(ordered) - 1) / 2))
    for order in (last, first) if seconds >= 1 else (last, first, middle):
        judged: list[int] = []
        left = total
        for index in order:
            left -= ordered[index].n_frames
            if left < least:
                break
            judged.append(index)
        if judged:
            yield [ordered[i] for i in first if i not in judged], [ordered[i] for i in sorted(judged)]
