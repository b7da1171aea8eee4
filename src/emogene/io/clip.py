"""The clip folder: one recording of one person, as every data source writes it and training reads it.

clip.json            format_version, fps, n_frames, camera, speaker, source, licence, language, ...
audio.wav            16 kHz mono, as long as the frames
arrays.safetensors   landmarks_cano [T, 68, 3], eyes [T, 4], pose [T, 4, 4], valid [T] uint8, and
                     where known: blendshapes [T, 52] (geometry.blendshapes.ARKIT_52), emotion [T, 8],
                     landmarks_px [T, 68, 2]
phones.json          {"phones": [[start_s, end_s, label], ...]} where known
frames/%06d.jpg      masks/%06d.png (0 background, 1 head, 2 torso)      background.png
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.errors import FormatError
from emogene.io.files import check_format_version, read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.types import FPS, Camera, HeadPose, Motion

CLIP_FORMAT = 1
MASK_BACKGROUND, MASK_HEAD, MASK_TORSO = 0, 1, 2


@dataclass(frozen=True)
class Clip:
    """A clip folder opened for reading. Arrays are in memory, pictures are read when asked for."""

    folder: Path
    n_frames: int
    arrays: dict[str, NDArray[Any]]
    camera: Camera | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def speaker(self) -> str:
        return str(self.about.get("speaker", self.folder.name))

    @property
    def motion(self) -> Motion:
        return Motion(self.arrays["landmarks_cano"], self.arrays["eyes"])

    @property
    def pose(self) -> HeadPose:
        return HeadPose(self.arrays["pose"])

    @property
    def valid(self) -> NDArray[np.bool_]:
        """[T] frames in which the face was found."""
        return np.asarray(self.arrays.get("valid", np.ones(self.n_frames)), dtype=bool)

    @property
    def audio_path(self) -> Path:
        return self.folder / "audio.wav"

    @property
    def background_path(self) -> Path:
        return self.folder / "background.png"

    def frame_path(self, index: int) -> Path:
        return self.folder / "frames" / f"{index:06d}.jpg"

    def mask_path(self, index: int) -> Path:
        return self.folder / "masks" / f"{index:06d}.png"

    @property
    def phones(self) -> list[tuple[float, float, str]]:
        """Phone segments (start_s, end_s, label); empty where unknown."""
        path = self.folder / "phones.json"
        if not path.exists():
            return []
        return [(float(a), float(b), str(label)) for a, b, label in read_json(path)["phones"]]


def write_clip(
    folder: Path,
    arrays: dict[str, NDArray[Any]],
    *,
    camera: Camera | None = None,
    phones: list[tuple[float, float, str]] | None = None,
    **about: Any,
) -> Clip:
    """Write all of a clip but its sound and pictures; ``about`` goes into clip.json as it is."""
    n_frames = len(arrays["landmarks_cano"])
    for name, array in arrays.items():
        if len(array) != n_frames:
            raise ValueError(f"{name} has {len(array)} rows for {n_frames} frames")
    folder.mkdir(parents=True, exist_ok=True)
    save_arrays(folder / "arrays.safetensors", arrays)
    if phones is not None:
        write_json(folder / "phones.json", {"phones": [list(phone) for phone in phones]})
    header: dict[str, Any] = {"format_version": CLIP_FORMAT, "fps": FPS, "n_frames": n_frames}
    header["camera"] = None if camera is None else asdict(camera)
    # Last: a folder with clip.json is complete.
    write_json(folder / "clip.json", header | about)
    return Clip(folder, n_frames, arrays, camera, about)


def open_clip(folder: Path) -> Clip:
    """Open a clip folder, checking its format."""
    if not (folder / "clip.json").exists():
        raise FormatError(
            f"{folder} is not a clip folder; `emogene create --keep-work --work DIR` leaves one in DIR/clip"
        )
    header = read_json(folder / "clip.json")
    check_format_version(header, CLIP_FORMAT, folder / "clip.json")
    arrays = load_arrays(folder / "arrays.safetensors")
    n_frames = int(header.pop("n_frames"))
    if any(len(array) != n_frames for array in arrays.values()):
        raise FormatError(f"{folder}: arrays do not have {n_frames} rows; build the clip again")
    camera = header.pop("camera", None)
    about = {key: value for key, value in header.items() if key not in ("format_version", "fps")}
    return Clip(folder, n_frames, arrays, None if camera is None else Camera(**camera), about)


def clip_folders(root: Path) -> list[Path]:
    """All complete clip folders at or below ``root``, sorted."""
    return sorted(path.parent for path in Path(root).rglob("clip.json"))
