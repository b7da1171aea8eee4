from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from emogene.errors import FormatError
from emogene.features.ctranslate import read_ctranslate
from emogene.features.whisper import WhisperConfig, WhisperEncoder, _names, load_encoder

KINDS = {np.dtype(np.float32): 0, np.dtype(np.int16): 2, np.dtype(np.float16): 4}


def write_model(path: Path, variables: dict[str, np.ndarray]) -> None:
    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    data = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, array in variables.items():
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        data += string(name) + shape + struct.pack("<BI", KINDS[array.dtype], array.nbytes) + array.tobytes()
    path.write_bytes(data + struct.pack("<I", 1) + string("encoder/copy") + string("encoder/conv1/bias"))


def _whisper_variables(encoder: WhisperEncoder) -> dict[str, np.ndarray]:
    state = {name: value.numpy() for name, value in encoder.state_dict().items()}
    variables = {
        "encoder/num_heads": np.array(encoder.config.heads, np.int16),
        "encoder/position_encodings/encodings": state["positions"].astype(np.float16),
        "decoder/other": np.zeros(3, np.float32),
    }
    for ours, theirs in _names(encoder.config.take).items():
        weight, bias = ("gamma", "beta") if theirs.endswith("norm") else ("weight", "bias")
        variables[f"encoder/{theirs}/{weight}"] = state[f"{ours}.weight"]
        variables[f"encoder/{theirs}/{bias}"] = state[f"{ours}.bias"]
    return variables


def test_an_encoder_survives_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = WhisperEncoder(WhisperConfig(dim=16, heads=2, layers=2, take=2, positions=100))
    write_model(tmp_path / "model.bin", _whisper_variables(encoder))
    assert np.array_equal(
        read_ctranslate(tmp_path / "model.bin")["encoder/copy"], encoder.conv1.bias.detach().numpy()
    )
    mel = torch.randn(1, 60, 80)
    loaded = load_encoder(tmp_path / "model.bin", take=2)
    assert loaded.config == encoder.config
    assert torch.allclose(loaded(mel), encoder(mel), atol=1e-5)
    # Fewer layers: the middle of the network, not the end.
    assert len(load_encoder(tmp_path / "model.bin", take=1).blocks) == 1


def test_damage_is_said(tmp_path: Path) -> None:
    encoder = WhisperEncoder(WhisperConfig(dim=8, heads=2, layers=1, take=1, positions=10))
    path = tmp_path / "model.bin"
    write_model(path, _whisper_variables(encoder))
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"\7" + whole[1:], b""):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=r"model\.bin"):
            read_ctranslate(path)
