"""Bake ambient occlusion into a kit: how much of the sky each vertex sees, mouth shut and mouth open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emogene.geometry.blendshapes import N_UNITS, units_row
from emogene.persona.kit import Kit
from emogene.persona.mesh import PersonaMesh
from emogene.persona.render_gl import Renderer

OPEN_MOUTH = units_row({"jawOpen": 0.8, "mouthUpperUp": 0.4, "mouthLowerDown": 0.4})
_FLAT_CARDS = 0.8


def bake_occlusion(kit: Kit, n_directions: int = 72) -> Kit:
    """Return the kit with its parts' occlusion filled in."""
    mesh = PersonaMesh(kit)
    blank = {
        name: replace(part, occlusion=np.full((2, len(mesh.parts[name].offset_mm)), 255, np.uint8))
        for name, part in kit.parts.items()
    }
    renderer = Renderer(PersonaMesh(replace(kit, parts=blank)))
    states = [
        renderer.sky_seen(units, _sphere(n_directions))
        for units in (np.zeros(N_UNITS, np.float32), OPEN_MOUTH)
    ]
    parts = {}
    for name, part in kit.parts.items():
        seen = np.stack([state[name] for state in states])
        if name in ("brows", "lashes"):
            # Cards that lie on the skin would shade themselves.
            seen[:] = _FLAT_CARDS
        parts[name] = replace(part, occlusion=np.round(seen * 255).astype(np.uint8))
    return replace(kit, parts=parts)


def _sphere(count: int) -> NDArray[np.float64]:
    """Directions [count, 3] spread evenly over the sphere (Fibonacci)."""
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, index * np.pi * (1 + 5**0.5)
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], 1)
