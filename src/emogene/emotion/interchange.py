"""EmotionTrack files: native JSON, WebVTT metadata cues, Audio2Face time codes; each both ways.

JSON        {"version": 1, "labels": [...], "keys": [{"t": 2.4, "weights": {"happy": 0.7}, "fade": 0.4}]}
WebVTT      one cue per key, its payload {"weights": {...}, "fade": 0.4} or the grammar of ``--emotion``
Audio2Face  [{"time_code": 2.4, "emotion": {"joy": 0.7}}]
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emogene.emotion.labels import known
from emogene.emotion.mixture import parse_mixture
from emogene.emotion.track import DEFAULT_FADE_S, LARGEST_DOSE, EmotionKey, EmotionTrack, doses_of
from emogene.errors import FormatError, UserError
from emogene.io.files import atomic_path, read_json, write_json
from emogene.types import EMOTIONS

logger = logging.getLogger(__name__)

JSON_VERSION = 1
_FAR_END = "99:59:59.999"
_CUE_TIME = re.compile(r"(?:(\d+):)?(\d{2}):(\d{2})\.(\d{3})")

A2F_NAMES: dict[str, str] = {
    "angry": "anger",
    "contempt": "cheekiness",  # the nearest face: a one-sided smile
    "disgust": "disgust",
    "fear": "fear",
    "happy": "joy",
    "sad": "sadness",
    "surprise": "amazement",
}
_FROM_A2F = {name: label for label, name in A2F_NAMES.items()} | {"grief": "sad", "pain": "sad"}


def read_track(path: Path) -> EmotionTrack:
    """Read a .json (native or Audio2Face time codes) or .vtt file."""
    if path.suffix.lower() == ".vtt":
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
        return track_from_webvtt(text, str(path))
    content = read_json(path)
    if "emotion_with_time_code" in content:
        return track_from_a2f(content["emotion_with_time_code"])
    return track_from_json(content, str(path))


def write_track(path: Path, track: EmotionTrack) -> None:
    """Write native JSON, or WebVTT where the name ends in .vtt."""
    if path.suffix.lower() == ".vtt":
        with atomic_path(path) as temporary:
            temporary.write_text(track_to_webvtt(track), encoding="utf-8")
    else:
        write_json(path, track_to_json(track))


def track_to_json(track: EmotionTrack) -> dict[str, Any]:
    """Return the native form."""
    keys = [{"t": key.t_s, "weights": key.named_doses, "fade": key.fade_s} for key in track.keys]
    return {"version": JSON_VERSION, "labels": list(EMOTIONS), "keys": keys}


def track_from_json(content: Mapping[str, Any], where: str = "emotion track") -> EmotionTrack:
    """Read the native form; FormatError where it is not one, UserError for impossible values."""
    version = content.get("version")
    if not isinstance(version, int) or not isinstance(content.get("keys"), list):
        raise FormatError(
            f'{where} is not an emotion track; it must look like {{"version": 1, "keys": [...]}}'
        )
    if version > JSON_VERSION:
        raise FormatError(f"{where} has version {version}, newer than this emogene reads; upgrade emogene")
    return EmotionTrack(tuple(_key_from_json(key, where) for key in content["keys"]))


def _key_from_json(key: Any, where: str, t_s: float | None = None) -> EmotionKey:
    try:
        time_s = float(key["t"]) if t_s is None else t_s
        named = {str(label): float(dose) for label, dose in key["weights"].items()}
        fade_s = float(key.get("fade", DEFAULT_FADE_S))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FormatError(
            f'{where}: {key!r} is not a key; write {{"t": seconds, "weights": {{"happy": 0.7}}}}'
        ) from None
    return EmotionKey(time_s, doses_of(named), fade_s)


def track_to_webvtt(track: EmotionTrack) -> str:
    """Return WebVTT metadata cues (millisecond times); the last one ends far away."""
    lines = ["WEBVTT", "", "NOTE emotion track of emogene", ""]
    ends = [_cue_time(key.t_s) for key in track.keys[1:]] + [_FAR_END]
    for key, end in zip(track.keys, ends, strict=False):
        lines += [f"{_cue_time(key.t_s)} --> {end}"]
        lines += [json.dumps({"weights": key.named_doses, "fade": key.fade_s}), ""]
    return "\n".join(lines)


def track_from_webvtt(text: str, where: str = "emotion track") -> EmotionTrack:
    """Read WebVTT; between cues the face is neutral, the last cue's emotion stays."""
    blocks = re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip())
    if not blocks[0].startswith("WEBVTT"):
        raise FormatError(f"{where} is not WebVTT: its first line must be WEBVTT")
    keys: list[EmotionKey] = []
    end_s: float | None = None
    for block in blocks[1:]:
        times, _, payload = block[block.rfind("\n", 0, block.find("-->")) + 1 :].partition("\n")
        found = [_CUE_TIME.match(part.strip()) for part in times.split("-->")]
        if "-->" not in block or block.startswith(("NOTE", "STYLE", "REGION")):
            continue
        if len(found) != 2 or found[0] is None or found[1] is None:
            raise FormatError(f"{where}: {times!r} is not a cue time; write 00:00:02.400 --> 00:00:05.000")
        start_s = _seconds(found[0])
        if end_s is not None and start_s > end_s + 5e-4:
            keys.append(EmotionKey(end_s, doses_of({})))
        keys.append(_key_from_cue(start_s, payload.strip(), where))
        end_s = _seconds(found[1])
    return EmotionTrack(tuple(keys))


