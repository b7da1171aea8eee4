"""Recordings -> clip folders: track the face, keep the sound, find the A/V offset. Resumable.

Each item becomes OUT/<item name>/ (see ``io.clip``); what is there already is kept, what fails is noted in
OUT/failures.json and tried again only with ``retry``. The tracker is passed in: `emogene.capture.tracks`
in the product, a stub in tests.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.interpolate import CubicSpline

from emogene.data.items import Item
from emogene.errors import UserError
from emogene.io.clip import Clip, open_clip
from emogene.io.files import atomic_folder, read_json, write_json
from emogene.types import FloatArray

log = logging.getLogger(__name__)

LEAST_CONFIDENCE = 0.12
"""Offsets the sync expert is less sure of are not applied: noise, cuts, voices off-screen."""
LARGEST_OFFSET = 10
"""Frames; more is a mistake of the expert rather than of a recording."""


class ClipMaker(Protocol):
    """`emogene.capture.tracks.track_to_clip`, or a stand-in."""

    def __call__(
        self, video: Path, out: Path, *, speaker: str, sound: Path | None = None, **about: Any
    ) -> Clip: ...


OffsetFinder = Callable[[Clip], tuple[float, float]]
"""clip -> (confidence, frames by which the mouth is late, to a fraction)."""


@dataclass
class Report:
    """What ``prepare`` did: folders of all clips, and why others failed."""

    clips: list[Path] = field(default_factory=list)
    new: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def prepare(
    items: Sequence[Item],
    out: Path,
    make_clip: ClipMaker,
    *,
    find_offset: OffsetFinder | None = None,
    retry: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Turn items into clip folders under ``out``.

    Args:
        items: from ``sources.read_source``.
        out: the corpus folder.
        make_clip: tracks one video.
        find_offset: the sync expert; None leaves offsets alone.
        retry: try items again that failed before.
        progress: called with (done, all).
    """
    report = Report()
    failures_path = out / "failures.json"
    if failures_path.exists() and not retry:
        report.failures = {str(k): str(v) for k, v in read_json(failures_path).items()}
    for index, item in enumerate(items):
        if item.name not in report.failures:
            try:
                folder, is_new = _prepare_item(item, out, make_clip, find_offset)
                report.clips.append(folder)
                report.new += is_new
            except UserError as error:
                log.warning("%s is left out: %s", item.name, error)
                report.failures[item.name] = str(error)
                write_json(failures_path, dict(report.failures))
        if progress:
            progress(index + 1, len(items))
    return report


def _prepare_item(
    item: Item, out: Path, make_clip: ClipMaker, find_offset: OffsetFinder | None
) -> tuple[Path, bool]:
    if item.clip is not None:
        return item.clip, False
    folder = out / item.name
    if (folder / "clip.json").exists():
        return folder, False
    assert item.video is not None
    about = {"emotion": item.emotion, "intensity": item.intensity, "text": item.text, "licence": item.licence}
    with atomic_folder(folder) as temporary:
        make_clip(
            item.video, temporary, speaker=item.speaker, sound=item.sound, source=item.video.name, **about
        )
        extra: dict[str, Any] = {"words": [list(word) for word in item.words]} if item.words else {}
        if find_offset is not None:
            confidence, offset = find_offset(open_clip(temporary))
            sure = confidence >= LEAST_CONFIDENCE and abs(offset) <= LARGEST_OFFSET
            extra |= {"av_offset_frames": round(offset, 2) if sure else 0}
            extra |= {"av_confidence": round(confidence, 4)}
        if extra:
            write_json(temporary / "clip.json", read_json(temporary / "clip.json") | extra)
    return folder, True


def in_sync(clip: Clip) -> tuple[FloatArray, slice]:
    """Landmarks with the noted A/V offset taken out; fractions of a frame by a cubic spline.

    Returns:
        landmarks [T, 68, 3] on the sound's clock (ends repeated), and the frames that are real.
    """
    landmarks = clip.arrays["landmarks_cano"]
    late, end = float(clip.about.get("av_offset_frames", 0)), len(landmarks) - 1
    source = np.clip(np.arange(end + 1) + late, 0, end)
    first, last = max(0, math.ceil(-late)), min(end, math.floor(end - late)) + 1
    if late.is_integer() or end < 1:
        return landmarks[source.astype(int)], slice(first, last)
    moved = CubicSpline(np.arange(end + 1), landmarks)(source)
    return np.asarray(moved, np.float32), slice(first, last)


def by_speaker(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Clips grouped by speaker, in order."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.speaker].append(clip)
    return dict(groups)


def offset_finder() -> OffsetFinder:
    """The shipped sync expert as an offset finder."""
    from emogene.data.features import clip_features
    from emogene.features.extractor import load_extractor
    from emogene.features.prosody import prosody
    from emogene.motion.sync import load_sync

    expert = load_sync()
    extractor = load_extractor(expert.config.features)

    def find(clip: Clip) -> tuple[float, float]:
        if clip.n_frames < 2 * expert.config.window:
            return 0.0, 0.0
        rows, rhythm = clip_features(clip, extractor, prosody)
        loud = rhythm[:, 2].reshape(-1, 2).mean(1)
        return expert.place(rows, clip.arrays["landmarks_cano"], (loud > 0.5 * loud.max()).astype(np.float32))

    return find
