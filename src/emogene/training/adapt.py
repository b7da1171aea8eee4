"""Fit the motion model to one person from some seconds of their footage (part of `emogene create`).

Clips of a person -> the base model with another linear readout of what its trunk heard.

The layers that understand speech stay as they are, because 15 s of one voice would only spoil them. What the
base says to the person's own sound is compared with their tracked motion, and a ridge regression from the
trunk's output g to the difference is added to the readout: closed form, the same on every machine, a second
of work. It reads what was heard up to 320 ms ago as well, in the few directions in which g moves most.
Differences from frame to frame count too, so that speed is learned; sounds without speech keep what the base
does to them, so that the mouth stays shut. How far to trust so little footage is chosen on pieces of it that
were left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emogene.data.augment import no_speech
from emogene.data.features import clip_features
from emogene.data.prepare import in_sync
from emogene.data.rest import mouth_amplitude, neutral_face
from emogene.errors import UserError
from emogene.features.extractor import SpeechFeatures
from emogene.geometry.landmarks import JAW, MOUTH
from emogene.io.audio import read_audio
from emogene.io.clip import Clip
from emogene.io.files import write_json
from emogene.motion.losses import landmark_weights
from emogene.motion.model import MotionModel
from emogene.motion.vae import MotionVae
from emogene.types import FPS, N_LANDMARKS, SAMPLE_RATE_HZ, Audio, FloatArray

SHORTEST_S = 15.0
STRENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Of the pull towards the base, per frame of footage; the best on left-out pieces is taken."""
PIECES = 5
VELOCITY = 1.0
"""Weight of frame-to-frame differences beside positions."""
SILENCES = (
    ("zeros", -90.0),
    ("white", -60.0),
    ("brown", -50.0),
    ("hum", -40.0),
    ("clicks", -40.0),
    ("melody", -30.0),
)
SILENCE_S, BETWEEN_S, SETTLED_S = 2.0, 1.6, 0.32
"""Seconds without speech, of the person's speech between two of them, until the mouth has come to rest."""
STILLNESS = 100.0
"""Weight of a frame without speech against one of speech."""

MOMENTS = (2, 4, 6, 8)
"""Frames ago that are read as well. All of g at each of them would be too much to learn from 15 s."""
RECALLED = 30
"""Principal directions of g that are read of them."""

DIRECTIONS = 6
"""Principal directions of the person's mouth and jaw whose speed is given back."""
LIVELINESS, LARGEST_GAIN = 0.95, 1.3
"""Speed along them over the person's own that is aimed at; tracking noise is speed too, hence the limit."""

Array = NDArray[np.float64]
_COLUMNS = (3 * np.r_[JAW, MOUTH][:, None] + np.arange(3)).ravel()


@dataclass(frozen=True)
class _Piece:
    """heard: g [T, C], later with its past [T, D]; made: what the base says, and left: what it leaves over,
    [T, 204] standardised; mask: frames that count [T]."""

    heard: Array
    made: Array
    left: Array
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class _Sums:
    """Normal equations of a ridge regression on D numbers: [D + 1, D + 1] and [D + 1, 204]; they add up over
    pieces."""

    square: Array
    product: Array

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.square + other.square, self.product + other.product)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.square - other.square, self.product - other.product)

    def __rmul__(self, weight: float) -> _Sums:
        return _Sums(weight * self.square, weight * self.product)

    def solve(self, pull: float) -> Array:
        """Readout [D + 1, 204] of what was heard, whitened; the constant is free."""
        ridge = pull * np.eye(len(self.square))
        ridge[-1, -1] = 1e-6
        return np.asarray(np.linalg.solve(self.square + ridge, self.product))


