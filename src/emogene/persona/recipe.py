"""Who a persona is: identity axes, shape details, parts and colours, and the three people that ship."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from emogene.errors import UserError

RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PersonaRecipe:
    """One synthetic person. Colours are sRGB in 0..1; shape weights multiply MakeHuman targets."""

    name: str
    female: float = 1.0
    """0 male .. 1 female."""
    age: Mapping[str, float] = field(default_factory=lambda: {"young": 1.0})
    origin: Mapping[str, float] = field(default_factory=lambda: {"caucasian": 1.0})
    build: str = "averagemuscle-averageweight"
    details: Mapping[str, float] = field(default_factory=dict)
    """Target path below ``targets`` without suffix -> weight; a leading "*-" stands for both sides."""
    hair: str = "long01"
    hair_rgb: RGB = (0.30, 0.22, 0.165)
    hair_strips: bool = True
    """False: only the hair's one large sheet, for cuts whose loose strips stand off the head."""
    hair_cut_mm: float | None = None
    """Cut the hair straight this far above the chin (negative: below); None: as it grows."""
    hair_crown: float = 0.0
    """How much wider the hair gets at the crown."""
    brows: str = "eyebrow001"
    brow_rgb: RGB = (0.20, 0.13, 0.09)
    lashes: str = "eyelashes01"
    eyes: str = "brownlight_eye.png"
    eye_rgb: RGB = (1.0, 1.0, 1.0)
    """Tint of the iris picture."""
    clothes: str = "female_casualsuit01"
    clothes_rgb: RGB = (0.20, 0.27, 0.38)
    skin_rgb: RGB = (0.80, 0.595, 0.485)
    lip_rgb: RGB = (0.72, 0.40, 0.37)
    stubble: float = 0.0
    freckles: float = 0.0
    scalp: float = 0.7
    """How much of the hair's colour the skin takes under and just before the hair, 0..1."""
    background_rgb: RGB = (0.62, 0.66, 0.70)
    seed: int = 1


MARA = PersonaRecipe(
    name="mara",
    hair_strips=False,
    details={
        "head/head-oval": 0.5,
        "head/head-scale-horiz-decr": 0.25,
        "eyebrows/eyebrows-trans-up": 0.45,
        "eyebrows/eyebrows-angle-up": 0.35,
        "nose/nose-scale-horiz-decr": 0.3,
        "nose/nose-point-up": 0.25,
        "mouth/mouth-upperlip-volume-incr": 0.35,
        "mouth/mouth-lowerlip-volume-incr": 0.25,
        "mouth/mouth-angles-up": 0.15,
        "eyes/*-eye-scale-incr": 0.1,
        "cheek/*-cheek-bones-incr": 0.3,
        "chin/chin-width-decr": 0.3,
    },
)
JONAS = PersonaRecipe(
    name="jonas",
    female=0.0,
    age={"young": 0.75, "old": 0.25},
    origin={"african": 0.55, "caucasian": 0.45},
    details={
        "eyebrows/eyebrows-trans-up": 0.45,
        "eyebrows/eyebrows-angle-up": 0.25,
        "mouth/mouth-angles-up": 0.40,
        "head/head-square": 0.15,
        "eyes/*-eye-scale-incr": 0.35,
        "eyes/*-eye-height2-incr": 0.20,
        "chin/chin-height-decr": 0.15,
    },
    hair="short04",
    hair_strips=False,
    hair_rgb=(0.21, 0.18, 0.165),
    brow_rgb=(0.10, 0.07, 0.05),
    eyes="brownlight_eye.png",
    eye_rgb=(0.80, 0.62, 0.48),
    clothes="male_casualsuit02",
    clothes_rgb=(0.34, 0.37, 0.33),
    skin_rgb=(0.565, 0.425, 0.345),
    lip_rgb=(0.54, 0.33, 0.29),
    stubble=0.5,
    scalp=0.2,
    background_rgb=(0.63, 0.60, 0.55),
    seed=2,
)
LENA = replace(
    MARA,
    name="lena",
    age={"young": 0.88, "old": 0.12},
    details={
        **MARA.details,
        "head/head-scale-horiz-decr": 0.35,
        "eyebrows/eyebrows-angle-up": 0.0,
        "eyes/*-eye-scale-incr": 0.42,
        "eyes/*-eye-height2-incr": 0.15,
        "mouth/mouth-angles-up": 0.30,
        "mouth/mouth-upperlip-volume-incr": 0.45,
        "chin/chin-height-decr": 0.30,
    },
    hair_cut_mm=4.0,
    hair_crown=0.34,
    hair_rgb=(0.37, 0.255, 0.175),
    brow_rgb=(0.20, 0.115, 0.07),
    eyes="grey_eye.png",
    eye_rgb=(0.62, 0.64, 0.58),
    skin_rgb=(0.815, 0.61, 0.515),
    lip_rgb=(0.70, 0.355, 0.335),
    clothes_rgb=(0.30, 0.33, 0.36),
    freckles=0.3,
)
"""Hair cut at the chin: all of it turns with the head, which is easier to learn."""
PERSONAS: Mapping[str, PersonaRecipe] = {recipe.name: recipe for recipe in (MARA, JONAS, LENA)}
DEFAULT_PERSONA = LENA.name


def persona_recipe(name: str) -> PersonaRecipe:
    """Look up a built-in persona."""
    if name not in PERSONAS:
        raise UserError(f"no persona is called {name}; there are {', '.join(PERSONAS)}")
    return PERSONAS[name]
