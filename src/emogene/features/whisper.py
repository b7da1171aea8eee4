"""Whisper's encoder as speech features: a middle layer knows sounds but not yet words or languages.

Sound [S] -> [T50, 512] (base, layer 4) or [T50, 384] (tiny.en, layer 3). A linear viseme classifier on
these rows is right on 80 % of an unseen voice, twice log-mel's share (docs/motion-emotion.md).
Weights: CTranslate2 ``model.bin`` files, fetched by ``emogene.assets``; encoder in plain torch.

The sound is encoded in blocks of 10 s with 2 s around them, never padded to 30 s. Whisper's level
reference (loudest mel value of a window) is kept from falling below that of quiet speech, so a pause that
fills a block looks like a pause inside speech.

About 2 % of a Whisper encoder's rows are "registers": single rows, anywhere, with a norm up to 30 times the
others', all alike, in which the network keeps something of its own (Darcet et al. 2024 saw them in vision
transformers). They say nothing about their 20 ms, carry 46 % of the variance, and are replaced by a blend
of their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from emogene.assets import fetch
from emogene.features.ctranslate import read_ctranslate
from emogene.features.extractor import BlockStream, checked_samples, n_rows
from emogene.features.layout import BlockLayout
from emogene.features.mel import N_MELS, log_mel
from emogene.types import FEATURE_HZ, Audio, FloatArray

LAYOUT = BlockLayout(core=10 * FEATURE_HZ, left=2 * FEATURE_HZ, right=2 * FEATURE_HZ)
DYNAMIC_RANGE = 8.0
"""log10 units below the loudest mel value that are kept (Whisper)."""
QUIET_SPEECH = 0.0
"""Loudest log10 mel power of speech at about -38 dB: the level reference does not go below."""


REGISTER_NORM = 2.0
"""A row is a register when its norm is so many times the median; ordinary rows stay below 1.4."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WhisperConfig:
    """Sizes of an encoder and the layer to take (0: after the positions; k: after block k)."""

    dim: int = 512
    heads: int = 8
    layers: int = 6
    take: int = 4
    positions: int = 1500

    def __post_init__(self) -> None:
        if not 0 <= self.take <= self.layers:
            raise ValueError(f"take must be a layer from 0 to {self.layers}, not {self.take}")


class EncoderBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, 4 * dim)
        self.mlp_out = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        B, T, D = x.shape
        parts = self.query_key_value(self.attention_norm(x)).view(B, T, 3, self.heads, D // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(B, T, D))
        result: Tensor = x + self.mlp_out(functional.gelu(self.mlp_in(self.mlp_norm(x))))
        return result


class WhisperEncoder(nn.Module):
    """Log-mel [B, 2 T50, 80] -> layer ``take`` [B, T50, D]; layers above it are not built."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(N_MELS, config.dim, 3, padding=1)
        self.conv2 = nn.Conv1d(config.dim, config.dim, 3, stride=2, padding=1)
        self.register_buffer("positions", torch.zeros(config.positions, config.dim))
        self.blocks = nn.ModuleList(EncoderBlock(config.dim, config.heads) for _ in range(config.take))

    def forward(self, mel: Tensor) -> Tensor:
        x: Tensor = functional.gelu(self.conv1(mel.transpose(1, 2)))
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]  # type: ignore[index]
        for block in self.blocks:
            x = block(x)
        return x


class WhisperFeatures:
    """A Whisper encoder behind the SpeechFeatures protocol.

    dtype: torch.bfloat16 is about twice as fast on CPUs that have it; the features differ by about 1 %.
    """

    def __init__(
        self,
        encoder: WhisperEncoder,
        name: str = "whisper",
        layout: BlockLayout = LAYOUT,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if layout.rows > encoder.config.positions:
            raise ValueError(
                f"a block of {layout.rows} rows is longer than {encoder.config.positions} positions"
            )
        self.encoder = encoder.to(dtype).eval().requires_grad_(False)
        self.name, self.dim, self.layout, self.dtype = name, encoder.config.dim, layout, dtype
        self.look_ahead_s = layout.right / FEATURE_HZ

    def __call__(self, audio: Audio) -> FloatArray:
        stream = self.stream()
        return np.concatenate([stream.push(checked_samples(audio)), stream.flush()])

    def stream(self) -> BlockStream:
        """Rows come in blocks: with the default layout 12 s after their sound; see BlockLayout."""
        return BlockStream(self._encode, self.dim, self.layout)

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Tensor:
        """One batch of windows [B, S], each at most 30 s -> [B, T50, F]."""
        mel = whisper_mel(samples, n_rows(samples.shape[-1]))
        rows: Tensor = self.encoder(mel.to(self.dtype))
        return rows.float()

    def _encode(self, samples: FloatArray, skip: int, n: int) -> FloatArray:
        rows = self.encode(torch.from_numpy(samples)[None])[0].numpy()
        return np.ascontiguousarray(without_registers(rows)[skip : skip + n])


def registers(rows: FloatArray) -> NDArray[np.bool_]:
    """Which rows [T] of [T, F] are registers."""
    norms = np.linalg.norm(rows, axis=1)
    return np.asarray(norms > REGISTER_NORM * np.median(norms))


def without_registers(rows: FloatArray) -> FloatArray:
    """Put the linear blend of the nearest ordinary rows in the place of registers."""
    bad = registers(rows)
    if not bad.any():
        return rows
    good = np.flatnonzero(~bad)
    at = np.flatnonzero(bad)
    after = np.clip(np.searchsorted(good, at), 0, len(good) - 1)
    before = np.maximum(after - 1, 0)
    share = (at - good[before]) / np.maximum(good[after] - good[before], 1)
    share = np.clip(share, 0, 1)[:, None].astype(np.float32)
    result = rows.copy()
    result[at] = rows[good[before]] * (1 - share) + rows[good[after]] * share
    return result


def whisper_mel(samples: Tensor, rows: int) -> Tensor:
    """Whisper's input [B, 2 rows, 80] for sound [B, S]."""
    logs = log_mel(samples, 2 * rows)
    loudest = logs.amax((-2, -1), keepdim=True).clamp_min(QUIET_SPEECH)
    return (torch.maximum(logs, loudest - DYNAMIC_RANGE) + 4) / 4


def load_encoder(path: Path, take: int) -> WhisperEncoder:
    """Build an encoder from a CTranslate2 ``model.bin``, up to layer ``take``."""
    weights = read_ctranslate(path, prefix="encoder/")
    layers = len({name.split("/")[0] for name in weights if name.startswith("layer_") and name[6].isdigit()})
    positions, dim = weights["position_encodings/encodings"].shape
    config = WhisperConfig(
        dim=dim, heads=int(weights["num_heads"]), layers=layers, take=take, positions=positions
    )
    encoder = WhisperEncoder(config)
    state = {"positions": weights["position_encodings/encodings"]}
    for ours, theirs in _names(take).items():
        norm = theirs.endswith("norm")
        state[f"{ours}.weight"] = weights[f"{theirs}/{'gamma' if norm else 'weight'}"]
        state[f"{ours}.bias"] = weights[f"{theirs}/{'beta' if norm else 'bias'}"]
    encoder.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return encoder


def _names(n_blocks: int) -> dict[str, str]:
    """Our module -> the name in the file."""
    names = {"conv1": "conv1", "conv2": "conv2"}
    for k in range(n_blocks):
        names |= {
            f"blocks.{k}.attention_norm": f"layer_{k}/self_attention/layer_norm",
            f"blocks.{k}.query_key_value": f"layer_{k}/self_attention/linear_0",
            f"blocks.{k}.attention_out": f"layer_{k}/self_attention/linear_1",
            f"blocks.{k}.mlp_norm": f"layer_{k}/ffn/layer_norm",
            f"blocks.{k}.mlp_in": f"layer_{k}/ffn/linear_0",
            f"blocks.{k}.mlp_out": f"layer_{k}/ffn/linear_1",
        }
    return names


def load_whisper(path: Path | None = None) -> WhisperFeatures:
    """Whisper base, layer 4; fetched once (133 MB) unless ``path`` is a model.bin."""
    return WhisperFeatures(load_encoder(path or fetch("whisper"), take=4), "whisper")


def load_whisper_tiny(path: Path | None = None) -> WhisperFeatures:
    """Whisper tiny.en, layer 3; fetched once (68 MB) unless ``path`` is a model.bin."""
    return WhisperFeatures(load_encoder(path or fetch("whisper-tiny"), take=3), "whisper-tiny")