def _key_from_cue(start_s: float, payload: str, where: str) -> EmotionKey:
    if not payload.startswith("{"):
        return EmotionKey(start_s, parse_mixture(payload))
    try:
        content = json.loads(payload)
    except ValueError as error:
        raise FormatError(f"{where}: the cue at {start_s:g} s is not valid JSON ({error})") from None
    return _key_from_json(content, where, start_s)


def track_to_a2f(track: EmotionTrack) -> list[dict[str, Any]]:
    """Return Audio2Face's emotion_with_time_code list; neutral is an empty emotion."""
    codes = []
    for key in track.keys:
        named = {A2F_NAMES[label]: dose for label, dose in key.named_doses.items() if label in A2F_NAMES}
        codes.append({"time_code": key.t_s, "emotion": named})
    return codes


def track_from_a2f(codes: Sequence[Mapping[str, Any]]) -> EmotionTrack:
    """Read Audio2Face time codes; what has no likeness here (outofbreath) is dropped with a warning."""
    keys = []
    for code in codes:
        named: dict[str, float] = {}
        try:
            pairs = [(str(name), float(dose)) for name, dose in code.get("emotion", {}).items()]
            t_s = float(code["time_code"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise FormatError(f"{code!r} is not a time code; it must hold time_code and emotion") from None
        for name, dose in pairs:
            label = _FROM_A2F.get(name.lower()) or known(name)
            if label is None:
                logger.warning("emotion %r of the time codes has no likeness here: dropped", name)
                continue
            named[label] = min(named.get(label, 0.0) + dose, LARGEST_DOSE)
        keys.append(EmotionKey(t_s, _within_limit(named)))
    return EmotionTrack(tuple(keys))


def _within_limit(named: dict[str, float]) -> tuple[float, ...]:
    """Audio2Face lets ten emotions be 1 at once: scale a sum that passes our limit."""
    if any(dose < 0 for dose in named.values()):
        raise UserError("a time code has a negative emotion; use 0 to 1")
    total = sum(named.values())
    scale = min(1.0, LARGEST_DOSE / total) if total > 0 else 1.0
    return doses_of({label: dose * scale for label, dose in named.items()})


def _cue_time(t_s: float) -> str:
    milliseconds = round(t_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"


def _seconds(found: re.Match[str]) -> float:
    hours, minutes, seconds, milliseconds = (int(group or 0) for group in found.groups())
    return (hours * 3600_000 + minutes * 60_000 + seconds * 1000 + milliseconds) / 1000.0
