"""Random windows of takes, as batches for the motion network and the sync expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from emogene.data.takes import Take
from emogene.errors import UserError
from emogene.geometry.landmarks import MIRROR
from emogene.types import FloatArray

MIRROR_SIGN = np.array([-1, 1, 1], np.float32)


@dataclass(frozen=True)
class Batch:
    """features [B, 2T, F], prosody [B, 2T, 3], offsets [B, T, 204], mask [B, T]; mouth_amp, synthetic [B]."""

    features: Tensor
    prosody: Tensor
    offsets: Tensor
    mask: Tensor
    mouth_amp: Tensor
    synthetic: Tensor


class Windows:
    """Takes in memory and how to draw from them.

    Speakers are drawn by a power of what they have to say, by default its square root, so that one who
    talks for hours does not drown the others; silent takes count as one speaker. Faces are mirrored at
    random, and amplitude is varied together with ``mouth_amp``, so that the network learns what the number
    means.

    Args:
        takes: what to draw from.
        gain: standard deviation of the logarithm of the random amplitude.
        voices: extractor name -> [V, F] mean features of other voices (``data.voices``). Half of the windows
            are heard as if one of them spoke: the features keep their course about another mean, so that
            what follows does not hang on the voice.
        real_share: of the spoken windows that are tracked people, where there is synthetic or taught motion
            too; these share the rest evenly.
        jitter: noise on the features, in units of their deviation.
        speaker_power: how often a speaker is drawn grows with this power of their frames: 0: all alike; 1: as
            often as their share of the frames, so that few sentences are not learned by heart.
    """

    def __init__(
        self,
        takes: Sequence[Take],
        *,
        gain: float = 0.2,
        jitter: float = 0.1,
        real_share: float = 0.6,
        speaker_power: float = 0.5,
        voices: Mapping[str, FloatArray] | None = None,
    ) -> None:
        if not takes:
            raise UserError("there are no takes to train on; is the data folder right?")
        self.takes, self.gain, self.jitter = list(takes), gain, jitter
        speakers = sorted({(take.speaker, take.heard_by) for take in takes})
        self._groups = [
            [i for i, take in enumerate(takes) if (take.speaker, take.heard_by) == key] for key in speakers
        ]
        frames = np.array([sum(len(takes[i].offsets) for i in group) for group in self._groups], np.float64)
        synthetic = np.array([takes[group[0]].synthetic for group in self._groups])
        silent = np.array([not name for name, _ in speakers])
        shares = frames**speaker_power * ~silent
        taught = np.array([takes[group[0]].taught for group in self._groups])
        others = [kind for kind in (synthetic, taught) if kind.any()]
        tracked = ~synthetic & ~taught & ~silent
        if others and tracked.any():
            shares[tracked] *= real_share / shares[tracked].sum()
        for kind in others:
            shares[kind] *= (1 - real_share) / len(others) / shares[kind].sum()
        shares /= max(shares.sum(), 1e-9)
        # Silence is a habit to keep, not a speaker to imitate: its share is what the takes say.
        quiet = float(frames[silent].sum() / frames.sum())
        self._shares = np.where(silent, quiet, (1 - quiet) * shares)
        self._shares /= self._shares.sum()
        self._voices = [(voices or {}).get(heard_by) for _, heard_by in speakers]
        self._own = [mean_voice([takes[i] for i in group]) for group in self._groups]
        self._lengths = [
            np.array([len(takes[i].offsets) for i in group], np.float64) for group in self._groups
        ]

    @property
    def feature_dim(self) -> int:
        return int(self.takes[0].features.shape[1])

    @cached_property
    def reference_amplitude(self) -> float:
        """Mean over speakers of their amplitude: what mouth_amp = 1 means."""
        speakers = {take.speaker: take.amplitude for take in self.takes if take.speaker and not take.taught}
        return float(np.mean(list(speakers.values()))) if speakers else 1.0

    def feature_statistics(self) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the features over a sample of takes."""
        some = self.takes[:: max(1, len(self.takes) // 100)]
        rows = np.concatenate([take.features[::5].astype(np.float32) for take in some if take.speaker])
        return rows.mean(0), rows.std(0) + 1e-3

    def sample(self, rng: np.random.Generator, batch: int, frames: int) -> Batch:
        """Draw ``batch`` windows of ``frames`` video frames; shorter takes are padded and masked."""
        rows = [self._window(rng, frames) for _ in range(batch)]
        features, prosody, offsets, mask, amplitude, synthetic = zip(*rows, strict=True)
        return Batch(
            torch.from_numpy(np.stack(features)),
            torch.from_numpy(np.stack(prosody)),
            torch.from_numpy(np.stack(offsets)),
            torch.from_numpy(np.stack(mask)),
            torch.tensor(amplitude, dtype=torch.float32),
            torch.tensor(synthetic, dtype=torch.float32),
        )

    def _window(
        self, rng: np.random.Generator, frames: int
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float, float]:
        group = rng.choice(len(self._groups), p=self._shares)
        lengths = self._lengths[group]
        take = self.takes[self._groups[group][rng.choice(len(lengths), p=lengths / lengths.sum())]]
        n = len(take.offsets)
        first = int(rng.integers(max(1, n - frames + 1)))
        stop = min(n, first + frames)
        short = frames - (stop - first)
        offsets = take.offsets[first:stop].astype(np.float32)
        if rng.random() < 0.5:
            offsets = offsets[:, MIRROR] * MIRROR_SIGN
        gain = float(np.exp(self.gain * rng.standard_normal()))
        amplitude = take.amplitude or self.reference_amplitude
        mask = take.mask[first:stop].astype(np.float32)
        rows = slice(2 * first, 2 * stop)
        features = take.features[rows].astype(np.float32)
        voices = self._voices[group]
        if voices is not None and take.speaker and rng.random() < 0.5:
            other = voices[rng.integers(len(voices))]
            features = features + np.float32(rng.random()) * (other - self._own[group])
        return (
            np.pad(features, ((0, 2 * short), (0, 0)), mode="edge"),
            np.pad(take.prosody[rows].astype(np.float32), ((0, 2 * short), (0, 0)), mode="edge"),
            np.pad(gain * offsets.reshape(stop - first, -1), ((0, short), (0, 0)), mode="edge"),
            np.pad(mask, (0, short)),
            gain * amplitude,
            float(take.synthetic),
        )


def mean_voice(takes: Sequence[Take]) -> FloatArray:
    """Mean features of a speaker where they speak, [F]."""
    some = takes[:: max(1, len(takes) // 20)]
    features = np.concatenate([take.features for take in some]).astype(np.float32)
    loud = np.concatenate([take.prosody[:, 2] for take in some]).astype(np.float32)
    return np.asarray(features[loud >= 0.5 * loud.max()].mean(0), np.float32)
