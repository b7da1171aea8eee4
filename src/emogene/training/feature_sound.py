"""Sound for distilling speech features: windows of clean speech with pauses, and their teacher rows.

    recordings + synthetic voices -> utterances -> windows [S] -> teacher(window) [T50, F]
                                                 \\-> worse sound for the student, made anew at each step

A window is speech of several voices with pauses of digital silence between the utterances. The teacher
hears it clean. The student hears it with noise, rooms, other levels and with noise or music in the
pauses, and must give what the teacher gave.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emogene.data.augment import SILENCES, change_speed, change_voice, no_speech
from emogene.errors import MediaError, UserError
from emogene.io.audio import read_audio
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import SAMPLE_RATE_HZ, FloatArray

log = logging.getLogger(__name__)

MEDIA_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".mp4", ".mkv", ".webm", ".g722")
HELD_OUT_EVERY = 16
"""One recording in so many is kept for validation, chosen by its name."""
LOUDNESS_DB = (-27.0, -19.0)
FADE = 160
SHORTEST_PAUSE_S = 0.15

LANGUAGES = (
    """en-us en-gb en-gb-scotland de fr es it pt-br nl pl cs sv fi hu tr id vi sw ro da cmn el ru hi"""
)
VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m7", "f1", "f2", "f3", "f4", "f5", "klatt", "whisper", "croak")

TEXTS = """
all human beings are born free and equal in dignity and rights they are endowed with reason and conscience
alle menschen sind frei und gleich an würde und rechten geboren sie sind mit vernunft und gewissen begabt
tous les êtres humains naissent libres et égaux en dignité et en droits ils sont doués de raison
todos los seres humanos nacen libres e iguales en dignidad y derechos y dotados como están de razón
tutti gli esseri umani nascono liberi ed eguali in dignità e diritti essi sono dotati di ragione
todos os seres humanos nascem livres e iguais em dignidade e em direitos dotados de razão e de consciência
alle mensen worden vrij en gelijk in waardigheid en rechten geboren zij zijn begiftigd met verstand
wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw są obdarzeni rozumem
alla människor är födda fria och lika i värde och rättigheter de är utrustade med förnuft och samvete
semua orang dilahirkan merdeka dan mempunyai martabat dan hak yang sama mereka dikaruniai akal
the quick brown fox jumps over the lazy dog while five boxing wizards watch and vex the jovial judge
please bring the warm bread from the shop before father comes home with both of my younger brothers
maybe we will measure the beige garage again she thought though the weather was rather rough this morning
peter and bob paid for the map with a big brown paper bag full of very heavy foreign coins
would you give me five minutes i have found a few old photographs of the village above the river
who knew that moving to a new house could be so much fun asked the young woman in the blue room
zwölf boxkämpfer jagen viktor quer über den großen sylter deich und abends pfeift der wind vom meer
portez ce vieux whisky au juge blond qui fume dans son île et buvez un peu de vin avec vos beaux amis
el veloz murciélago hindú comía feliz cardillo y kiwi mientras la cigüeña tocaba el saxofón
"""


@dataclass(frozen=True, kw_only=True)
class SoundConfig:
    """What the windows are made of."""

    window_s: float = 14.0
    per_shard: int = 40
    synthetic: int = 1200
    """Utterances by synthetic voices."""
    speed_spread: float = 0.1
    """Deviation of the logarithm of an utterance's speed, and so of its pitch and throat."""
    seed: int = 0


def recordings(folders: Sequence[Path], *, held_out: bool) -> list[Path]:
    """All media files below the folders, either for training or for validation."""
    paths = sorted(p for folder in folders for p in Path(folder).rglob("*") if p.suffix in MEDIA_SUFFIXES)
    if not paths:
        raise UserError(f"no sound found below {', '.join(map(str, folders))}; give folders with recordings")
    return [p for p in paths if (zlib.crc32(p.name.encode()) % HELD_OUT_EVERY == 0) == held_out]


