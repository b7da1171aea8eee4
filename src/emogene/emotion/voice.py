"""``--emotion auto``: the emotion of a voice as a track, by a small head on speech features.

features [T50, F] -> probabilities [N, 8] of overlapping windows -> EmotionTrack. No weights ship: the acted
speech that teaches such a head (RAVDESS and others) may not be passed on with a product. ``emogene train
voice`` makes them from a copy of your own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emogene.emotion.track import EmotionKey, EmotionTrack
from emogene.errors import FormatError, UserError
from emogene.features.extractor import load_extractor
from emogene.io.files import atomic_folder, check_format_version, read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import FEATURE_HZ, N_EMOTIONS, NEUTRAL, Audio, FloatArray

VOICE_FORMAT = 1
LEAST_PROBABILITY = 0.4
"""A window whose best emotion is less likely than this is neutral."""
_PREFIX = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class VoiceConfig:
    """A voice head: what it hears and how large it is."""

    features: str = "whisper-tiny"
    """Name for ``load_extractor``; a middle layer of Whisper keeps the tone of voice."""
    dim: int = 384
    hidden: int = 64
    window_s: float = 3.0
    hop_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.hop_s <= self.window_s:
            raise ValueError(f"hop_s must be within 0..window_s, not {self.hop_s} of {self.window_s}")


class VoiceNet(nn.Module):
    """Pooled features [B, 2 F] -> logits [B, 8]."""

    def __init__(self, config: VoiceConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(2 * config.dim),
            nn.Linear(2 * config.dim, config.hidden),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(config.hidden, N_EMOTIONS),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.layers(rows)
        return logits


def pooled(features: FloatArray) -> FloatArray:
    """Mean and deviation over time, [T50, F] -> [2 F]."""
    rows = np.asarray(features, np.float32)
    return np.concatenate([rows.mean(0), rows.std(0)])


class VoiceEmotion:
    """A trained voice head."""

    def __init__(self, network: VoiceNet, config: VoiceConfig) -> None:
        self.network, self.config = network.eval(), config

    def probabilities(self, features: FloatArray) -> FloatArray:
        """[N, 8] of windows that begin every ``hop_s``; short sound is one window."""
        length, hop = (int(s * FEATURE_HZ) for s in (self.config.window_s, self.config.hop_s))
        starts = range(0, max(len(features) - length, 0) + 1, hop)
        rows = np.stack([pooled(features[start : start + length]) for start in starts])
        with torch.no_grad():
            return np.asarray(self.network(torch.from_numpy(rows)).softmax(-1).numpy())

    def track(self, audio: Audio) -> EmotionTrack:
        """The emotion of 16 kHz sound over time; doses are probabilities, doubtful windows are neutral."""
        chances = self.probabilities(load_extractor(self.config.features)(audio))
        keys: list[EmotionKey] = []
        shown: int | None = None
        for window, row in enumerate(chances):
            best = int(row.argmax())
            best = best if row[best] >= LEAST_PROBABILITY else NEUTRAL
            if best == shown:
                continue
            shown = best
            doses = [0.0] * N_EMOTIONS
            if best != NEUTRAL:
                doses[best] = float(row[best])
            # A window speaks for its middle.
            t_s = 0.0 if window == 0 else window * self.config.hop_s + self.config.window_s / 2
            keys.append(EmotionKey(t_s, tuple(doses)))
        return EmotionTrack(tuple(keys))

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        state = {name: tensor.half().numpy() for name, tensor in self.network.state_dict().items()}
        with atomic_folder(folder) as temporary:
            save_arrays(temporary / "model.safetensors", state)
            header = {"format_version": VOICE_FORMAT, "type": "voice", "model": asdict(self.config)}
            write_json(temporary / "config.json", header)

    @classmethod
    def load(cls, folder: Path) -> VoiceEmotion:
        """Read a folder that ``save`` wrote."""
        header = read_json(folder / "config.json")
        check_format_version(header, VOICE_FORMAT, folder / "config.json")
        if header.get("type") != "voice":
            raise FormatError(
                f"{folder} holds {header.get('type')!r}, not a voice model; give another folder"
            )
        config = VoiceConfig(**header["model"])
        network = VoiceNet(config)
        arrays = load_arrays(folder / "model.safetensors")
        try:
            network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        except RuntimeError:
            raise FormatError(f"{folder} does not fit its config.json; train it again") from None
        return cls(network, config)


def asks_for_auto(text: str) -> bool:
    """Whether an emotion text is ``auto`` or ``auto:FOLDER``."""
    return text.strip().partition(":")[0].strip().lower() == _PREFIX


def track_from_voice(text: str, audio: Audio) -> EmotionTrack:
    """Hear the emotion of ``audio`` with the model that ``auto:FOLDER`` names."""
    folder = text.strip().partition(":")[2].strip()
    if not folder:
        raise UserError(
            "emotion auto needs a model of emotional voices, which the licences of acted speech keep from "
            "shipping; make one with `emogene train voice ravdess FOLDER` and write auto:runs/voice/model"
        )
    return VoiceEmotion.load(Path(folder)).track(audio)
