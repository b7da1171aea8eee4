from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emogene.io.clip import clip_folders, open_clip
from emogene.persona.calibrate import _batch, correlations, fit, measures_of, play, read_sentence, readout
from emogene.persona.phones import VISEME
from emogene.persona.rig import LandmarkRig
from emogene.persona.visemes import CHANNEL, DOMINANCE, TARGETS, UNITS_FROM_CHANNELS, MouthStyle, articulate


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentences(corpus: Path, count: int):
    clips = [open_clip(folder) for folder in clip_folders(corpus)]
    spoken = [clip for clip in clips if clip.about["take"] == "neutral" and clip.phones]
    return [read_sentence(clip) for clip in spoken[:count]]


def test_torch_plays_the_same_rules(tiny_corpus: Path) -> None:
    chosen = sentences(tiny_corpus, 2)
    played = play(_batch(chosen), torch.tensor(TARGETS), torch.tensor(DOMINANCE)).numpy()
    for row, sentence in enumerate(chosen):
        n_frames = len(sentence.measures)
        style = MouthStyle(smoothing_s=1e-4)
        rules = articulate(sentence.segments, sentence.energy, np.ones(n_frames), style).channels
        np.testing.assert_allclose(played[row, :n_frames], rules, atol=2e-3)


def test_readout_is_what_the_rig_does() -> None:
    face = LandmarkRig.load().face()
    unit = np.zeros((1, 13))
    unit[0, CHANNEL["jawOpen"]] = 0.5
    moved = measures_of(face.landmarks_cano(unit @ UNITS_FROM_CHANNELS)) - measures_of(face.neutral_cano)
    np.testing.assert_allclose(moved[0], 0.5 * readout()[CHANNEL["jawOpen"]], atol=1e-4)


def test_a_fit_follows_the_lips_it_sees(tiny_corpus: Path) -> None:
    chosen = sentences(tiny_corpus, 2)
    targets, dominance = fit(chosen, steps=6)
    assert correlations(chosen, targets, dominance)[0] > correlations(chosen, TARGETS, DOMINANCE)[0] - 0.005
    assert np.all(targets[TARGETS == 0] == 0) and np.all(targets[VISEME["PP"]] == TARGETS[VISEME["PP"]])
