"""The built-in speech features `emogene`: two local Whisper blocks that stand in for six whole ones.

Sound [S] at 16 kHz -> [T50, 512]. The student begins as the convolutions and the first two blocks of
Whisper tiny. Three things make it stream: the log-mel scale is fixed (Whisper's hangs on the loudest value
of the clip); a row attends to 75 rows of the past and 5 of the future in each block (Whisper's attends to
the whole clip); and in place of absolute positions there is a bias per head and distance. It is then
distilled to Whisper base's layer 4 by ``training.features``, hearing noise, rooms and other levels where
the teacher heard the clean voice. Look-ahead 233 ms. Weights are 8-bit integers on disk: 4.3 MB.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from emogene.errors import FormatError
from emogene.features.extractor import HOP, checked_samples, n_rows
from emogene.features.mel import MEL_HOP, N_FFT, N_MELS, mel_power
from emogene.io.files import check_format_version, read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import FEATURE_HZ, SAMPLE_RATE_HZ, Audio, FloatArray

SHIPPED = Path(__file__).parent.parent / "weights" / "features"
STUDENT_FORMAT = 1
MEL_FLOOR = -6.5
"""log10 mel power that counts as silence: 8 below the loudest of ordinary speech, as in Whisper."""
MEL_MARGIN = 2
"""Mel frames on each side that the two convolutions of a row see."""
PIECE_ROWS = 200
"""Long pushes are worked off in pieces of so many rows: attention within a piece is dense."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentConfig:
    """Sizes. width, heads: of Whisper tiny. behind, ahead: rows that each block attends to."""

    dim: int = 512
    width: int = 384
    heads: int = 6
    behind: int = 75
    ahead: tuple[int, ...] = (5, 5)

    def __post_init__(self) -> None:
        if self.look_ahead_s > 0.24:
            raise ValueError(f"a look-ahead of {self.look_ahead_s:.3f} s is more than 0.24 s; lower `ahead`")

    @property
    def look_ahead_s(self) -> float:
        """Half a mel window, the convolutions' mel frames, and the blocks' rows."""
        samples = N_FFT / 2 + MEL_MARGIN * MEL_HOP
        return samples / SAMPLE_RATE_HZ + sum(self.ahead) / FEATURE_HZ


def tiny() -> StudentConfig:
    """For tests."""
    return StudentConfig(dim=16, width=16, heads=2, behind=10, ahead=(2, 1))


def standard() -> StudentConfig:
    """What ships: 4.3 million weights."""
    return StudentConfig()


