"""From an audio file to an mp4: the pipeline with a decoder before it and an encoder behind it.

Rendering and encoding run on two threads; nothing grows with the length of the sound.
"""

from __future__ import annotations

import queue
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emogene.avatar import BUILT_IN, Avatar
from emogene.emotion.grammar import parse_emotion
from emogene.emotion.tags import has_tags, parse_tags
from emogene.emotion.track import EmotionTrack
from emogene.emotion.voice import asks_for_auto, track_from_voice
from emogene.errors import UserError
from emogene.io.audio import probe_duration_s, read_audio, stream_audio
from emogene.io.images import read_rgb, resize
from emogene.io.video import VideoWriter
from emogene.pipeline import Session, Style
from emogene.pose.style import PoseStyle
from emogene.types import FPS, SAMPLES_PER_FRAME, ByteArray, FloatArray

SHORTEST_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Film:
    """What to make; the fields are `emogene speak`'s options."""

    audio: Path
    output: Path
    avatar: str = BUILT_IN
    emotion: str = "neutral"
    intensity: float = 1.0
    seed: int = 0
    size: int = 512
    quality: str = "standard"
    pose: Literal["sampled", "take", "paper", "still"] = "sampled"
    background: str = ""
    mouth: float = 1.0
    features: str = "emogene"

    def __post_init__(self) -> None:
        _within("--intensity", self.intensity, 0.0, 1.5)
        _within("--mouth", self.mouth, 0.0, 2.0)
        if self.output.suffix.lower() not in (".mp4", ".m4v", ".mov"):
            raise UserError(f"--output {self.output} must end in .mp4")


def film(order: Film, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Write the video and return what it took: seconds per stage, real-time factor, peak memory."""
    started, started_cpu = time.perf_counter(), time.process_time()
    duration_s = probe_duration_s(order.audio)
    track = _emotion(order, duration_s)
    if duration_s < SHORTEST_S:
        raise UserError(f"{order.audio} lasts {duration_s:.2f} s; at least {SHORTEST_S} s of sound is needed")
    avatar = Avatar.load(order.avatar)
    session = Session(
        avatar,
        track,
        style=Style(mouth=order.mouth, expression=order.intensity, pose=PoseStyle(source=order.pose)),
        seed=order.seed,
        size=order.size,
        quality=order.quality,
        features=order.features,
        background=_background(order, avatar),
        planes=True,
    )
    loaded = time.perf_counter()
    n_frames = int(np.ceil(duration_s * FPS - 1e-6))
    done = 0
    with VideoWriter(
        order.output, (order.size, order.size), audio_path=order.audio, preset="superfast"
    ) as writer:
        for image in _behind(_frames(session, order.audio), depth=48):
            started_write = time.perf_counter()
            writer.write_planes(image)
            session.seconds["encode"] += time.perf_counter() - started_write
            done += 1
            if progress is not None:
                progress(done, max(n_frames, done))
    total = time.perf_counter() - started
    seconds = {"load": loaded - started, **session.seconds, "total": total}
    return {
        "output": str(order.output),
        "seconds_of_video": done / FPS,
        "frames": done,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "cpu_seconds": round(time.process_time() - started_cpu, 2),
        "rtf": round(total / (done / FPS), 3),
        "fps": round(done / (total - seconds["load"]), 1),
        "peak_memory_mb": round(_peak_memory_mb()),
    }


def _emotion(order: Film, duration_s: float) -> EmotionTrack:
    """The track that --emotion describes: an emotion, the spoken text with tags, or auto (heard)."""
    if has_tags(order.emotion):
        return parse_tags(order.emotion).track(duration_s=duration_s)
    if asks_for_auto(order.emotion):
        return track_from_voice(order.emotion, read_audio(order.audio))
    return parse_emotion(order.emotion)


def _frames(session: Session, audio: Path) -> Iterator[ByteArray]:
    for piece in stream_audio(audio):
        for part in _at_most(piece, 10 * FPS * SAMPLES_PER_FRAME):
            session.push_audio(part)
            for frame in session:
                yield frame.image
    session.flush()
    for frame in session:
        yield frame.image


def _at_most(piece: FloatArray, n: int) -> Iterator[FloatArray]:
    for start in range(0, len(piece), n):
        yield piece[start : start + n]


def _behind(items: Iterator[ByteArray], depth: int) -> Iterator[ByteArray]:
    """Produce ``items`` on a thread of their own, at most ``depth`` ahead of the reader."""
    ready: queue.Queue[ByteArray | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def produce() -> None:
        last: BaseException | None = None
        try:
            for item in items:
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.2)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
        except BaseException as error:
            last = error
        ready.put(last)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()


def _background(order: Film, avatar: Avatar) -> ByteArray:
    """The picture behind the person at the film's size."""
    if not order.background:
        return resize(avatar.portrait.background, order.size, order.size)
    text = order.background.lstrip("#")
    if len(text) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in text):
        colour = np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)], dtype=np.uint8)
        return np.broadcast_to(colour, (order.size, order.size, 3)).copy()
    if not Path(order.background).exists():
        raise UserError(f"--background {order.background!r} is neither a picture nor a colour like #00b140")
    return resize(read_rgb(Path(order.background)), order.size, order.size)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024
