"""The whole paper on one screen: speech and an emotion in, frames of a person out.

    Audio [S] -features-> [T50, F], prosody [T50, 3] -motion-> neutral offsets [T, 68, 3]
      -projection-> the person's own motion -emotion-> emotional offsets -pose-> head pose, eyes
      -render-> Frames [H, W, 4]

``Session`` is that sentence as a stream: push audio, take frames. ``animate`` is a session fed to the
end, so the offline film and the live stream are the same code. Every stage is windowed: a block of
frames is computed from a bounded past and a look-ahead of at most 240 ms per stage, and all randomness
is indexed by absolute frame, so how the audio was cut into pieces does not change the result.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from emogene.avatar import Avatar
from emogene.emotion.apply import EmotionModel
from emogene.emotion.grammar import parse_emotion
from emogene.emotion.lips import shut_degree
from emogene.emotion.track import EmotionTrack
from emogene.errors import UserError
from emogene.features.extractor import SpeechFeatures, load_extractor
from emogene.features.prosody import ProsodyStream
from emogene.motion.model import MotionModel, load_motion
from emogene.motion.project import Projector
from emogene.pose.eyelids import apply_eyes, shut_share, with_emotion
from emogene.pose.sampler import PoseSampler
from emogene.pose.style import PoseStyle
from emogene.render.code import WINDOW
from emogene.types import FPS, SAMPLES_PER_FRAME, Audio, ByteArray, FloatArray, Frame, HeadPose, Motion

ALIGNMENT = 8
"""Windows start at multiples of this many frames: the motion model's latents cover 4 frames each."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Knobs of a performance; 1 is the person's own amount.

    mouth: amplitude of speech. expression: factor on every emotion weight. temperature: spread of the
    motion sampled from the prior (paper: 0.2). pose: head motion, blinks and gaze. blend: share of the
    LLE projection onto the person's own frames (paper: 0.2).
    """

    mouth: float = 1.0
    expression: float = 1.0
    temperature: float = 0.2
    blend: float = 0.2
    pose: PoseStyle = field(default_factory=PoseStyle)


class Session:
    """One avatar speaking: push audio in pieces of any size, iterate to take the frames that are ready.

    Frames are rgba with straight alpha, or rgb where a ``background`` [size, size, 3] is given; with
    ``planes`` they are what a video encoder takes (``render.canvas.Canvas``).
    """

    def __init__(
        self,
        avatar: Avatar,
        emotion: EmotionTrack | str = "neutral",
        *,
        style: Style | None = None,
        seed: int = 0,
        size: int = 512,
        quality: str = "standard",
        background: ByteArray | None = None,
        block_frames: int = 24,
        features: str = "emogene",
        planes: bool = False,
    ) -> None:
        if block_frames % ALIGNMENT:
            raise ValueError(f"block_frames must be a multiple of {ALIGNMENT}, not {block_frames}")
        self.avatar, self.seed, self.style = avatar, seed, style or Style()
        self.size, self.quality, self.background = size, quality, background
        self._pictures = avatar.portrait.pictures(size, quality, background=background, planes=planes)
        self.block_frames = block_frames
        self.track = parse_emotion(emotion) if isinstance(emotion, str) else emotion
        self.stages = Stages.of(avatar, self.style, seed, features)
        self.seconds: dict[str, float] = defaultdict(float)
        self._speech = _Tail(self.stages.extractor.stream())
        self._prosody = _Tail(ProsodyStream())
        self._shut_share = shut_share(avatar.identity)
        self._seen: tuple[Motion, HeadPose] | None = None
        self._n_samples, self._next, self._shown, self._ended = 0, 0, 0, False

    def push_audio(self, samples: FloatArray) -> None:
        """Append mono sound at 16 kHz, float in [-1, 1]."""
        if self._ended:
            raise RuntimeError("push_audio after flush: open a new session for the next utterance")
        self._n_samples += len(samples)
        with self._timed("features"):
            self._speech.push(samples)
            self._prosody.push(samples)

    def flush(self) -> None:
        """Say that the sound is over, so that its last frames need not wait for a look-ahead."""
        if self._ended:
            return
        self._ended = True
        with self._timed("features"):
            self._speech.flush()
            self._prosody.flush()

    def interrupt(self) -> float:
        """Drop all that is not yet shown and end; return the seconds already shown."""
        self._pictures.clear()
        self._next = self._shown
        self._ended, self._n_samples = True, self._shown * SAMPLES_PER_FRAME
        return self._shown / FPS

    @property
    def latency_frames(self) -> int:
        """Frames of sound needed beyond a frame before it can be shown."""
        return self.stages.look_ahead + self.block_frames

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames that are ready; iterate again after more audio.

        While the frames of one block are drawn on other threads, the next block is moved.
        """
        while True:
            if len(self._pictures) <= self.block_frames and (block := self._ready_block()) is not None:
                self._ask(*block)
            elif not len(self._pictures):
                return
            else:
                with self._timed("render"):
                    image = self._pictures.take()
                self._shown += 1
                yield Frame(self._shown - 1, (self._shown - 1) / FPS, image)

    def _ready_block(self) -> tuple[int, int] | None:
        known = min(self._speech.end, self._prosody.end) // 2
        total = -(-self._n_samples // SAMPLES_PER_FRAME)
        last = self._next + self.block_frames
        if self._ended:
            last = min(last, total)
            return (self._next, last) if last > self._next else None
        return (self._next, last) if last + self.stages.look_ahead <= known else None

    def _move(self, first: int, last: int) -> tuple[Motion, HeadPose]:
        """Everything between sound and picture for frames [first, last)."""
        stages = self.stages
        end = -(-self._n_samples // SAMPLES_PER_FRAME) if self._ended else last + stages.look_ahead
        lead = max(0, first - stages.emotion.context_frames) // ALIGNMENT * ALIGNMENT
        tail = min(end, last + stages.emotion.look_ahead_frames)
        start = max(0, lead - stages.motion.context_frames) // ALIGNMENT * ALIGNMENT
        stop = min(end, tail + stages.motion.look_ahead_frames)
        features = self._speech.window(2 * start, 2 * stop)
        prosody = self._prosody.window(2 * start, 2 * stop)
        track = self.track.scaled(self.style.expression).limited(self.avatar.card.dose_limits)
        weights = track.weights(np.arange(lead, tail) / FPS)

        with self._timed("motion"):
            neutral = stages.motion.generate(
                features,
                prosody,
                seed=self.seed,
                temperature=self.style.temperature,
                mouth_amp=self.style.mouth * stages.motion.amplitude_of(self.avatar.identity),
                start_frame=start,
            )[lead - start : tail - start]
        with self._timed("emotion"):
            emotional = stages.emotion.apply(neutral, weights, seed=self.seed, start_frame=lead)
            inside = slice(first - lead, last - lead)
            # The person's video knows their speech, rarely their anger: projecting the emotional face would
            # take up to two thirds of it away (brows of a GRID speaker), so the emotion is added behind.
            speech, added = stages.project(neutral[inside]), (emotional.offsets - neutral)[inside]
            share = self.avatar.card.known_share(weights[inside])
            # A smile that was filmed is one with teeth: at p, b, m the networks are shown shut lips instead,
            # and the warp alone smiles.
            share = share * (1.0 - shut_degree(neutral)[inside])
        with self._timed("pose"):
            rhythm = self._prosody.window(2 * first, 2 * last)
            pose, eyes = stages.pose.sample(rhythm, weights[inside], start_frame=first)
            neutral_face = self.avatar.identity.neutral_cano
            offsets = apply_eyes(speech + added, neutral_face, eyes, self._shut_share)
            eyes = with_emotion(eyes, emotional.eyes_delta[inside], emotional.gaze_delta[inside])
        known = neutral_face + speech + share[:, None, None] * added
        return Motion(neutral_face + offsets, eyes, known), pose

    def _ask(self, first: int, last: int) -> None:
        """Have frames [first, last) drawn; the landmark window reaches back into the last block."""
        motion, pose = self._move(first, last)
        past = 0 if self._seen is None else len(self._seen[0])
        if self._seen is not None:
            before = self._seen
            motion = before[0].then(motion)
            pose = HeadPose(np.concatenate([before[1].camera_from_head, pose.camera_from_head]))
        recent = slice(-(WINDOW - 1), None)
        self._seen = motion[recent], pose[recent]
        with self._timed("render"):
            self._pictures.ask(motion, pose, history=past)
        self._next = last
        self._forget(last)

    def _forget(self, last: int) -> None:
        """Keep only what later windows can still ask for: memory stays flat over hours."""
        keep = last - self.stages.emotion.context_frames - self.stages.motion.context_frames - 2 * ALIGNMENT
        self._speech.forget(2 * keep)
        self._prosody.forget(2 * keep)

    def _timed(self, stage: str) -> _Timer:
        return _Timer(self.seconds, stage)


def animate(
    audio: Audio | Iterable[FloatArray],
    avatar: Avatar,
    emotion: EmotionTrack | str = "neutral",
    **options: object,
) -> Iterator[Frame]:
    """Yield every frame of ``avatar`` speaking ``audio`` with ``emotion``; options are Session's.

    ``audio`` may be a stream of 16 kHz pieces: hours of sound then need no more memory than a minute.
    """
    session = Session(avatar, emotion, **options)  # type: ignore[arg-type]
    for piece in [audio.samples] if isinstance(audio, Audio) else audio:
        session.push_audio(piece)
        yield from session
    session.flush()
    yield from session


@dataclass(frozen=True)
class Stages:
    """The models of one session, each loaded once."""

    extractor: SpeechFeatures
    motion: MotionModel
    emotion: EmotionModel
    project: Projector
    pose: PoseSampler

    @classmethod
    def of(cls, avatar: Avatar, style: Style, seed: int, features: str) -> Stages:
        extractor, motion = load_extractor(features), load_motion(avatar.component("motion"))
        if extractor.dim != motion.config.feature_dim:
            raise UserError(
                f"the motion model of {avatar.card.name} hears {motion.config.features!r} "
                f"({motion.config.feature_dim} numbers), not {features!r} ({extractor.dim}): leave "
                "--features out, or train a motion model on them (`emogene train motion --features`)"
            )
        return cls(
            extractor,
            motion,
            EmotionModel.load(avatar.component("emotion")),
            Projector(avatar.identity, blend=style.blend),
            PoseSampler(avatar.pose, seed=seed, style=style.pose),
        )

    @property
    def look_ahead(self) -> int:
        """Frames beyond a frame that motion and emotion want to see."""
        return self.motion.look_ahead_frames + self.emotion.look_ahead_frames


class _Tail:
    """The recent rows of a growing array at 50 Hz that a stream produces."""

    def __init__(self, stream: object) -> None:
        self._stream, self._first = stream, 0
        self._rows: FloatArray | None = None

    @property
    def end(self) -> int:
        return self._first + (0 if self._rows is None else len(self._rows))

    def push(self, samples: FloatArray) -> None:
        self._append(self._stream.push(samples))  # type: ignore[attr-defined]

    def flush(self) -> None:
        self._append(self._stream.flush())  # type: ignore[attr-defined]

    def window(self, first: int, last: int) -> FloatArray:
        """Rows [first, last); the last row stands for what the sound's odd end leaves out."""
        assert self._rows is not None and first >= self._first
        rows = self._rows[first - self._first : last - self._first]
        missing = last - first - len(rows)
        return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows

    def forget(self, before: int) -> None:
        if self._rows is not None and before > self._first:
            self._rows = self._rows[before - self._first :].copy()
            self._first = before

    def _append(self, rows: FloatArray) -> None:
        self._rows = rows if self._rows is None else np.concatenate([self._rows, rows])


class _Timer:
    """Adds the wall time of a block to ``seconds[stage]``."""

    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self._seconds, self._stage = seconds, stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._seconds[self._stage] += time.perf_counter() - self._start