class LocalBlock(nn.Module):
    """A Whisper block whose attention is local and knows distances instead of places."""

    def __init__(self, width: int, heads: int, behind: int, ahead: int) -> None:
        super().__init__()
        self.heads, self.behind, self.ahead = heads, behind, ahead
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)
        self.distance = nn.Parameter(torch.zeros(heads, behind + ahead + 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        query, key, value = self.project(x)
        return self.finish(x, self.attend(query, key, value, 0))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each [B, heads, T, C / heads]."""
        B, T, C = x.shape
        parts = self.query_key_value(self.attention_norm(x)).view(B, T, 3, self.heads, C // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, first: int) -> Tensor:
        """Mixed values [B, n, C]; query row 0 is at key row ``first``."""
        B, H, n, D = query.shape
        distance = torch.arange(key.shape[2]) - torch.arange(first, first + n)[:, None]
        near = (distance >= -self.behind) & (distance <= self.ahead)
        bias = self.distance[:, (distance + self.behind).clamp(0, self.behind + self.ahead)]
        bias = bias.masked_fill(~near, -torch.inf)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        return mixed.transpose(1, 2).reshape(B, n, H * D)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Residuals and MLP, row by row."""
        x = x + self.attention_out(mixed)
        result: Tensor = x + self.mlp_out(functional.gelu(self.mlp_in(self.mlp_norm(x))))
        return result


class StudentNet(nn.Module):
    """Sound [B, S] -> standardised teacher rows [B, T50, dim]."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(N_MELS, config.width, 3)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2)
        self.place = nn.Parameter(torch.zeros(config.width))
        self.blocks = nn.ModuleList(
            LocalBlock(config.width, config.heads, config.behind, ahead) for ahead in config.ahead
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.dim)
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("std", torch.ones(config.dim))

    def forward(self, samples: Tensor) -> Tensor:
        """Whole sounds with silence around them."""
        return self.rows_out(self.hidden(samples))

    def hidden(self, samples: Tensor) -> Tensor:
        """Rows before the head [B, T50, width]."""
        rows = n_rows(samples.shape[-1])
        before = N_FFT // 2 + MEL_MARGIN * MEL_HOP
        after = max(0, rows * HOP + N_FFT // 2 - samples.shape[-1])
        mel = scaled_mel(functional.pad(samples, (before, after)))
        x = self.rows_of_mel(mel[:, : 2 * rows + 3])
        for block in self.blocks:
            x = block(x)
        return x

    def rows_of_mel(self, mel: Tensor) -> Tensor:
        """Mel frames [B, 2n + 3, 80] -> rows [B, n, width]."""
        x = functional.gelu(self.conv1(mel.transpose(1, 2)))
        rows: Tensor = functional.gelu(self.conv2(x)).transpose(1, 2) + self.place
        return rows

    def rows_out(self, x: Tensor) -> Tensor:
        """Hidden rows -> standardised teacher rows."""
        result: Tensor = self.head(self.norm(x))
        return result

    def raw(self, rows: Tensor) -> Tensor:
        """Standardised rows -> the teacher's scale."""
        result: Tensor = rows * self.std + self.mean  # type: ignore[operator]
        return result


def scaled_mel(samples: Tensor) -> Tensor:
    """Log-mel [B, M, 80] on Whisper's scale for ordinary speech: -0.6 in silence to 1.4."""
    floor = 10.0**MEL_FLOOR
    logs: Tensor = mel_power(samples).clamp_min(floor).log10()
    return (logs + 4) / 4


class StudentFeatures:
    """The student behind the SpeechFeatures protocol."""

    name = "emogene"

    def __init__(self, net: StudentNet) -> None:
        self.net = net.float().eval().requires_grad_(False)
        self.dim = net.config.dim
        self.look_ahead_s = net.config.look_ahead_s

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the weights: what was computed with others must not be taken for this one's."""
        digest = hashlib.blake2b(digest_size=4)
        for values in self.net.state_dict().values():
            digest.update(values.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def __call__(self, audio: Audio) -> FloatArray:
        stream = self.stream()
        return np.concatenate([stream.push(checked_samples(audio)), stream.flush()])

    def stream(self) -> StudentStream:
        """Rows come as soon as their look-ahead is there."""
        return StudentStream(self.net)


class StudentStream:
    """The network on sound that arrives in pieces: each layer keeps what its next rows still need."""

    def __init__(self, net: StudentNet) -> None:
        self.net = net
        self._samples = torch.zeros(1, N_FFT // 2 + MEL_MARGIN * MEL_HOP)
        self._mel = torch.zeros(1, 0, N_MELS)
        self._layers = [_BlockState(block) for block in net.blocks if isinstance(block, LocalBlock)]
        self._n_samples = self._n_rows = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """Take samples [S]; return the rows [n, dim] that became final."""
        self._n_samples += len(samples)
        sound = torch.from_numpy(np.array(samples, np.float32))[None]
        size = PIECE_ROWS * HOP
        starts = range(0, max(1, len(samples)), size)
        return np.concatenate([self._advance(sound[:, k : k + size], last=False) for k in starts])

    def flush(self) -> FloatArray:
        """Return the rows still owed; what is not there counts as silence."""
        need = n_rows(self._n_samples) * HOP + N_FFT // 2 - self._n_samples
        return self._advance(torch.zeros(1, max(0, need)), last=True)

    @torch.inference_mode()
    def _advance(self, samples: Tensor, *, last: bool) -> FloatArray:
        x = self._stem(samples, last)
        for layer in self._layers:
            x = layer.step(x, last)
        rows = self.net.raw(self.net.rows_out(x))
        return np.ascontiguousarray(rows[0].numpy())

    def _stem(self, samples: Tensor, last: bool) -> Tensor:
        """Samples -> mel frames -> rows of the convolutions, as many as are complete."""
        self._samples = torch.cat([self._samples, samples], dim=1)
        n_frames = max(0, (self._samples.shape[1] - N_FFT) // MEL_HOP + 1)
        if n_frames:
            self._mel = torch.cat([self._mel, scaled_mel(self._samples)], dim=1)
            self._samples = self._samples[:, n_frames * MEL_HOP :]
        n = max(0, (self._mel.shape[1] - 3) // 2)
        if last:
            n = min(n, n_rows(self._n_samples) - self._n_rows)
        if n == 0:
            return torch.zeros(1, 0, self.net.config.width)
        rows = self.net.rows_of_mel(self._mel[:, : 2 * n + 3])
        self._mel = self._mel[:, 2 * n :]
        self._n_rows += n
        return rows


class _BlockState:
    """One block's past: keys and values of the rows behind, and rows that wait for those ahead."""

    def __init__(self, block: LocalBlock) -> None:
        self.block = block
        self.waiting: Tensor | None = None
        self.query = self.key = self.value = torch.zeros(0)
        self.first = 0  # place of the first waiting row among the keys

    def step(self, x: Tensor, last: bool) -> Tensor:
        parts = self.block.project(x)
        if self.waiting is None:
            self.waiting, (self.query, self.key, self.value) = x, parts
        else:
            self.waiting = torch.cat([self.waiting, x], dim=1)
            old = (self.query, self.key, self.value)
            self.query, self.key, self.value = (
                torch.cat(pair, dim=2) for pair in zip(old, parts, strict=True)
            )
        n = max(0, self.waiting.shape[1] - (0 if last else self.block.ahead))
        if n == 0:
            return x[:, :0]
        mixed = self.block.attend(self.query[:, :, :n], self.key, self.value, self.first)
        rows = self.block.finish(self.waiting[:, :n], mixed)
        self.waiting, self.query = self.waiting[:, n:], self.query[:, :, n:]
        drop = max(0, self.first + n - self.block.behind)
        self.key, self.value = self.key[:, :, drop:], self.value[:, :, drop:]
        self.first += n - drop
        return rows


def save_student(net: StudentNet, folder: Path) -> None:
    """Write config.json and model.safetensors: matrices as 8-bit integers with a scale per output."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, tensor in net.state_dict().items():
        values = tensor.detach().float().numpy()
        if values.ndim < 2 or name.endswith("distance"):
            arrays[name] = values.astype(np.float32 if name in ("mean", "std") else np.float16)
            continue
        flat = values.reshape(len(values), -1)
        scale = np.maximum(np.abs(flat).max(1), 1e-8) / 127
        arrays[name] = np.round(flat / scale[:, None]).astype(np.int8).reshape(values.shape)
        arrays[f"{name}.scale"] = scale.astype(np.float32)
    save_arrays(folder / "model.safetensors", arrays)
    write_json(folder / "config.json", {"format_version": STUDENT_FORMAT, "student": asdict(net.config)})


def load_student(path: Path | None = None) -> StudentFeatures:
    """Load a folder that save_student wrote; None: the shipped student."""
    folder = SHIPPED if path is None else path
    content = read_json(folder / "config.json")
    check_format_version(content, STUDENT_FORMAT, folder / "config.json")
    fields: dict[str, Any] = content.get("student", {})
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    try:
        net = StudentNet(StudentConfig(**fields))
        net.load_state_dict(_dequantised(load_arrays(folder / "model.safetensors")))
    except (RuntimeError, TypeError, KeyError):
        raise FormatError(
            f"{folder} does not hold a student of this version; build or get it again"
        ) from None
    return StudentFeatures(net)


def _dequantised(arrays: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    state = {}
    for name, array in arrays.items():
        if name.endswith(".scale"):
            continue
        values = array.astype(np.float32)
        if array.dtype == np.int8:
            values *= arrays[f"{name}.scale"].reshape(-1, *[1] * (array.ndim - 1))
        state[name] = torch.from_numpy(values)
    return state
