"""Head and eyes for speech and silence: prosody [T50, 3] + emotion [T, 8] -> HeadPose, eyes [T, 4].

Slow movement comes from noise with an address (``pose.noise``); nods, tilt and blink rate follow the sound
and the emotion through filters that look only back, over the last MEMORY frames, which the sampler keeps. So
a stream in chunks of any size gives the same frames as the whole take at once.
"""

from __future__ import annotations

import numpy as np

from emogene.errors import UserError
from emogene.pose import idle
from emogene.pose.bank import TYPICAL_EULER_SD, TYPICAL_TRANSLATION_SD, PoseBank
from emogene.pose.euler import angles
from emogene.pose.eyes import BLINK_MEMORY, gaze_target, lid_closing
from emogene.pose.noise import Reals, smooth
from emogene.pose.style import (
    BLINKS_PER_S,
    HEAD_AMPLITUDE,
    HEAD_TILT_RAD,
    NOD_STRENGTH,
    PoseStyle,
    by_emotion,
)
from emogene.types import FPS, N_EMOTIONS, NEUTRAL, FloatArray, HeadPose

MEMORY = 75
"""Frames of prosody and emotion that the present depends on (3 s)."""
NOD_RAD = 0.10
"""Pitch of a full accent."""
IDLE_HEAD = 0.5
"""Size of head movement in silence, as a share of that in speech."""
IDLE_GAZE = 1.15
BREATH_HZ = 0.25
BREATH_RAD, BREATH_UNITS = 0.0035, 0.006
COUNTER_TURN = (0.8, 0.6)
"""Share of the head's yaw and pitch that the eyes turn back (vestibulo-ocular reflex)."""
_SWAY_HZ = (0.45, 0.35, 0.35)
_MICRO_HZ, _MICRO_RAD = 1.3, 0.003
"""No muscle holds a head quite still."""
_DRIFT_HZ = 0.25
_SPEECH_LOUDNESS = (0.22, 0.42)
"""Loudness (``features.prosody``) of a noisy room, and of somebody surely speaking."""
_LARGEST_TURN_RAD = 0.35


