"""Motion onto a person: locally linear projection onto the person's own frames, then clamping.

offsets [T, 68, 3] -> offsets [T, 68, 3]. GeneFace++'s landmark post-processing, which EmoGene keeps: each
frame is rebuilt from its K nearest frames of the person (weights that sum to one), blended with itself,
and clamped to the range the person was seen in.
"""

from __future__ import annotations

import numpy as np

from emogene.geometry.landmarks import BROWS, JAW, MOUTH
from emogene.types import N_LANDMARKS, FloatArray, Identity


class Projector:
    """The projection onto one person.

    Args:
        identity: its ``bank`` is the manifold, ``offset_low`` and ``offset_high`` the clamp.
        k: neighbours (EmoGene 10, GeneFace++ paper 20).
        blend: share of the rebuilt frame (EmoGene's code 0.2).
        slack: how far beyond the seen range a coordinate may go, as a share of that range. The person's
            video rarely shows every emotion, and quantiles cut off the shut mouth: 0 would be EmoGene's
            clamp and forbids both.
        ridge: regularisation of the weights, as a share of the neighbours' mean square distance.
    """

    def __init__(
        self, identity: Identity, k: int = 10, blend: float = 0.2, *, slack: float = 0.5, ridge: float = 1e-3
    ) -> None:
        if not 0 <= blend <= 1:
            raise ValueError(f"blend must be 0..1, not {blend}")
        self.k = min(k, len(identity.bank))
        self.blend, self.ridge = blend if self.k else 0.0, ridge
        # Distances are about what speech moves: an eyelid or a nose must not choose the neighbours.
        importance = np.zeros(N_LANDMARKS, np.float32)
        importance[JAW], importance[BROWS], importance[MOUTH] = 0.5, 0.5, 1.0
        self._importance = np.repeat(importance, 3)
        self._bank = identity.bank.reshape(-1, 3 * N_LANDMARKS)
        self._keys = self._bank * self._importance
        self._key_norms = (self._keys**2).sum(1)
        margin = slack * (identity.offset_high - identity.offset_low)
        self._low, self._high = identity.offset_low - margin, identity.offset_high + margin

    def __call__(self, offsets: FloatArray) -> FloatArray:
        """Project and clamp offsets [T, 68, 3]."""
        result = offsets
        if self.blend and len(offsets):
            flat = offsets.reshape(-1, 3 * N_LANDMARKS)
            mixed = (1 - self.blend) * flat + self.blend * self._rebuild(flat)
            result = mixed.reshape(offsets.shape)
        return np.clip(result, self._low, self._high).astype(np.float32)

    def _rebuild(self, flat: FloatArray) -> FloatArray:
        """[T, 204] -> affine combinations of the K nearest frames of the bank."""
        queries = flat * self._importance
        distances = self._key_norms - 2 * queries @ self._keys.T
        nearest = np.argpartition(distances, self.k - 1, axis=1)[:, : self.k]
        differences = self._keys[nearest] - queries[:, None]
        gram = (differences @ differences.transpose(0, 2, 1)).astype(np.float64)
        # The smallest sum-to-one combination: solve gram w = 1, then normalise (Roweis & Saul 2000).
        trace = np.trace(gram, axis1=1, axis2=2)
        gram += (self.ridge * trace / self.k + 1e-10)[:, None, None] * np.eye(self.k)
        weights = np.linalg.solve(gram, np.ones((len(flat), self.k, 1)))[..., 0]
        weights /= weights.sum(1, keepdims=True)
        rebuilt = np.einsum("tk,tkc->tc", weights.astype(np.float32), self._bank[nearest])
        return np.asarray(rebuilt, dtype=np.float32)
