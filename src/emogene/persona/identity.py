"""Head shapes: a point in the space of gender, age, origin, build and local features.

A shape names the MakeHuman targets it adds to the base mesh, so the 68-landmark rig and the full mesh
build the same head from the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

ORIGINS = ("african", "asian", "caucasian")
GENDERS = ("female", "male")
AGES = ("young", "old")
LOCAL_FOLDERS = ("nose", "mouth", "chin", "cheek", "eyes", "eyebrows", "forehead", "head", "ears")
OPPOSITES = (
    ("-incr", "-decr"), ("-up", "-down"), ("-forward", "-backward"), ("-in", "-out"), ("-convex", "-concave"),
    ("-big", "-small"),
)  # fmt: skip
LOCAL_SD, LOCAL_LIMIT = 0.22, 0.5


@dataclass(frozen=True, slots=True)
class HeadShape:
    """A head.

    male: 0 female .. 1 male. age: 0 young adult .. 1 old. origin: weights of ORIGINS, sum 1. muscle, weight:
    0 least .. .5 average .. 1 most. local: {feature: -0.5..0.5}, features as in the rig's ``local`` list.
    """

    male: float = 0.5
    age: float = 0.0
    origin: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    muscle: float = 0.5
    weight: float = 0.5
    local: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def sampled(cls, seed: int, features: tuple[str, ...]) -> HeadShape:
        """Draw a person; ``features`` are the local features that may vary."""
        rng = np.random.default_rng([seed, 17])
        origin = rng.dirichlet((0.5, 0.5, 0.5))
        local = np.clip(rng.normal(0, LOCAL_SD, len(features)), -LOCAL_LIMIT, LOCAL_LIMIT)
        return cls(
            male=float(np.clip(rng.beta(0.35, 0.35), 0, 1)),
            age=float(rng.beta(0.8, 2.0)),
            origin=(float(origin[0]), float(origin[1]), float(origin[2])),
            muscle=float(np.clip(rng.normal(0.5, 0.15), 0, 1)),
            weight=float(np.clip(rng.normal(0.5, 0.15), 0, 1)),
            local={name: float(value) for name, value in zip(features, local, strict=True)},
        )

    def macro_weights(self) -> dict[str, float]:
        """Weights of the macro targets, by file stem."""
        weights: dict[str, float] = {}
        for gender, gender_share in zip(GENDERS, (1 - self.male, self.male), strict=True):
            for age, age_share in zip(AGES, (1 - self.age, self.age), strict=True):
                share = gender_share * age_share
                for origin, origin_share in zip(ORIGINS, self.origin, strict=True):
                    weights[f"{origin}-{gender}-{age}"] = share * origin_share
                for muscle, muscle_share in _levels(self.muscle, "muscle"):
                    for weight, weight_share in _levels(self.weight, "weight"):
                        name = f"universal-{gender}-{age}-{muscle}-{weight}"
                        weights[name] = share * muscle_share * weight_share
        return {name: value for name, value in weights.items() if value > 0}


def macro_names() -> list[str]:
    """File stems of all macro targets a HeadShape may ask for."""
    names = [f"{origin}-{gender}-{age}" for origin in ORIGINS for gender in GENDERS for age in AGES]
    for gender in GENDERS:
        for age in AGES:
            for muscle in ("min", "average", "max"):
                names += [
                    f"universal-{gender}-{age}-{muscle}muscle-{weight}weight"
                    for weight in ("min", "average", "max")
                ]
    return names


def local_pairs(stems: list[str]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Pair target stems of one folder: {feature: (stems that increase it, stems that decrease it)}.

    Left and right targets (``l-``, ``r-``) become one feature without prefix.
    """
    have = set(stems)
    pairs: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for stem in sorted(stems):
        for more, less in OPPOSITES:
            feature = stem.removesuffix(more)
            if feature == stem or feature + less not in have or feature.startswith("r-"):
                continue
            if feature.startswith("l-"):
                right = "r-" + feature[2:]
                pairs[feature[2:]] = ((stem, right + more), (feature + less, right + less))
            else:
                pairs[feature] = ((stem,), (feature + less,))
    return pairs


def _levels(value: float, what: str) -> list[tuple[str, float]]:
    """Shares of min/average/max for a value in 0..1."""
    extreme = ("min" if value < 0.5 else "max") + what
    share = abs(value - 0.5) * 2
    return [("average" + what, 1 - share), (extreme, share)]
