"""The built-in speech features `emogene`: a small causal network that stands in for Whisper's layer 4.

Sound [S] at 16 kHz -> [T50, 512]. Log-mel at 100 Hz with a fixed scale (nothing is normalised over a clip,
so a row depends on its neighbourhood alone), a strided layer to 50 Hz, then residual blocks of a dilated
depthwise convolution and a small MLP. It sees 2.1 s of the past and 222 ms of the future, so it streams
exactly: every layer keeps the rows that its next outputs still need. It is distilled from
``features.whisper`` by ``training.features``, hearing noise, rooms and other levels where the teacher
heard the clean voice: noise alone looks like silence to it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from emogene.errors import FormatError
from emogene.features.extractor import checked_samples, n_rows
from emogene.features.mel import MEL_HOP, N_FFT, N_MELS, mel_power
from emogene.io.files import check_format_version, read_json
from emogene.io.tensors import load_arrays
from emogene.types import FEATURE_HZ, SAMPLE_RATE_HZ, Audio, FloatArray

SHIPPED = Path(__file__).parent.parent / "weights" / "features"
STUDENT_FORMAT = 1
MEL_FLOOR = 1e-7
"""Added to the mel power: hiss of -80 dB and digital silence look alike."""
DEPTHWISE_TAPS = 7
FEW_ROWS = 16
"""Up to so many rows, products of shifted rows are faster than a convolution (20 against 100 us)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentConfig:
    """Sizes. One block per dilation; ahead: rows of the future that each block's convolution sees."""

    dim: int = 512
    width: int = 256
    expansion: int = 2
    dilations: tuple[int, ...] = (1, 1, 2, 1, 4, 1, 8, 1)
    ahead: tuple[int, ...] = (3, 2, 2, 1, 0, 1, 0, 1)

    def __post_init__(self) -> None:
        if len(self.dilations) != len(self.ahead):
            raise ValueError(f"dilations {self.dilations} and ahead {self.ahead} must be equally long")
        if self.look_ahead_s > 0.24:
            raise ValueError(f"a look-ahead of {self.look_ahead_s:.3f} s is more than 0.24 s; lower `ahead`")

    @property
    def look_ahead_s(self) -> float:
        """Half a mel window, one mel frame for the stride, and the blocks' rows."""
        return N_FFT / 2 / SAMPLE_RATE_HZ + MEL_HOP / SAMPLE_RATE_HZ + sum(self.ahead) / FEATURE_HZ

    @property
    def left_rows(self) -> int:
        """Rows of the past that one output row depends on."""
        return sum((DEPTHWISE_TAPS - 1) * d - a for d, a in zip(self.dilations, self.ahead, strict=True))


def tiny() -> StudentConfig:
    """For tests."""
    return StudentConfig(dim=16, width=16, expansion=1, dilations=(1, 2), ahead=(2, 0))


def standard() -> StudentConfig:
    """What ships: 2.4 million weights."""
    return StudentConfig()


