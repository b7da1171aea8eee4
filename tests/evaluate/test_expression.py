"""The expression judge: rules on known faces, the share of contempt, and the nets where they were fetched."""

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.evaluate.expression import ExpressionJudge, confusion, rule_probabilities, with_contempt
from emogene.evaluate.nets.fer import INPUT_PX, LABELS, Fer
from emogene.geometry.blendshapes import ARKIT_52
from emogene.types import EMOTIONS


def face(**units: float) -> np.ndarray:
    shapes = np.zeros(52, np.float32)
    for name, value in units.items():
        shapes[ARKIT_52.index(name)] = value
    return shapes


@pytest.mark.parametrize(
    ("label", "units"),
    [
        ("neutral", {}),
        ("happy", {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.4}),
        ("sad", {"mouthFrownLeft": 0.7, "mouthFrownRight": 0.7, "browInnerUp": 0.5}),
        ("angry", {"browDownLeft": 0.8, "browDownRight": 0.8, "mouthPressLeft": 0.4}),
        ("disgust", {"noseSneerLeft": 0.8, "noseSneerRight": 0.8, "mouthUpperUpLeft": 0.4}),
        ("surprise", {"browOuterUpLeft": 0.8, "browOuterUpRight": 0.8, "browInnerUp": 0.6, "jawOpen": 0.5}),
        ("contempt", {"mouthSmileLeft": 0.8, "mouthDimpleLeft": 0.5}),
    ],
)
def test_prototypes_are_named(label: str, units: dict[str, float]) -> None:
    probabilities = rule_probabilities(face(**units))
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert EMOTIONS[int(probabilities.argmax())] == label


def test_contempt_is_taken_from_the_rules_alone() -> None:
    nets = np.full(8, 1 / 7, np.float32)
    nets[EMOTIONS.index("contempt")] = 0
    rules = np.zeros(8, np.float32)
    rules[EMOTIONS.index("contempt")] = 0.6
    mixed = with_contempt(nets, rules)
    assert mixed.sum() == pytest.approx(1) and EMOTIONS[int(mixed.argmax())] == "contempt"


def test_confusion_has_true_labels_in_rows() -> None:
    table = confusion(["happy", "happy", "sad"], ["happy", "sad", "sad"])
    assert table[EMOTIONS.index("happy"), EMOTIONS.index("sad")] == 1 and table.sum() == 3


@pytest.mark.skipif(not is_present("fer"), reason="the second expression net was not fetched")
def test_the_second_net_reproduces_its_published_graph() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (INPUT_PX, INPUT_PX, 3), dtype=np.uint8)
    found = dict(zip(LABELS, Fer().probabilities(picture).tolist(), strict=True))
    # From the layers in the file itself, read with h5py and run one by one.
    assert found["happy"] == pytest.approx(0.6632809, abs=1e-4)
    assert found["sad"] == pytest.approx(0.1984465, abs=1e-4)


@pytest.mark.skipif(not is_present("face-expression"), reason="the expression net was not fetched")
def test_a_crop_too_small_for_the_nets_is_judged_by_rules() -> None:
    mesh = np.zeros((478, 3), np.float32)
    happy = np.zeros(52, np.float32)
    score = ExpressionJudge().score(np.zeros((40, 40, 3), np.uint8), mesh, happy)
    assert score.shape == (8,) and EMOTIONS[int(score.argmax())] == "neutral"
