"""Which points of the hm08 mesh are the 68 landmarks: [68] vertices -> [68, 2] mirror-image pairs.

One table serves the landmark rig (the corpus) and the persona kits (the portraits), so that a motion learned
from one means the same on the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emogene.geometry.landmarks import MIRROR

# fmt: off
LANDMARK_VERTEX = np.array([
    268, 868, 5246, 910, 5241, 5240, 915, 917, 732, 917, 7617, 5240, 11850, 7612, 5246, 868, 268,
    261, 207, 206, 205, 208, 6983, 6953, 6981, 6982, 7030,                                    # brows
    6910, 131, 291, 7063, 394, 331, 7075, 7114, 7143,                                         # nose
    6779, 1057, 1099, 69, 1096, 6776, 13365, 13359, 7775, 7807, 7785, 7788,                   # eyes
    3735, 5354, 456, 466, 7215, 11953, 7182, 7235, 7241, 492, 486, 480,                       # outer lip
    433, 522, 520, 7268, 433, 7279, 540, 534,                                                 # inner lip
])
# fmt: on
"""hm08 vertex of each landmark: the one nearest to the face mesh's point on the rendered neutral head. Where
that leaves the depth of the jaw line open or the two sides disagree, it is set by hand on the right and the
left one follows. The inner lip lies a little inside: on its rim, protruding lips (mouthFunnel) part further
than a tracker sees (lip opening r .92 on portrait clips, .935 here)."""
_LEFT_FOLLOWS = {16: 0, 15: 1, 14: 2, 11: 5, 9: 7, 64: 60}


def landmark_vertices(mirror: NDArray[np.int64]) -> NDArray[np.int64]:
    """The two vertices [68, 2] whose mean is each landmark: its own, and its partner's on the other side.

    ``mirror`` [n] is the mesh's table of mirror-image vertices.
    """
    own = LANDMARK_VERTEX.copy()
    for left, right in _LEFT_FOLLOWS.items():
        own[left] = mirror[own[right]]
    return np.stack([own, mirror[own[MIRROR]]], 1)
