"""The systems a suite judges: folders of mp4 of anybody, or ours, rendered by the suite itself.

A folder of mp4 serves every protocol; where it has a subfolder named after a protocol, that one is used.
A rendered system is an avatar with settings; a video is made once and kept until its settings change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emogene import __version__
from emogene.errors import UserError
from emogene.io.audio import read_audio
from emogene.io.clip import Clip, open_clip
from emogene.io.files import read_json, sha256, write_json
from emogene.io.images import read_rgb, resize
from emogene.io.video import VideoWriter
from emogene.types import (
    FPS,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    Audio,
    ByteArray,
    FloatArray,
    HeadPose,
    Motion,
)

HELD_OUT = 11
"""The last 1/11 of a clip's frames is kept from training (GeneFace, RAD-NeRF, and `emogene create`)."""
REAL_POSE = "held-out"
"""What the names of a reconstruction's clips begin with."""


@dataclass(frozen=True, kw_only=True)
class System:
    """Where a system's videos come from.

    folder: mp4 files of anybody. avatar: ours, by name or path, with the settings below.
    clip: the clip folder the avatar was made from, for reconstruction of its held-out end. motion: a folder
    of motion weights to use in place of the avatar's. driver: what moves the face in a reconstruction.
    pose: where head motion comes from. expression, blend, mouth: see ``pipeline.Style``.
    """

    folder: Path | None = None
    avatar: str = ""
    clip: Path | None = None
    motion: Path | None = None
    driver: Literal["speech", "landmarks"] = "speech"
    pose: Literal["sampled", "take", "paper", "still"] = "sampled"
    expression: float = 1.0
    blend: float = 0.2
    mouth: float = 1.0
    size: int = 512
    quality: str = "standard"
    seed: int = 0

    @classmethod
    def read(cls, name: str, content: Any, root: Path) -> System:
        """From a suite file: a folder's name, or an object with ``avatar`` and settings."""
        if isinstance(content, str):
            return cls(folder=_folder(name, root / content))
        if not isinstance(content, dict) or "avatar" not in content:
            raise UserError(f'system {name!r} must be a folder of mp4 or an object with "avatar"')
        known = {entry.name for entry in fields(cls)} - {"folder"}
        unknown = set(content) - known
        if unknown:
            raise UserError(
                f"system {name!r} has unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
            )
        settings = dict(content)
        for key in ("clip", "motion"):
            if settings.get(key) is not None:
                settings[key] = root / settings[key]
                if not settings[key].is_dir():
                    raise UserError(f"system {name!r}: {key} {settings[key]} is not a folder")
        if (root / settings["avatar"]).exists():
            settings["avatar"] = str(root / settings["avatar"])
        return cls(**settings)

    def varied(self, **changes: Any) -> System:
        """The same system with other settings."""
        return replace(self, **changes)

    def videos(self, protocol: str, orders: list[Order], out: Path) -> list[Path]:
        """The files of this system for a protocol; ours are rendered into ``out`` first."""
        if self.folder is not None:
            special = self.folder / protocol
            if special.is_dir():
                return sorted(special.glob("*.mp4"))
            return sorted(self.folder.glob("*.mp4"))
        return [render(self, order, out / protocol) for order in orders]


@dataclass(frozen=True, kw_only=True)
class Order:
    """One video to make: its name, the sound (None: silence), seconds, the emotion, and a seed of its own.

    A reconstruction instead has the frames of the clip, (first, end).
    """

    name: str
    speech: Path | None = None
    seconds: float = 4.0
    emotion: str = "neutral"
    seed: int | None = None
    frames: tuple[int, int] | None = None


def render(system: System, order: Order, folder: Path) -> Path:
    """The video of an order; made anew only if the order, the settings or the avatar changed."""
    from emogene.avatar import Avatar, find_avatar

    path = folder / f"{order.name}.mp4"
    wanted = {
        "emogene": __version__,
        "order": json.loads(json.dumps(asdict(order), default=str)),
        "system": json.loads(json.dumps(asdict(system), default=str)),
        "portrait": sha256(find_avatar(system.avatar) / "portrait" / "model.safetensors"),
    }
    note = path.with_suffix(".order.json")
    if path.exists() and note.exists() and read_json(note).get("made") == wanted:
        return path
    avatar = Avatar.load(system.avatar)
    started, cpu = time.perf_counter(), time.process_time()
    first, count = 0.0, 0
    if order.seed is not None:
        system = system.varied(seed=order.seed)
    if order.frames is not None:
        pictures, sound = _reconstruction(system, avatar, order.frames)
    else:
        sound = _sound(order)
        pictures = _speaking(system, avatar, sound, order.emotion)
    with VideoWriter(path, (system.size, system.size), audio=sound, preset="superfast") as writer:
        for picture in pictures:
            first = first or time.perf_counter() - started
            writer.write(picture)
            count += 1
    took = time.perf_counter() - started
    speed = {
        "fps": count / max(took - first, 1e-6),
        "real_time_factor": took / (count / FPS),
        "first_frame_s": first,
        "cpu_ms_per_frame": 1e3 * (time.process_time() - cpu) / count,
    }
    write_json(note, {"made": wanted, "speed": speed})
    return path


