"""Speech by espeak-ng through its C library, which reports each phoneme (IPA) as an event with its time.

Robotic, but about a hundred voice variants in many languages at 200 times real time.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import lru_cache

import numpy as np

from emogene.errors import UserError
from emogene.persona.phones import Phone, Reals
from emogene.persona.speech import Prosody, Voice

_RETRIEVE_AUDIO, _PHONEME_EVENTS, _IPA = 1, 1, 2
_LIST_TERMINATED, _PHONEME = 0, 7
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
WORDS_PER_MINUTE = 165
STOP_CLOSURE_S = 0.045
"""Silence before the burst of a voiceless stop; espeak counts it to the phone before (measured, 1.51)."""
_VOICELESS_STOPS = frozenset("ptk")


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@lru_cache(maxsize=1)
def open_espeak() -> Espeak:
    """The library of this process: it must not be initialised twice."""
    return Espeak()


class Espeak:
    """The library, opened. Its state is the process's: get it from ``open_espeak``."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise UserError("espeak-ng is not installed: apt install espeak-ng")
        self._library = ctypes.CDLL(name)
        options = _PHONEME_EVENTS | _IPA
        self._rate_hz = self._library.espeak_Initialize(_RETRIEVE_AUDIO, 0, None, options)
        if self._rate_hz <= 0:
            raise UserError("espeak-ng is installed but does not start; reinstall espeak-ng-data")

    def speak(self, text: str, voice: Voice, prosody: Prosody) -> tuple[Reals, int, list[Phone]]:
        """Return samples, rate and phones."""
        pieces: list[Reals] = []
        events: list[tuple[float, str]] = []

        def receive(samples, count, event_list) -> int:  # type: ignore[no-untyped-def]
            if samples and count > 0:
                pieces.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32) / 32768)
            index = 0
            while event_list[index].type != _LIST_TERMINATED:
                event = event_list[index]
                if event.type == _PHONEME:
                    # A label of more than 8 bytes arrives cut off, perhaps within a letter.
                    events.append((event.sample / self._rate_hz, event.id.string.decode("utf-8", "ignore")))
                index += 1
            return 0

        callback = _Callback(receive)
        library = self._library
        if library.espeak_SetVoiceByName(voice.base.encode()) != 0:
            raise UserError(f"espeak-ng has no voice {voice.base}; reinstall espeak-ng-data")
        library.espeak_SetSynthCallback(callback)
        rate = WORDS_PER_MINUTE * voice.rate / prosody.duration
        library.espeak_SetParameter(_RATE, int(np.clip(rate, 80, 450)), 0)
        # espeak's pitch is 0..100 about 50, roughly an octave each way.
        pitch = 50 + 50 * np.log2(voice.pitch * prosody.pitch)
        library.espeak_SetParameter(_PITCH, int(np.clip(pitch, 0, 99)), 0)
        library.espeak_SetParameter(_RANGE, int(np.clip(50 * prosody.pitch_range, 0, 99)), 0)
        content = text.encode()
        library.espeak_Synth(content, len(content) + 1, 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return samples, self._rate_hz, _phones(events, len(samples) / self._rate_hz)


def _phones(events: list[tuple[float, str]], duration_s: float) -> list[Phone]:
    """Events -> phones: an event lasts until the next; voiceless stops get their closure back."""
    starts = [time for time, _ in events] + [duration_s]
    for index, (_, label) in enumerate(events):
        if label[:1] in _VOICELESS_STOPS and index > 0:
            before = starts[index] - starts[index - 1]
            starts[index] -= min(STOP_CLOSURE_S, 0.5 * before)
    phones: list[Phone] = [] if not events or starts[0] <= 0 else [(0.0, starts[0], "pau")]
    for index, (_, label) in enumerate(events):
        if starts[index + 1] > starts[index]:
            phones.append((starts[index], starts[index + 1], _plain(label)))
    return phones


def _plain(label: str) -> str:
    label = label.strip("ˈˌ-")
    # Written so because "y" alone is the first sound of "yes" in the other alphabet.
    return "pau" if label.strip("_:") == "" else "yː" if label == "y" else label  # noqa: RUF001