class StudentBlock(nn.Module):
    """x + MLP(norm(depthwise(x))), on rows that come with their context."""

    def __init__(self, width: int, expansion: int, dilation: int, ahead: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.ahead = ahead
        self.behind = (DEPTHWISE_TAPS - 1) * dilation - ahead
        self.taps = nn.Parameter(torch.randn(DEPTHWISE_TAPS, width) * 0.3)
        self.norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, expansion * width)
        self.mlp_out = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, behind + n + ahead, C] -> [B, n, C]."""
        n = x.shape[1] - self.behind - self.ahead
        hidden = functional.gelu(self.mlp_in(self.norm(self._mixed(x, n))))
        result: Tensor = x[:, self.behind : self.behind + n] + self.mlp_out(hidden)
        return result

    def _mixed(self, x: Tensor, n: int) -> Tensor:
        """The depthwise convolution, [B, n, C]."""
        if n > FEW_ROWS:
            weights = self.taps.T[:, None]
            mixed = functional.conv1d(x.transpose(1, 2), weights, dilation=self.dilation, groups=x.shape[2])
            return mixed.transpose(1, 2)
        span = (DEPTHWISE_TAPS - 1) * self.dilation + 1
        return (x.unfold(1, span, 1)[..., :: self.dilation] * self.taps.T).sum(-1)


class StudentNet(nn.Module):
    """Log-mel [B, M, 80] -> standardised teacher rows [B, T50, dim]."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Linear(3 * N_MELS, config.width)
        self.blocks = nn.ModuleList(
            StudentBlock(config.width, config.expansion, dilation, ahead)
            for dilation, ahead in zip(config.dilations, config.ahead, strict=True)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.dim)
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("std", torch.ones(config.dim))

    def forward(self, samples: Tensor) -> Tensor:
        """Whole sounds [B, S] with silence around them -> standardised rows [B, T50, dim]."""
        rows = n_rows(samples.shape[-1])
        # Mel frames -1 .. 2 rows - 1: row t is made of frames 2t - 1, 2t, 2t + 1.
        before = N_FFT // 2 + MEL_HOP
        after = max(0, 2 * rows * MEL_HOP - MEL_HOP + N_FFT // 2 + MEL_HOP - samples.shape[-1])
        padded = functional.pad(samples, (before, after))
        x = self.rows_of_mel(scaled_mel(padded)[:, : 2 * rows + 1])
        for block in self.blocks:
            assert isinstance(block, StudentBlock)
            x = block(functional.pad(x, (0, 0, block.behind, block.ahead)))
        return self.rows_out(x)

    def rows_of_mel(self, mel: Tensor) -> Tensor:
        """Mel frames [B, 2n + 1, 80] -> rows [B, n, C]: three frames each, two steps apart."""
        joined = mel.unfold(1, 3, 2).flatten(2)
        rows: Tensor = functional.gelu(self.stem(joined))
        return rows

    def rows_out(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.norm(x))
        return result

    def raw(self, rows: Tensor) -> Tensor:
        """Standardised rows -> the teacher's scale."""
        result: Tensor = rows * self.std + self.mean  # type: ignore[operator]
        return result


def scaled_mel(samples: Tensor) -> Tensor:
    """Log-mel [B, M, 80] on a fixed scale: about 0 for silence to 2.5 for loud speech."""
    return ((mel_power(samples) + MEL_FLOOR).log10() + 7) / 4


class StudentFeatures:
    """The student behind the SpeechFeatures protocol."""

    name = "emogene"

    def __init__(self, net: StudentNet) -> None:
        self.net = net.float().eval().requires_grad_(False)
        self.dim = net.config.dim
        self.look_ahead_s = net.config.look_ahead_s

    def __call__(self, audio: Audio) -> FloatArray:
        stream = self.stream()
        samples = checked_samples(audio)
        # In pieces, so that hours of sound need no more memory than their features.
        pieces = [stream.push(samples[k : k + 60 * SAMPLE_RATE_HZ]) for k in range(0, len(samples), 960_000)]
        return np.concatenate([*pieces, stream.flush()])

    def stream(self) -> StudentStream:
        return StudentStream(self.net)


class StudentStream:
    """Layer by layer streaming: each layer holds the input rows its next output needs."""

    def __init__(self, net: StudentNet) -> None:
        self.net = net
        self._samples = torch.zeros(1, N_FFT // 2 + MEL_HOP)
        self._mel = torch.zeros(1, 0, N_MELS)
        self._held = [torch.zeros(1, block.behind, net.config.width) for block in self._blocks()]
        self._n_samples = self._n_stem = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """Take samples [S]; return the rows [n, dim] that became final."""
        self._n_samples += len(samples)
        return self._advance(torch.from_numpy(np.array(samples, np.float32))[None], last=False)

    def flush(self) -> FloatArray:
        """Return the rows still owed; what is not there counts as silence."""
        need = (2 * n_rows(self._n_samples) - 1) * MEL_HOP + N_FFT // 2 + MEL_HOP
        return self._advance(torch.zeros(1, max(0, need - self._n_samples)), last=True)

    def _blocks(self) -> list[StudentBlock]:
        return [block for block in self.net.blocks if isinstance(block, StudentBlock)]

    @torch.inference_mode()
    def _advance(self, samples: Tensor, *, last: bool) -> FloatArray:
        x = self._stem(samples, last)
        for index, block in enumerate(self._blocks()):
            parts = [self._held[index], x]
            if last:
                parts.append(torch.zeros(1, block.ahead, x.shape[2]))
            known = torch.cat(parts, dim=1)
            n = known.shape[1] - block.behind - block.ahead
            x = block(known) if n > 0 else known[:, :0]
            self._held[index] = known[:, max(0, n) :]
        rows = self.net.raw(self.net.rows_out(x))
        return np.ascontiguousarray(rows[0].numpy())

    def _stem(self, samples: Tensor, last: bool) -> Tensor:
        """Samples -> mel frames -> first layer's rows, as many as are complete."""
        self._samples = torch.cat([self._samples, samples], dim=1)
        n_frames = max(0, (self._samples.shape[1] - N_FFT) // MEL_HOP + 1)
        if n_frames:
            self._mel = torch.cat([self._mel, scaled_mel(self._samples)], dim=1)
            self._samples = self._samples[:, n_frames * MEL_HOP :]
        n = max(0, (self._mel.shape[1] - 1) // 2)
        if last:
            n = min(n, n_rows(self._n_samples) - self._n_stem)
        if n == 0:
            return torch.zeros(1, 0, self.net.config.width)
        rows = self.net.rows_of_mel(self._mel[:, : 2 * n + 1])
        self._mel = self._mel[:, 2 * n :]
        self._n_stem += n
        return rows


def load_student(path: Path | None = None) -> StudentFeatures:
    """Load config.json and model.safetensors of a folder; None: the shipped student."""
    folder = SHIPPED if path is None else path
    config = read_json(folder / "config.json")
    check_format_version(config, STUDENT_FORMAT, folder / "config.json")
    net = StudentNet(config_of(config["student"]))
    state = {
        name: torch.from_numpy(array).float()
        for name, array in load_arrays(folder / "model.safetensors").items()
    }
    try:
        net.load_state_dict(state)
    except RuntimeError:
        raise FormatError(f"{folder} holds weights of another size than its config.json says") from None
    return StudentFeatures(net)


def config_of(fields: dict[str, Any]) -> StudentConfig:
    """StudentConfig from JSON."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return StudentConfig(**values)


def config_json(config: StudentConfig) -> dict[str, Any]:
    """StudentConfig as JSON, with the format version."""
    return {"format_version": STUDENT_FORMAT, "student": asdict(config)}
