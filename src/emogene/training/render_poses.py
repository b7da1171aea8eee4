"""Head poses that training found for a clip, kept beside it: training and evaluation must agree about them.

heads.safetensors of a clip folder: frames [N], their tracked poses [N, 4, 4] and the registered ones
(``render_register``). It counts only as long as the clip's tracked poses are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from emogene.io.clip import Clip
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import FloatArray

Array = NDArray[np.float64]


def registered_poses(clip: Clip, index: NDArray[np.intp]) -> FloatArray:
    """Poses [N, 4, 4] of frames ``index`` of the clip: as they were registered, else as they were tracked.

    Frames between registered ones get their neighbours' correction.
    """
    tracked = np.asarray(clip.arrays["pose"], np.float32)
    kept = _kept(clip)
    if kept is None:
        return tracked[index]
    change = change_of(kept["tracked"], kept["pose"])
    between = np.stack([np.interp(index, kept["frames"], column) for column in change.T], 1)
    return changed(tracked[index], between)


def are_registered(clip: Clip) -> bool:
    """Whether the clip's poses, as they are tracked now, were registered before."""
    return _kept(clip) is not None


def keep_poses(clip: Clip, index: NDArray[np.intp], poses: FloatArray) -> None:
    """Write what ``registered_poses`` reads: training and evaluation must agree about heads."""
    tracked = np.asarray(clip.arrays["pose"], np.float32)[index]
    save_arrays(_path(clip), {"frames": index, "tracked": tracked, "pose": poses})


def _path(clip: Clip) -> Path:
    return clip.folder / "heads.safetensors"


def _kept(clip: Clip) -> dict[str, NDArray[Any]] | None:
    """The file, where it is of the clip's present poses."""
    if not _path(clip).exists():
        return None
    kept, tracked = load_arrays(_path(clip)), np.asarray(clip.arrays["pose"], np.float32)
    frames = kept["frames"]
    same = frames[-1] < len(tracked) and np.allclose(kept["tracked"], tracked[frames], atol=1e-6)
    return kept if same else None


def change_of(before: FloatArray, after: FloatArray | Array) -> Array:
    """Rotation vector about the head's origin and shift, [N, 6], from poses to poses."""
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    turn = Rotation.from_matrix(second[:, :3, :3] @ np.swapaxes(first[:, :3, :3], 1, 2)).as_rotvec()
    return np.concatenate([turn, second[:, :3, 3] - first[:, :3, 3]], 1)


def changed(poses: FloatArray | Array, change: Array) -> FloatArray:
    """Undo ``change_of``: poses [N, 4, 4], moved."""
    moved = np.array(poses, np.float64)
    moved[:, :3, :3] = Rotation.from_rotvec(change[:, :3]).as_matrix() @ moved[:, :3, :3]
    moved[:, :3, 3] += change[:, 3:]
    return moved.astype(np.float32)