def real_video(clip_folder: Path, order: Order, out: Path, size: int) -> Path:
    """The frames of a reconstruction's order as an mp4: its ground truth."""
    path = out / f"{order.name}.mp4"
    if path.exists() or order.frames is None:
        return path
    clip = open_clip(clip_folder)
    sound = _clip_sound(clip, order.frames)
    with VideoWriter(path, (size, size), audio=sound, crf=12, metadata={}) as writer:
        for frame in range(*order.frames):
            writer.write(resize(read_rgb(clip.frame_path(frame)), size, size))
    return path


def reconstructions(clip_folder: Path, seconds: float) -> list[Order]:
    """The held-out end of a clip in equal pieces of about so many seconds, so that means have a spread."""
    n_frames = open_clip(clip_folder).n_frames
    start = n_frames - n_frames // HELD_OUT
    count = max(1, round((n_frames - start) / FPS / seconds))
    edges = np.linspace(start, n_frames, count + 1).round().astype(int).tolist()
    return [
        Order(name=f"{REAL_POSE}-{number}", frames=(first, end))
        for number, (first, end) in enumerate(pairwise(edges), start=1)
    ]


def speed_of(system: System, videos: list[Path]) -> list[dict[str, float]]:
    """How fast these videos were made; for folders what their ``speed.json`` says, if there is one."""
    if system.folder is not None:
        note = system.folder / "speed.json"
        return [{key: float(value) for key, value in read_json(note).items()}] if note.exists() else []
    return [read_json(video.with_suffix(".order.json"))["speed"] for video in videos]


def _folder(name: str, folder: Path) -> Path:
    if not any(folder.glob("*.mp4")) and not any(folder.glob("*/*.mp4")):
        raise UserError(f"system {name!r} has no mp4 files in {folder}")
    return folder


def _sound(order: Order) -> Audio:
    """The order's sound, cut or padded with silence to its length."""
    count = round(order.seconds * SAMPLE_RATE_HZ)
    samples = np.zeros(0, np.float32) if order.speech is None else read_audio(order.speech).samples[:count]
    return Audio(np.pad(samples, (0, count - len(samples))))


def _clip_sound(clip: Clip, frames: tuple[int, int]) -> Audio:
    first, end = frames
    return Audio(read_audio(clip.audio_path).samples[first * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME])


def _speaking(
    system: System, avatar: Any, sound: Audio, emotion: str, given: Any = None
) -> Iterator[ByteArray]:
    from emogene.motion.model import load_motion
    from emogene.pipeline import Session, Style
    from emogene.pose.style import PoseStyle

    pose = PoseStyle(source=system.pose)
    style = Style(mouth=system.mouth, expression=system.expression, blend=system.blend, pose=pose)
    background = resize(avatar.portrait.background, system.size, system.size)
    session = Session(
        avatar, emotion, style=style, seed=system.seed, size=system.size, quality=system.quality,
        background=background,
    )  # fmt: skip
    if system.motion is not None:
        session.stages = replace(session.stages, motion=load_motion(system.motion))
    if given is not None:
        session.stages = replace(session.stages, pose=given)
    session.push_audio(sound.samples)
    session.flush()
    for frame in session:
        yield frame.image


class _GivenPose:
    """Stands in for the pose sampler: the real head and eyes of the take (GT pose driver)."""

    def __init__(self, pose: FloatArray, eyes: FloatArray) -> None:
        self._pose, self._eyes = pose, eyes

    def sample(
        self, prosody: FloatArray, weights: FloatArray, start_frame: int = 0
    ) -> tuple[HeadPose, FloatArray]:
        """Frames from ``start_frame`` on, as many as there are weights; the last one is held."""
        rows = np.minimum(np.arange(start_frame, start_frame + len(weights)), len(self._pose) - 1)
        return HeadPose(self._pose[rows]), self._eyes[rows]


def _reconstruction(
    system: System, avatar: Any, frames: tuple[int, int]
) -> tuple[Iterator[ByteArray], Audio]:
    """Frames of the clip: real head and eyes, face driven by its speech or its landmarks."""
    if system.clip is None:
        raise UserError('a reconstruction needs the system\'s "clip": the folder its avatar was made from')
    clip = open_clip(system.clip)
    rows = slice(*frames)
    sound = _clip_sound(clip, frames)
    motion, pose = clip.motion, clip.pose.camera_from_head
    if system.driver == "landmarks":
        background = resize(avatar.portrait.background, system.size, system.size)
        real = Motion(motion.landmarks_cano[rows], motion.eyes[rows])
        pictures = avatar.portrait.render(
            real, HeadPose(pose[rows]), system.size, system.quality, background=background
        )
        return pictures, sound
    given = _GivenPose(pose[rows], motion.eyes[rows])
    return _speaking(system, avatar, sound, "neutral", given), sound
