"""An emotion model for everybody else: numpy in, numpy out, any length, any window, seeded variation.

offsets [T, 68, 3] + weights [T, 8] -> EmotionalMotion. An output frame depends on ``context_frames`` before
it and ``look_ahead_frames`` behind it, so a stream that passes those gets what the whole take gets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emogene.emotion.gape import REACH_FRAMES as GAPE_REACH_FRAMES
from emogene.emotion.gape import gape
from emogene.emotion.lips import REACH_FRAMES, keep_contacts
from emogene.emotion.model import EmotionConfig, EmotionNet, PaperNet, build
from emogene.emotion.variation import Performance
from emogene.errors import FormatError
from emogene.geometry.landmarks import LEFT_EYE, RIGHT_EYE
from emogene.io.files import atomic_folder, check_format_version, read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import N_EMOTIONS, N_LANDMARKS, NEUTRAL, FloatArray

EMOTION_FORMAT = 2
"""1 knew no gaze."""
SHIPPED = Path(__file__).parents[1] / "weights" / "emotion"


@dataclass(frozen=True, slots=True)
class EmotionalMotion:
    """What an emotion makes of a neutral motion.

    offsets: [T, 68, 3] emotional offsets from the neutral face. eyes_delta: [T, 2] change of the eyes'
    openness (left, right; +.3 is 30 % wider). gaze_delta: [T, 2] turn of the eyes relative to the head (yaw
    to the person's left, pitch up, rad): sadness looks down. head_style: [T, 4] tilt of the head (pitch, yaw,
    roll in rad) and factor on its movement.
    """

    offsets: FloatArray
    eyes_delta: FloatArray
    gaze_delta: FloatArray
    head_style: FloatArray


class EmotionModel:
    """A trained emotion network, ready to act."""

    def __init__(self, network: EmotionNet | PaperNet) -> None:
        self.network = network.eval()
        self._guards_lips = isinstance(network, EmotionNet)
        """The published model knows no contacts."""

    @property
    def look_ahead_frames(self) -> int:
        """Future frames an output frame depends on (at most 6)."""
        reach = max(REACH_FRAMES, GAPE_REACH_FRAMES) if self._guards_lips else 0
        return max(self.network.look_ahead_frames, reach)

    @property
    def context_frames(self) -> int:
        """Past frames an output frame depends on."""
        return self.look_ahead_frames

    def apply(
        self,
        offsets: FloatArray,
        weights: FloatArray,
        *,
        seed: int = 0,
        start_frame: int = 0,
        variation: float = 1.0,
    ) -> EmotionalMotion:
        """Act.

        Args:
            offsets: [T, 68, 3] neutral motion from the neutral face, canonical units, eyes open.
            weights: [T, 8] of ``EmotionTrack.weights``.
            seed: chooses the performance: how brows, mouth and sides share the expression.
            start_frame: absolute number of the first frame, for windows.
            variation: size of the seed's influence, 0 for the average performance.

        Returns:
            The emotional motion; where all weights but neutral's are 0 it is exactly the input.
        """
        offsets = np.asarray(offsets, np.float32)
        if offsets.ndim != 3 or offsets.shape[1:] != (N_LANDMARKS, 3) or weights.shape != (len(offsets), 8):
            raise ValueError(f"offsets [T, 68, 3] and weights [T, 8], not {offsets.shape}, {weights.shape}")
        doses = np.array(weights, np.float32)
        doses[:, NEUTRAL] = 0.0
        if len(offsets) == 0 or not doses.any():
            still = np.zeros((len(offsets), 2), np.float32)
            return EmotionalMotion(offsets, still, still, _head_style(doses, self.network.head_style))
        performance = Performance.of(seed, self.network.config.style_dim, variation)
        with torch.inference_mode():
            moved, eyes = self.network(
                torch.from_numpy(offsets)[None],
                torch.from_numpy(doses)[None],
                torch.from_numpy(performance.style)[None],
            )
        gains = performance.gains_at(start_frame, len(offsets))
        emotional = offsets + moved[0].numpy() * gains[:, :, None]
        # Lids and the eye stream tell of the same eyes: columns left, right.
        eyes_delta = eyes[0].numpy() * gains[:, (LEFT_EYE.start, RIGHT_EYE.start)]
        if self._guards_lips:
            emotional = keep_contacts(offsets, gape(offsets, emotional, doses))
        gaze = np.asarray(doses @ self.network.gaze.numpy(), np.float32)
        return EmotionalMotion(emotional, eyes_delta, gaze, _head_style(doses, self.network.head_style))

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors (half precision)."""
        state = {name: tensor.half().cpu().numpy() for name, tensor in self.network.state_dict().items()}
        header = {"format_version": EMOTION_FORMAT, "type": "emotion", "model": asdict(self.network.config)}
        with atomic_folder(folder) as temporary:
            save_arrays(temporary / "model.safetensors", state)
            write_json(temporary / "config.json", header)

    @classmethod
    def load(cls, folder: Path | None = None) -> EmotionModel:
        """Read a model folder; None: the weights that ship with the package."""
        folder = SHIPPED if folder is None else Path(folder)
        header = read_json(folder / "config.json")
        check_format_version(header, EMOTION_FORMAT, folder / "config.json")
        if header.get("type") != "emotion":
            raise FormatError(
                f"{folder} holds {header.get('type')!r}, not an emotion model; give another folder"
            )
        unknown = set(header["model"]) - {field.name for field in fields(EmotionConfig)}
        if unknown:
            raise FormatError(f"{folder}/config.json has unknown fields {sorted(unknown)}; upgrade emogene")
        network = build(EmotionConfig(**header["model"]))
        arrays = load_arrays(folder / "model.safetensors")
        if header["format_version"] == 1:
            arrays["gaze"] = np.zeros((N_EMOTIONS, 2), np.float16)
        try:
            network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise FormatError(f"{folder} does not fit its config.json ({reason}); build it again") from None
        return cls(network)


def _head_style(doses: FloatArray, table: Tensor) -> FloatArray:
    """Mix the network's table [8, 4] by doses [T, 8]; the amplitude column is a factor."""
    styles = doses @ table.numpy()
    styles[:, 3] += 1.0
    return np.asarray(styles, np.float32)
