"""The stages joined: frames for every bit of sound, the same however it was cut, and sound bundles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emogene.avatar import Avatar
from emogene.errors import UserError
from emogene.pipeline import Session, animate
from emogene.types import EMOTIONS, SAMPLES_PER_FRAME, Audio, Motion
from tests import tiny_avatar

SIZE = tiny_avatar.SIZE
TRACK = "0:neutral, 0.6:happy:0.8, 1.4:sad"


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    return tiny_avatar.make(tmp_path_factory.mktemp("avatars") / "tiny")


def tone(seconds: float) -> Audio:
    t = np.arange(round(seconds * 16000)) / 16000
    loudness = 0.3 * (np.sin(2 * np.pi * 1.5 * t) > 0)
    return Audio((loudness * np.sin(2 * np.pi * 180 * t)).astype(np.float32))


def film(avatar: Avatar, audio: Audio, pieces: list[int], **options: object) -> list[np.ndarray]:
    session = Session(avatar, TRACK, size=SIZE, features="mel", **options)  # type: ignore[arg-type]
    images = []
    start = 0
    for length in [*pieces, len(audio.samples)]:
        session.push_audio(audio.samples[start : start + length])
        start += length
        images += [frame.image for frame in session]
    session.flush()
    return images + [frame.image for frame in session]


@pytest.mark.parametrize("samples", [3200, 16001, 30 * SAMPLES_PER_FRAME - 1])
def test_every_bit_of_sound_gets_a_frame(avatar: Avatar, samples: int) -> None:
    audio = Audio(tone(3).samples[:samples])
    frames = list(animate(audio, avatar, size=SIZE, features="mel"))
    assert len(frames) == audio.n_frames
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].image.shape == (SIZE, SIZE, 4)


def test_the_stream_equals_the_film(avatar: Avatar) -> None:
    audio = tone(1.6)
    whole = film(avatar, audio, [])
    pieces = film(avatar, audio, [100, 7000, 1, 9999, 3200])
    assert len(whole) == len(pieces) == audio.n_frames
    assert all(np.array_equal(a, b) for a, b in zip(whole, pieces, strict=True))


def test_features_that_the_motion_model_never_heard(avatar: Avatar) -> None:
    with pytest.raises(UserError, match="leave --features out"):
        Session(avatar, TRACK, size=SIZE, features="emogene")


def test_short_blocks_change_nothing_that_can_be_seen(avatar: Avatar) -> None:
    audio = tone(2)
    usual, short = film(avatar, audio, []), film(avatar, audio, [], block_frames=8)
    difference = np.abs(np.stack(usual).astype(int) - np.stack(short))
    assert difference.max() <= 2


def test_seeds_choose_the_performance(avatar: Avatar) -> None:
    audio = tone(1)
    first, again, other = (film(avatar, audio, [], seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_dose_limits_of_an_avatar_hold(avatar: Avatar) -> None:
    audio = tone(1.0)
    calm = replace(avatar, card=replace(avatar.card, dose_limits={"happy": 0.0, "sad": 0.0}))
    limited = list(animate(audio, calm, TRACK, size=SIZE, features="mel"))
    neutral = list(animate(audio, avatar, size=SIZE, features="mel"))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(limited, neutral, strict=True))


def test_networks_hear_of_an_emotion_as_far_as_the_video_knows_it(avatar: Avatar) -> None:
    neutral = avatar.card.known_share(np.eye(len(EMOTIONS), dtype=np.float32))
    assert (neutral[[i for i, label in enumerate(EMOTIONS) if label != "neutral"]] == 1.0).all()
    unknown = replace(avatar, card=replace(avatar.card, emotions_known={"happy": 0.0, "sad": 0.5}))
    half = np.zeros((1, len(EMOTIONS)), np.float32)
    half[0, [EMOTIONS.index("happy"), EMOTIONS.index("sad")]] = 0.3, 0.6
    assert unknown.card.known_share(half)[0] == pytest.approx(1 / 3)

    def moved(avatar: Avatar, emotion: str) -> Motion:
        session = Session(avatar, emotion, size=SIZE, features="mel")
        session.push_audio(tone(1).samples)
        session.flush()
        return session._move(0, 16)[0]

    calm, happy = moved(unknown, "neutral"), moved(unknown, "happy")
    assert np.allclose(happy.known, calm.known, atol=1e-6)
    assert np.abs(happy.landmarks_cano - calm.landmarks_cano).max() > 0.01
    assert np.array_equal(moved(avatar, "happy").landmarks_cano, happy.landmarks_cano)


def test_a_background_makes_rgb(avatar: Avatar) -> None:
    background = np.zeros((SIZE, SIZE, 3), np.uint8)
    image = film(avatar, tone(0.3), [], background=background)[0]
    assert image.shape == (SIZE, SIZE, 3)


def test_interrupting_ends_at_once(avatar: Avatar) -> None:
    session = Session(avatar, size=SIZE, features="mel", block_frames=8)
    session.push_audio(tone(2).samples)
    shown = len(list(session))
    assert session.interrupt() == pytest.approx(shown / 25)
    assert list(session) == []
    with pytest.raises(RuntimeError, match="new session"):
        session.push_audio(tone(1).samples)


def test_memory_of_a_session_stays_flat(avatar: Avatar) -> None:
    session = Session(avatar, size=SIZE, features="mel")
    rows = []
    for _ in range(6):
        session.push_audio(tone(2).samples)
        assert all(True for _ in session)
        kept = session._speech._rows
        assert kept is not None
        rows.append(len(kept))
    # What is kept depends on where the last block ended, but not on how long the session has lasted.
    assert rows[-1] <= max(rows[1:4]) + 32


def test_frames_do_not_depend_on_threads(avatar: Avatar, tmp_path: Path) -> None:
    loaded = Avatar.load(avatar.folder or tmp_path)
    a, b = film(avatar, tone(0.5), []), film(loaded, tone(0.5), [])
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