def adapt_motion(
    run_dir: Path,
    clips: Sequence[Clip],
    base: MotionModel,
    extractor: SpeechFeatures,
    prosody: Callable[[Audio], FloatArray],
    *,
    seed: int = 0,
) -> MotionModel:
    """Return ``base`` fitted to the speaker of ``clips``; ``base`` stays as it is.

    Args:
        run_dir: folder for fit.json: the strength chosen, and the errors of left-out pieces by strength.
        clips: footage of one person, 15 s or more, in sync.
        base: the model to start from, of recipe standard or plain.
        extractor, prosody: what the model will hear in use.
        seed: of the sounds without speech.

    Raises:
        UserError: too little footage, or a model without a linear readout.
    """
    seconds = sum(clip.n_frames for clip in clips) / FPS
    if seconds < SHORTEST_S:
        raise UserError(
            f"{seconds:.0f} s of speech are too short to learn a voice from; give {SHORTEST_S:.0f} s"
        )
    if base.network.regress is None:
        raise UserError("a model of recipe paper cannot be fitted to a person; use recipe standard")
    if base.network.recall is not None:
        raise UserError("this motion model is fitted to a person already; fit the one that ships")
    neutral = neutral_face(clips)
    amplitude = base.amplitude_for(mouth_amplitude(clips))
    spoken = [_piece(clip, neutral, amplitude, base, extractor, prosody) for clip in clips]
    view = _view(spoken)
    spoken = [_with_past(piece, view) for piece in spoken]
    spoken = [part for piece in spoken for part in _cut(piece, max(1, PIECES // len(spoken)))]
    voice = read_audio(clips[0].audio_path).samples
    silent = [_still(sound, amplitude, base, extractor, prosody) for sound in _silences(voice, seed)]
    still = [_with_past(piece, view) for piece in silent]
    heard = np.concatenate([piece.heard[piece.mask] for piece in spoken])
    mean, std = heard.mean(0), heard.std(0) + 1e-3
    sums = [_sums(piece, mean, std) for piece in spoken]
    rest = STILLNESS * _added([_sums(piece, mean, std) for piece in still])
    total = _added(sums)
    frames = len(heard)
    errors = {
        pull: sum(
            _error(piece, mean, std, (total - own + rest).solve(pull * frames))
            for piece, own in zip(spoken, sums, strict=True)
        )
        for pull in STRENGTHS
    }
    best = min(errors, key=errors.__getitem__)
    lively = _lively(spoken, [(total - own + rest).solve(best * frames) for own in sums], mean, std)
    alone = sum(_error(piece, mean, std, np.zeros_like(total.product)) for piece in spoken)
    shares = {f"{pull:g}": round(error / max(alone, 1e-12), 4) for pull, error in errors.items()}
    about = {"seconds": round(seconds, 2), "strength": best, "left_out_error": shares}
    write_json(run_dir / "fit.json", about)
    slopes = (total + rest).solve(best * frames)
    slopes[:-1] /= std[:, None]
    slopes[-1] -= mean @ slopes[:-1]
    return _with_readout(base, slopes, view, lively)


def _with_readout(base: MotionModel, readout: Array, view: Array, lively: Array) -> MotionModel:
    """``base`` with the readout [D + 1, 204] added, and all it says multiplied by ``lively`` [204, 204]."""
    network = MotionVae(replace(base.config, moments=MOMENTS)).eval()
    network.load_state_dict(base.network.state_dict(), strict=False)
    assert network.regress is not None and network.recall is not None
    present, before = np.split(readout[:-1], [network.config.channels])
    recalled = np.concatenate([view @ part for part in np.split(before, len(MOMENTS))])
    last = [network.regress, network.leave] if network.config.latent else [network.regress]
    with torch.no_grad():
        network.regress.weight.add_(torch.from_numpy(present.T.astype(np.float32)))
        network.regress.bias.add_(torch.from_numpy(readout[-1].astype(np.float32)))
        gains = torch.from_numpy(lively.astype(np.float32))
        for layer in last:
            layer.weight.copy_(gains @ layer.weight)
            layer.bias.copy_(gains @ layer.bias)
        network.recall.weight.copy_(gains @ torch.from_numpy(recalled.T.astype(np.float32)))
    return MotionModel(network, base.reference_amplitude)


def _view(pieces: Sequence[_Piece]) -> Array:
    """The directions [C, R] of g along which it moves most in the person's speech, each number of g counting
    alike."""
    heard = np.concatenate([piece.heard[piece.mask] for piece in pieces])
    std = heard.std(0) + 1e-3
    white = (heard - heard.mean(0)) / std
    _, axes = np.linalg.eigh(white.T @ white)
    return np.ascontiguousarray(axes[:, ::-1][:, :RECALLED] / std[:, None])


def _with_past(piece: _Piece, view: Array) -> _Piece:
    """The piece, which hears its past as well."""
    seen, now = piece.heard @ view, np.arange(len(piece.heard))
    before = [seen[np.clip(now - moment, 0, None)] for moment in MOMENTS]
    return replace(piece, heard=np.concatenate([piece.heard, *before], axis=1))


def _piece(
    clip: Clip,
    neutral: FloatArray,
    amplitude: float,
    base: MotionModel,
    extractor: SpeechFeatures,
    prosody: Callable[[Audio], FloatArray],
) -> _Piece:
    features, rhythm = clip_features(clip, extractor, prosody)
    landmarks, real = in_sync(clip)
    heard, made = _hear(base, features, rhythm, amplitude)
    n = min(len(heard), len(landmarks))
    mask = np.zeros(n, bool)
    mask[real] = True
    true = (landmarks[:n] - neutral).reshape(n, -1) / float(base.network.scale[-1])
    return _Piece(heard[:n], made[:n], (true - made[:n]).astype(np.float64), mask & clip.valid[:n])


def _silences(voice: FloatArray, seed: int) -> Iterator[Audio]:
    """Speech from places spread over ``voice``, with each of SILENCES before and after it."""
    rng = np.random.default_rng(seed)
    length = int(BETWEEN_S * SAMPLE_RATE_HZ)
    starts = np.linspace(0, max(0, len(voice) - length), len(SILENCES)).astype(int)
    for start, (kind, level_db) in zip(starts, SILENCES, strict=True):
        silence = no_speech(kind, int(SILENCE_S * SAMPLE_RATE_HZ), rng, level_db=level_db)
        yield Audio(np.concatenate([silence, voice[start : start + length], silence]).astype(np.float32))


def _still(
    sound: Audio,
    amplitude: float,
    base: MotionModel,
    extractor: SpeechFeatures,
    prosody: Callable[[Audio], FloatArray],
) -> _Piece:
    """Speech between silences: where the mouth has settled, nothing shall change."""
    heard, made = _hear(base, extractor(sound), prosody(sound), amplitude)
    time_s = np.arange(len(heard)) / FPS
    still = (time_s < SILENCE_S - SETTLED_S) | (time_s >= SILENCE_S + BETWEEN_S + SETTLED_S)
    return _Piece(heard, made, np.zeros((len(heard), 3 * N_LANDMARKS)), still)


def _hear(
    base: MotionModel, features: FloatArray, rhythm: FloatArray, amplitude: float
) -> tuple[Array, Array]:
    """The trunk's output [T, C] and the most likely motion [T, 204], standardised."""
    made = base.generate(features, rhythm, temperature=0.0, mouth_amp=amplitude)
    rows = np.clip(np.arange(2 * len(made)), 0, len(features) - 1)
    with torch.inference_mode():
        g = base.network.condition(
            torch.from_numpy(np.ascontiguousarray(features[rows], np.float32))[None],
            torch.from_numpy(np.ascontiguousarray(rhythm[rows], np.float32))[None],
            torch.tensor([amplitude]),
        )
    standardised = made.reshape(len(made), -1).astype(np.float64) / float(base.network.scale[-1])
    return g[0].numpy().astype(np.float64), standardised


def _cut(piece: _Piece, count: int) -> list[_Piece]:
    """Consecutive parts of a piece."""
    edges = np.linspace(0, len(piece.mask), count + 1).astype(int)
    return [
        _Piece(piece.heard[a:b], piece.made[a:b], piece.left[a:b], piece.mask[a:b])
        for a, b in pairwise(edges)
    ]


def _sums(piece: _Piece, mean: Array, std: Array) -> _Sums:
    x, both = _whitened(piece, mean, std), piece.mask[1:] & piece.mask[:-1]
    step, change = np.diff(x, axis=0)[both], np.diff(piece.left, axis=0)[both]
    x, left = x[piece.mask], piece.left[piece.mask]
    return _Sums(x.T @ x + VELOCITY * step.T @ step, x.T @ left + VELOCITY * step.T @ change)


def _lively(pieces: Sequence[_Piece], readouts: Sequence[Array], mean: Array, std: Array) -> Array:
    """Gains along the mouth's directions as a matrix [204, 204].

    Args:
        pieces: the person's speech.
        readouts: one learned without each piece.
        mean, std: of g.
    """
    true, speeds = [], []
    for piece, readout in zip(pieces, readouts, strict=True):
        both = piece.mask[1:] & piece.mask[:-1]
        wanted = (piece.made + piece.left)[:, _COLUMNS]
        made = (piece.made + _whitened(piece, mean, std) @ readout)[:, _COLUMNS]
        true.append(wanted[piece.mask])
        speeds.append((np.diff(wanted, axis=0)[both], np.diff(made, axis=0)[both]))
    mouths = np.concatenate(true)
    _, axes = np.linalg.eigh(np.cov(mouths.T))
    directions = axes[:, ::-1][:, :DIRECTIONS]
    own, ours = (np.sqrt((np.concatenate(x) @ directions).var(0)) for x in zip(*speeds, strict=True))
    gains = np.clip(LIVELINESS * own / np.maximum(ours, 1e-9), 1.0, LARGEST_GAIN)
    lively = np.eye(3 * N_LANDMARKS)
    lively[np.ix_(_COLUMNS, _COLUMNS)] += (directions * (gains - 1)) @ directions.T
    return lively


def _added(sums: Sequence[_Sums]) -> _Sums:
    total = sums[0]
    for more in sums[1:]:
        total = total + more
    return total


def _whitened(piece: _Piece, mean: Array, std: Array) -> Array:
    return np.concatenate([(piece.heard - mean) / std, np.ones((len(piece.heard), 1))], axis=1)


def _error(piece: _Piece, mean: Array, std: Array, weights: Array) -> float:
    """What is left of the mouth's and jaw's movement about its mean, squared and summed."""
    left = (piece.left - _whitened(piece, mean, std) @ weights)[piece.mask]
    return float((((left - left.mean(0)) ** 2) * landmark_weights().numpy()).sum()) if len(left) else 0.0