class PoseSampler:
    """Head pose and eyes of one take; keeps the last seconds it saw: one sampler per take or stream."""

    def __init__(self, identity_pose: PoseBank, seed: int = 0, style: PoseStyle | None = None) -> None:
        self.bank = identity_pose
        self.seed = seed
        self.style = style or PoseStyle()
        self._played: FloatArray | None = None
        if self.style.source in ("take", "paper"):
            if self.bank.track is None:
                raise UserError(
                    f"pose source {self.style.source!r} needs recorded poses; use sampled or still"
                )
            paper = self.style.source == "paper"
            self._played = idle.paper_idle(self.bank.track, seed) if paper else self.bank.track
        self.reset()

    def reset(self, start_frame: int = 0) -> None:
        """Forget the past: before ``start_frame`` there was silence and a neutral face."""
        self._next_frame = start_frame
        self._loudness = np.zeros(MEMORY)
        self._weights = np.zeros((MEMORY, N_EMOTIONS))
        self._weights[:, NEUTRAL] = 1.0
        self._fresh = True

    def sample(
        self, prosody: FloatArray, weights: FloatArray, start_frame: int = 0
    ) -> tuple[HeadPose, FloatArray]:
        """Return pose and eyes of the next frames.

        Args:
            prosody: [T50, 3] of ``features.prosody`` for these frames (T50 is 2 T, or 2 T - 1 at the end).
            weights: [T, 8] emotion weights.
            start_frame: absolute index of the first frame; anything but the next one starts a new take.

        Returns:
            camera_from_head of T frames, eyes [T, 4] in the order of EYE_CHANNELS.
        """
        if start_frame != self._next_frame:
            self.reset(start_frame)
        n_frames = len(weights)
        if n_frames == 0:
            return HeadPose(np.zeros((0, 4, 4), np.float32)), np.zeros((0, 4), np.float32)
        loudness, doses = self._remember(_per_frame(prosody[:, 2], n_frames), weights)
        stop = start_frame + n_frames
        quiet, spoken = _SPEECH_LOUDNESS
        speech = _looking_back(np.clip((loudness - quiet) / (spoken - quiet), 0, 1), 25)[-n_frames:]
        slow_doses = _looking_back(doses, 30)[-n_frames:]
        if self._played is not None:
            poses = idle.ping_pong(self._played, start_frame, stop)
            relative = np.linalg.inv(self.bank.rest.astype(np.float64)) @ poses
            euler = angles(relative[:, :3, :3])
        elif self.style.source == "still":
            euler = np.zeros((n_frames, 3))
            poses = np.repeat(self.bank.rest[None], n_frames, axis=0)
        else:
            accent = (_looking_back(loudness, 7) - _looking_back(loudness, 40))[-n_frames:]
            euler = self._turn(start_frame, stop, accent, speech, slow_doses)
            poses = self.bank.placed(euler, self._drift(start_frame, stop, speech))
        rate = self.style.blink_rate * by_emotion(BLINKS_PER_S, doses[-n_frames - BLINK_MEMORY :])
        closing = lid_closing(self.seed, start_frame, stop, rate)
        eyes = self._eyes(gaze_target(self.seed, start_frame, stop), closing, euler, speech)
        self._next_frame = stop
        return HeadPose(poses), eyes

    def _remember(self, loudness: Reals, weights: FloatArray) -> tuple[Reals, Reals]:
        """Join the remembered past and the new frames: [MEMORY + T], [MEMORY + T, 8]."""
        if self._fresh:
            # An emotion that is there in the first frame has been there before.
            self._weights[:] = weights[0]
            self._fresh = False
        all_loudness = np.concatenate([self._loudness, loudness])
        all_weights = np.concatenate([self._weights, np.asarray(weights, np.float64)])
        self._loudness, self._weights = all_loudness[-MEMORY:], all_weights[-MEMORY:]
        return all_loudness, all_weights

    def _turn(self, start: int, stop: int, accent: Reals, speech: Reals, doses: Reals) -> Reals:
        """Euler angles [T, 3] of the head relative to its rest."""
        style = self.style
        amplitude = self._liveliness(speech) * by_emotion(HEAD_AMPLITUDE, doses)
        # A recorded head that hardly moved was not filmed from the sides: stay near what it showed.
        sd = np.clip(self.bank.euler_sd, 0.4 * TYPICAL_EULER_SD, 1.3 * TYPICAL_EULER_SD)
        sway = np.stack([smooth(self.seed, key, start, stop, rate) for key, rate in enumerate(_SWAY_HZ)], 1)
        micro = np.stack([smooth(self.seed, 7 + axis, start, stop, _MICRO_HZ) for axis in range(3)], 1)
        euler = sway * sd * amplitude[:, None] + style.head * _MICRO_RAD * micro
        euler += style.tilt * by_emotion(HEAD_TILT_RAD, doses)
        nod = np.clip(accent, -0.3, 0.6) * speech * by_emotion(NOD_STRENGTH, doses)
        euler[:, 0] += NOD_RAD * style.nods * nod + BREATH_RAD * style.idle * self._breath(start, stop)
        limit = np.clip(3.5 * self.bank.euler_sd, 0.12, _LARGEST_TURN_RAD)
        return np.asarray(limit * np.tanh(euler / limit))

    def _drift(self, start: int, stop: int, speech: Reals) -> Reals:
        """Translation [T, 3] of the head in canonical units."""
        sd = np.clip(self.bank.translation_sd, 0.3 * TYPICAL_TRANSLATION_SD, 1.3 * TYPICAL_TRANSLATION_SD)
        noise = np.stack([smooth(self.seed, 3 + axis, start, stop, _DRIFT_HZ) for axis in range(3)], 1)
        drift = noise * sd * self._liveliness(speech)[:, None]
        drift[:, 1] += BREATH_UNITS * self.style.idle * self._breath(start, stop)
        return np.asarray(drift)

    def _liveliness(self, speech: Reals) -> Reals:
        """Size of head movement [T] between silence and speech."""
        silent = IDLE_HEAD * self.style.idle
        return np.asarray(self.style.head * (silent + (1.0 - silent) * speech))

    def _breath(self, start: int, stop: int) -> Reals:
        """Chest movement [T] in -1..1, never quite regular."""
        phase = 2 * np.pi * BREATH_HZ * np.arange(start, stop) / FPS
        return np.asarray(np.sin(phase + 0.8 * smooth(self.seed, 6, start, stop, 0.1)))

    def _eyes(self, target: Reals, closing: Reals, euler: Reals, speech: Reals) -> FloatArray:
        """Eye stream [T, 4], without what an emotion does to it (see ``eyelids.with_emotion``)."""
        style = self.style
        wander = style.gaze * (IDLE_GAZE + (1.0 - IDLE_GAZE) * speech)
        yaw = wander * target[:, 0] - COUNTER_TURN[0] * euler[:, 1]
        pitch = wander * target[:, 1] + COUNTER_TURN[1] * euler[:, 0]
        # The upper lid follows a lowered gaze.
        openness = (1.0 - closing) * (1.0 - 0.8 * np.clip(-pitch, 0, 0.3))
        return np.stack([openness, openness, yaw, pitch], 1).astype(np.float32)


def _per_frame(values: FloatArray, n_frames: int) -> Reals:
    """Bring a 50 Hz row to 25 fps (mean of two; the last repeats where one is missing)."""
    padded = np.zeros(2 * n_frames)
    given = np.asarray(values, np.float64)[: 2 * n_frames]
    padded[: len(given)] = given
    padded[len(given) :] = given[-1] if len(given) else 0.0
    return np.asarray(padded.reshape(n_frames, 2).mean(1))


def _looking_back(signal: Reals, length: int) -> Reals:
    """Smooth [N] or [N, C] over the last ``length`` frames by a Hann window (no look-ahead, no jump)."""
    kernel = np.hanning(length + 2)[1:-1]
    kernel /= kernel.sum()
    columns = signal.reshape(len(signal), -1)
    smoothed = [np.convolve(column, kernel)[: len(signal)] for column in columns.T]
    return np.stack(smoothed, 1).reshape(signal.shape)
