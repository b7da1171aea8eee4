"""What every extractor promises: 50 rows a second, and a stream that equals the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emogene.errors import AssetError, FormatError, UserError
from emogene.features import student
from emogene.features.extractor import SpeechFeatures, load_extractor
from emogene.features.hubert import HubertFeatures, HubertModel, load_hubert
from emogene.features.hubert import tiny as tiny_hubert
from emogene.features.layout import BlockLayout
from emogene.features.mel import MelFeatures, mel_filters
from emogene.features.student import StudentFeatures, StudentNet
from emogene.features.whisper import WhisperConfig, WhisperEncoder, WhisperFeatures, without_registers
from emogene.io.files import write_json
from emogene.types import Audio
from tests.features.hubert_folder import write_hubert


def whisper() -> WhisperFeatures:
    encoder = WhisperEncoder(WhisperConfig(dim=16, heads=2, layers=2, take=2))
    return WhisperFeatures(encoder, layout=BlockLayout(core=30, left=10, right=10))


EXTRACTORS: dict[str, Callable[[], SpeechFeatures]] = {
    "mel": MelFeatures,
    "whisper": whisper,
    "student": lambda: StudentFeatures(StudentNet(student.tiny())),
    "hubert": lambda: HubertFeatures(HubertModel(tiny_hubert()), BlockLayout(core=40, left=5, right=5)),
}


@pytest.fixture(params=EXTRACTORS)
def extractor(request: pytest.FixtureRequest) -> SpeechFeatures:
    torch.manual_seed(1)
    return EXTRACTORS[request.param]()


def noise(n_samples: int) -> np.ndarray:
    return np.random.default_rng(n_samples).normal(0, 0.1, n_samples).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 319, 320, 321, 16_000, 40_001])
def test_fifty_rows_a_second(extractor: SpeechFeatures, n_samples: int) -> None:
    rows = extractor(Audio(noise(n_samples)))
    assert rows.shape == (-(-n_samples // 320), extractor.dim)
    assert rows.dtype == np.float32 and np.isfinite(rows).all()


def test_silence_and_full_scale_are_finite(extractor: SpeechFeatures) -> None:
    for samples in (np.zeros(8000, np.float32), np.sign(noise(8000))):
        assert np.isfinite(extractor(Audio(samples))).all()


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, 48_000), max_size=12))
@pytest.mark.parametrize("name", EXTRACTORS)
def test_stream_equals_whole_for_any_cutting(name: str, cuts: list[int]) -> None:
    torch.manual_seed(1)
    extractor = EXTRACTORS[name]()
    samples = noise(48_000)
    stream = extractor.stream()
    pieces = [stream.push(piece) for piece in np.split(samples, sorted(cuts))]
    rows = np.concatenate([*pieces, stream.flush()])
    whole = extractor(Audio(samples))
    assert rows.shape == whole.shape
    assert np.abs(rows - whole).max() < 1e-4 * max(1, np.abs(whole).max())


def test_student_waits_no_longer_than_it_says() -> None:
    for config in (student.tiny(), student.standard()):
        torch.manual_seed(0)
        extractor = StudentFeatures(StudentNet(config))
        assert extractor.look_ahead_s <= 0.24
        stream, given_rows = extractor.stream(), 0
        for push in range(1, 20):
            given_rows += len(stream.push(noise(800)))
            assert given_rows >= (push * 800 / 16000 - extractor.look_ahead_s) * 50 - 1


def test_student_row_depends_on_its_neighbourhood_only() -> None:
    extractor = StudentFeatures(StudentNet(student.tiny()))
    samples = noise(32_000)
    changed = samples.copy()
    changed[16_000:] = 0
    moved = np.abs(extractor(Audio(samples)) - extractor(Audio(changed))).max(1) > 1e-6
    assert np.flatnonzero(moved)[0] >= 50 - extractor.look_ahead_s * 50 - 1


def test_whole_network_equals_stream() -> None:
    net = StudentNet(student.tiny()).eval()
    samples = noise(20_123)
    with torch.no_grad():
        whole = net.raw(net(torch.from_numpy(samples)[None]))[0].numpy()
    assert np.abs(StudentFeatures(net)(Audio(samples)) - whole).max() < 1e-4


def test_eight_bits_are_enough(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = StudentNet(student.tiny())
    student.save_student(net, tmp_path)
    audio = Audio(noise(16_000))
    exact, stored = StudentFeatures(net)(audio), load_extractor("emogene", tmp_path)(audio)
    assert np.abs(stored - exact).mean() < 0.03 * exact.std()
    (tmp_path / "config.json").write_text('{"format_version": 1, "student": {"width": 24}}')
    with pytest.raises(FormatError, match="student of this version"):
        load_extractor("emogene", tmp_path)


def test_mel_bands_cover_the_spectrum() -> None:
    filters = mel_filters().numpy()
    assert filters.shape == (80, 201) and (filters >= 0).all()
    assert (filters[:, 1:200].sum(0) > 0).all()
    # First and last values of Whisper's own table.
    assert filters[0, 1] == pytest.approx(0.02486, abs=1e-4)
    assert filters.max() == pytest.approx(0.02588, abs=2e-4)


def test_hubert_loads_the_published_layout(tmp_path: Path) -> None:
    model = write_hubert(tmp_path)
    loaded = load_extractor("hubert", tmp_path)
    audio = Audio(noise(16_000))
    assert np.abs(loaded(audio) - HubertFeatures(model)(audio)).max() < 1e-5
    write_json(tmp_path / "config.json", {"feat_extract_norm": "group"})
    with pytest.raises(FormatError, match="large HuBERT"):
        load_hubert(tmp_path)
    with pytest.raises(AssetError, match="hubert-large"):
        load_extractor("hubert")


def test_unknown_names_and_wrong_rates() -> None:
    with pytest.raises(UserError, match="choose from emogene"):
        load_extractor("wav2lip")
    with pytest.raises(ValueError, match="16000"):
        MelFeatures()(Audio(noise(100), 44_100))
    with pytest.raises(ValueError, match="look-ahead"):
        student.StudentConfig(ahead=(6, 6))


def test_registers_are_replaced_by_their_neighbours() -> None:
    rows = np.ones((40, 8), np.float32) * np.arange(100, 140, dtype=np.float32)[:, None]
    damaged = rows.copy()
    damaged[[0, 7, 20, 21, 39]] = 9000.0
    repaired = without_registers(damaged)
    assert np.allclose(repaired[[7, 20, 21]], rows[[7, 20, 21]])
    assert np.allclose(repaired[[0, 39]], rows[[1, 38]])
    assert without_registers(rows) is rows
