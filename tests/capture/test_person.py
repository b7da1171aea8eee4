from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emogene.avatar import Avatar
from emogene.capture.person import (
    Order,
    _run_folder,
    identity_of,
    pose_bank_of,
    spread_bank,
    train_avatar,
)
from emogene.capture.sync import delayed
from emogene.io.clip import Clip
from emogene.training.render import tiny
from emogene.types import Audio
from tests.render.toy_clip import toy_neutral, write_toy_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return write_toy_clip(tmp_path_factory.mktemp("toy"), n_frames=22, size=128)


def test_identity_is_the_persons_own_motion(clip: Clip) -> None:
    identity = identity_of(clip)
    np.testing.assert_allclose(identity.neutral_cano, toy_neutral(), atol=1e-5)
    assert len(identity.bank) == clip.n_frames
    offsets = clip.arrays["landmarks_cano"] - toy_neutral()
    # The lower lip moves down and only down; the nose does not move.
    assert identity.offset_low[57, 1] < -0.1 and identity.offset_high[57, 1] < 0.0
    assert identity.offset_std[33].max() == 0
    assert abs(identity.offset_std[57, 1] - offsets[:, 57, 1].std()) < 0.05


def test_the_bank_keeps_rare_frames() -> None:
    offsets = np.zeros((5000, 68, 3), np.float32)
    offsets[:, 0, 0] = np.arange(5000) * 1e-6
    offsets[1234, 57] = 0.3
    bank = spread_bank(offsets, 100)
    assert bank.shape == (100, 68, 3) and (bank[:, 57, 0] > 0.2).any()
    np.testing.assert_array_equal(bank, spread_bank(offsets, 100))


def test_the_recorded_take_is_the_longest_shot(clip: Clip) -> None:
    cut = Clip(clip.folder, clip.n_frames, clip.arrays, clip.camera, clip.about | {"cuts": [4]})
    bank = pose_bank_of(cut)
    assert bank.track is not None and len(bank.track) == clip.n_frames - 4
    np.testing.assert_allclose(bank.rest, pose_bank_of(clip).rest)


def test_sound_is_shifted_to_the_sample() -> None:
    audio = Audio(np.arange(1, 6401, dtype=np.float32) / 6400)
    late = delayed(audio, 2).samples
    assert not late[:1280].any() and (late[1280:] == audio.samples[:-1280]).all()
    early = delayed(audio, -3).samples
    assert (early[:-1920] == audio.samples[1920:]).all() and not early[-1920:].any()
    assert (delayed(audio, 0).samples == audio.samples).all()
    assert (delayed(audio, 0.25).samples[160:] == audio.samples[:-160]).all()
    assert (delayed(audio, -0.4).samples[:-256] == audio.samples[256:]).all()


def test_a_run_is_not_gone_on_with_for_another_video_or_length(clip: Clip, tmp_path: Path) -> None:
    order = Order(video=tmp_path / "a.mp4", name="a", consent="yes", folder=tmp_path, work=tmp_path / "work")
    begun = _run_folder(order, clip) / "checkpoint"
    begun.write_text("of the first video")
    assert _run_folder(order, clip) == begun.parent and begun.exists()
    _run_folder(replace(order, minutes=2.0), clip)
    assert not begun.exists()
    begun.write_text("of the first video")
    (begun.parent / "begun.json").unlink()
    _run_folder(order, clip)
    assert not begun.exists()
    begun.write_text("of the first video")
    other = write_toy_clip(tmp_path / "other", n_frames=23, size=128)
    _run_folder(replace(order, minutes=2.0), other)
    assert not begun.exists()


def test_a_clip_becomes_an_avatar(clip: Clip, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    order = Order(
        video=tmp_path / "toy.mp4",
        name="toy",
        consent=" yes ",
        folder=tmp_path / "toy",
        work=tmp_path / "work",
    )
    seen: list[str] = []
    quick = replace(tiny(), warmup_steps=4, decoder_steps=4)
    train_avatar(order, clip, lambda step, done, total: seen.append(step), recipe=quick)
    torch.set_num_threads(before)
    avatar = Avatar.load(tmp_path / "toy")
    assert avatar.card.consent == "yes" and not avatar.card.synthetic
    assert avatar.card.made_by["quality"] == "standard"
    np.testing.assert_allclose(avatar.identity.neutral_cano, toy_neutral(), atol=1e-5)
    assert (tmp_path / "toy" / "preview.png").exists()
    assert any(step.startswith("portrait") for step in seen)