def read_utterances(paths: Sequence[Path]) -> list[FloatArray]:
    """Decode recordings; what cannot be read is left out with a warning."""
    sounds = []
    for path in paths:
        try:
            sounds.append(read_audio(path).samples)
        except MediaError as error:
            log.warning("%s", error)
    return [sound for sound in sounds if len(sound) > SAMPLE_RATE_HZ // 4 and np.abs(sound).max() > 1e-3]


def synthetic_utterances(n: int, seed: int) -> list[FloatArray]:
    """Robots of many languages reading word salad; none if espeak-ng is not installed."""
    if n == 0 or shutil.which("espeak-ng") is None:
        return []
    rng = np.random.default_rng((seed, 1))
    languages, vocabulary = LANGUAGES.split(), TEXTS.split()
    sounds = []
    for _ in range(n):
        voice = f"{rng.choice(languages)}+{rng.choice(VARIANTS)}"
        words = [
            str(rng.integers(1, 9999)) if rng.random() < 0.1 else str(rng.choice(vocabulary))
            for _ in range(10)
        ]
        sound = _robot(voice, int(rng.uniform(130, 210)), int(rng.uniform(15, 85)), " ".join(words) + ".")
        if len(sound):
            sounds.append(sound)
    return sounds


def _robot(voice: str, words_per_minute: int, pitch: int, text: str) -> FloatArray:
    """One utterance of espeak-ng; empty where it lacks the voice."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = [
            "espeak-ng",
            "-v",
            voice,
            "-s",
            str(words_per_minute),
            "-p",
            str(pitch),
            "-w",
            str(path),
            text,
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=20, check=True)
            return read_audio(path).samples
        except (OSError, subprocess.SubprocessError, MediaError):
            log.warning("espeak-ng has no voice %s", voice)
            return np.zeros(0, np.float32)


def make_window(
    sources: Sequence[Sequence[FloatArray]],
    n_samples: int,
    rng: np.random.Generator,
    speed_spread: float = 0.1,
) -> FloatArray:
    """Speech with pauses: voices at random, each at its own speed (and so pitch) and level.

    Every source is heard equally often, however many utterances it has.
    """
    pieces: list[FloatArray] = [np.zeros(int(rng.uniform(0, 0.6) * SAMPLE_RATE_HZ), np.float32)]
    n = len(pieces[0])
    while n < n_samples:
        source = sources[int(rng.integers(len(sources)))]
        sound = source[int(rng.integers(len(source)))]
        longest = int(rng.uniform(2, 10) * SAMPLE_RATE_HZ)
        start = int(rng.integers(0, max(1, len(sound) - longest + 1)))
        sound = change_speed(sound[start : start + longest], float(np.exp(rng.normal(0, speed_spread))))
        level = 10 ** (rng.uniform(*LOUDNESS_DB) / 20) / (np.sqrt(np.mean(sound**2)) + 1e-6)
        sound = np.clip(sound * level, -1, 1)
        ramp = np.linspace(0, 1, FADE, dtype=np.float32)
        sound[:FADE] *= ramp
        sound[-FADE:] *= ramp[::-1]
        pause_s = rng.uniform(3, 7) if rng.random() < 0.12 else rng.exponential(0.5)
        pieces += [sound, np.zeros(int(pause_s * SAMPLE_RATE_HZ), np.float32)]
        n += len(pieces[-2]) + len(pieces[-1])
    return np.concatenate(pieces)[:n_samples].astype(np.float32)


def spoil(clean: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What the student hears: the window in a worse room, with other sounds where nobody speaks."""
    sound = clean
    if rng.random() < 0.5:
        sound = fill_pauses(clean, rng)
    if rng.random() < 0.8:
        sound = change_voice(sound, rng)
    if rng.random() < 0.15:
        sound = sound * np.float32(10 ** (rng.uniform(-25, 0) / 20))
    if rng.random() < 0.1:
        # Telephone: 8 kHz.
        sound = np.repeat((sound[::2][: len(sound) // 2] + sound[1::2][: len(sound) // 2]) / 2, 2)
        sound = np.pad(sound, (0, len(clean) - len(sound)))
    return np.asarray(sound, np.float32)


def fill_pauses(clean: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Put noise, hum, clicks or music into the pauses."""
    result = clean.copy()
    for start, end in pauses(clean):
        level_db = rng.uniform(-65, -25)
        kind = str(SILENCES[rng.integers(len(SILENCES))])
        result[start:end] += no_speech(kind, end - start, rng, level_db=level_db)
    return result


def pauses(clean: FloatArray) -> list[tuple[int, int]]:
    """Stretches of digital silence: (start, end) in samples."""
    quiet = np.concatenate([[0], (clean == 0).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(quiet))
    spans = zip(edges[::2], edges[1::2], strict=True)
    return [(int(a), int(b)) for a, b in spans if b - a > SHORTEST_PAUSE_S * SAMPLE_RATE_HZ]


class Shards:
    """Windows and their teacher rows on disk, made once and extended when more are asked for."""

    def __init__(
        self, folder: Path, config: SoundConfig, teacher: Callable[[FloatArray], FloatArray] | None
    ) -> None:
        """teacher: windows [B, S] -> rows [B, T50, F]; None: only what is on disk can be used."""
        self.folder, self.config, self.teacher = Path(folder), config, teacher

    def load(self, n: int, sources: Callable[[], Sequence[Sequence[FloatArray]]], split: str) -> Windows:
        """The first ``n`` shards of a split ("train" or "held-out")."""
        missing = [k for k in range(n) if not self._path(split, k).exists()]
        if missing:
            sounds = sources()
            for k in missing:
                self._make(
                    self._path(split, k), sounds, np.random.default_rng((self.config.seed, len(split), k))
                )
                log.info("teacher heard shard %d of %d (%s)", k + 1, n, split)
        arrays = [load_arrays(self._path(split, k)) for k in range(n)]
        return Windows(
            np.concatenate([a["pcm"] for a in arrays]), np.concatenate([a["rows"] for a in arrays])
        )

    def _path(self, split: str, k: int) -> Path:
        return self.folder / f"{split}-{k:03d}.safetensors"

    def _make(self, path: Path, sounds: Sequence[Sequence[FloatArray]], rng: np.random.Generator) -> None:
        if self.teacher is None:
            raise UserError(f"{path} is not there and no teacher is loaded")
        n_samples = int(self.config.window_s * SAMPLE_RATE_HZ)
        windows: NDArray[np.float32] = np.stack(
            [
                make_window(sounds, n_samples, rng, self.config.speed_spread)
                for _ in range(self.config.per_shard)
            ]
        )
        pcm = np.round(windows * 32767).astype(np.int16)
        heard = pcm.astype(np.float32) / np.float32(32767)
        rows = [self.teacher(heard[k : k + 8]) for k in range(0, len(heard), 8)]
        save_arrays(path, {"pcm": pcm, "rows": np.concatenate(rows).astype(np.float16)})


@dataclass(frozen=True)
class Windows:
    """pcm: [N, S] int16 clean sound; rows: [N, T50, F] float16 teacher rows."""

    pcm: NDArray[np.int16]
    rows: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.pcm)

    def samples(self, index: int) -> FloatArray:
        return np.asarray(self.pcm[index] / 32767, np.float32)
