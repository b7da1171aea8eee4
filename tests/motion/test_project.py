"""The projection onto a person: keeps what the person can do, pulls the rest back, clamps, is fast."""

from __future__ import annotations

import time

import numpy as np
import pytest

from emogene.motion.project import Projector
from emogene.types import Identity


@pytest.fixture(scope="module")
def identity() -> Identity:
    """A person whose motion is a combination of five face shapes."""
    rng = np.random.default_rng(0)
    shapes = rng.standard_normal((5, 68, 3)) * 0.02
    bank = np.einsum("mk,klc->mlc", rng.standard_normal((1500, 5)), shapes).astype(np.float32)
    return Identity(
        rng.standard_normal((68, 3)),
        bank.std(0),
        np.quantile(bank, 0.03, axis=0),
        np.quantile(bank, 0.97, axis=0),
        bank,
    )


def test_own_frames_stay(identity: Identity) -> None:
    own = identity.bank[:50]
    projected = Projector(identity, blend=1.0, slack=2.0)(own)
    assert np.abs(projected - own).max() < 0.01 * np.abs(own).max()


def test_noise_is_pulled_to_the_manifold(identity: Identity) -> None:
    rng = np.random.default_rng(1)
    own = identity.bank[:100]
    noisy = own + 0.01 * rng.standard_normal(own.shape).astype(np.float32)
    error = np.abs(noisy - own).mean()
    projected = Projector(identity, blend=1.0, slack=2.0)(noisy)
    assert np.abs(projected - own).mean() < 0.5 * error
    partly = Projector(identity, blend=0.2, slack=2.0)(noisy)
    assert np.abs(projected - own).mean() < np.abs(partly - own).mean() < error


def test_clamps(identity: Identity) -> None:
    clamped = Projector(identity, blend=0.0, slack=0.0)(10 * identity.bank[:20])
    assert (clamped <= identity.offset_high + 1e-6).all() and (clamped >= identity.offset_low - 1e-6).all()


def test_frame_by_frame_equals_all_at_once(identity: Identity) -> None:
    projector, motion = Projector(identity), 1.3 * identity.bank[200:230]
    single = np.concatenate([projector(motion[i : i + 1]) for i in range(30)])
    np.testing.assert_allclose(single, projector(motion), atol=1e-5)
    assert projector(motion[:0]).shape == (0, 68, 3)


def test_empty_bank_only_clamps(identity: Identity) -> None:
    bare = Identity(
        identity.neutral_cano,
        identity.offset_std,
        identity.offset_low,
        identity.offset_high,
        identity.bank[:0],
    )
    motion = 0.5 * identity.bank[:3]
    np.testing.assert_allclose(Projector(bare, slack=2.0)(motion), motion)


def test_fast_enough(identity: Identity) -> None:
    projector, motion = Projector(identity), identity.bank[:250]
    start = time.process_time()
    projector(motion)
    assert time.process_time() - start < 2.0  # ten seconds of motion; 0.1 s on the reference machine
