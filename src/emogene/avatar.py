"""The avatar bundle: everything that makes a particular person, as a folder or a zip that people share.

avatar.json             format_version, name, synthetic, licence, consent, dose limits, how it was made
identity.safetensors    neutral face, motion statistics and the bank of the person's own motion
pose.safetensors        rest pose, head-motion statistics, a recorded head-pose take where known
portrait/               head field, torso and decoder (config.json, model.safetensors)
background.png  preview.png  README.md (the card)
motion/  emotion/       only where the person has own weights; else the package's defaults serve
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emogene.errors import FormatError, UserError
from emogene.io.files import atomic_folder, check_format_version, read_json, write_json
from emogene.io.tensors import load_arrays, save_arrays
from emogene.pose.bank import PoseBank
from emogene.render.portrait import Portrait
from emogene.types import EMOTIONS, FloatArray, Identity

AVATAR_FORMAT = 1
BUILT_IN = "lena"
IDENTITY_ARRAYS = ("neutral_cano", "offset_std", "offset_low", "offset_high", "bank")


@dataclass(frozen=True)
class AvatarCard:
    """What must be said of an avatar.

    synthetic: no real person. consent: the statement of the person shown; empty only where synthetic.
    dose_limits: emotion label -> highest dose that still looks right on this person; labels without
        one have no limit.
    emotions_known: emotion label -> share of it, 0..1, that the person's video showed; what it did not show
        bends the face, but the portrait's networks do not hear of it. Labels without one are known.
    made_by: how it was built (command, source hash, seconds, quality), for the reader of the card.
    """

    name: str
    synthetic: bool = False
    licence: str = "all rights reserved by the person shown"
    consent: str = ""
    dose_limits: dict[str, float] = field(default_factory=dict)
    emotions_known: dict[str, float] = field(default_factory=dict)
    made_by: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.synthetic and not self.consent.strip():
            raise UserError(
                f"avatar {self.name!r} shows a real person: give their statement with --consent"
                ' (for example --consent "I am the person shown and agree")'
            )

    def known_share(self, weights: FloatArray) -> FloatArray:
        """Share of the emotion of frames with ``weights`` [T, 8] that the person's video showed, [T]."""
        felt = weights * (np.arange(len(EMOTIONS)) != EMOTIONS.index("neutral"))
        known = np.array([self.emotions_known.get(label, 1.0) for label in EMOTIONS], np.float32)
        return np.asarray((felt * known).sum(1) / np.maximum(felt.sum(1), 1e-6), np.float32)


@dataclass(frozen=True)
class Avatar:
    """A person ready to speak. ``folder`` is where own motion or emotion weights would lie."""

    card: AvatarCard
    identity: Identity
    pose: PoseBank
    portrait: Portrait
    folder: Path | None = None

    def component(self, name: str) -> Path | None:
        """Folder of the person's own ``motion`` or ``emotion`` weights, None where it has none."""
        if self.folder is None or not (self.folder / name / "config.json").exists():
            return None
        return self.folder / name

    def save(self, folder: Path) -> None:
        """Write the bundle; an avatar already there is replaced as a whole."""
        with atomic_folder(folder) as temporary:
            write_json(temporary / "avatar.json", {"format_version": AVATAR_FORMAT, **asdict(self.card)})
            arrays = {name: getattr(self.identity, name) for name in IDENTITY_ARRAYS}
            arrays["bank"] = arrays["bank"].astype(np.float16)
            save_arrays(temporary / "identity.safetensors", arrays)
            save_arrays(temporary / "pose.safetensors", self.pose.arrays())
            self.portrait.save(temporary / "portrait")
            (temporary / "README.md").write_text(_readme(self.card))

    @classmethod
    def load(cls, name_or_path: str | Path = BUILT_IN) -> Avatar:
        """Open the avatar of that name, or the bundle (folder or zip) at that path."""
        folder = find_avatar(name_or_path)
        header = read_json(folder / "avatar.json")
        check_format_version(header, AVATAR_FORMAT, folder / "avatar.json")
        header.pop("format_version")
        arrays = load_arrays(folder / "identity.safetensors")
        try:
            identity = Identity(**{key: arrays[key].astype(np.float32) for key in IDENTITY_ARRAYS})
            card = AvatarCard(**header)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{folder} is damaged ({error}); create or copy the avatar again") from None
        return cls(
            card,
            identity,
            PoseBank.from_arrays(load_arrays(folder / "pose.safetensors")),
            Portrait.load(folder / "portrait"),
            folder,
        )


def built_in_folder() -> Path:
    """The avatars that ship with the package."""
    return Path(__file__).parent / "weights" / "avatars"


def user_folder() -> Path:
    """The user's own avatars: $EMOGENE_AVATARS, else emogene/avatars in the user's data folder."""
    if "EMOGENE_AVATARS" in os.environ:
        return Path(os.environ["EMOGENE_AVATARS"])
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "emogene" / "avatars"


def list_avatars() -> list[Path]:
    """Folders of all avatars that can be named, the user's first."""
    roots = [user_folder(), built_in_folder()]
    return [path.parent for root in roots for path in sorted(root.glob("*/avatar.json"))]


def find_avatar(name_or_path: str | Path) -> Path:
    """Folder of an avatar given by name or by path; a zip is unpacked for as long as the program runs."""
    for root in (user_folder(), built_in_folder()):
        if (root / str(name_or_path) / "avatar.json").exists():
            return root / str(name_or_path)
    path = Path(name_or_path)
    if (path / "avatar.json").exists():
        return path
    if path.is_file():
        return _unpacked(path)
    if path.is_dir():
        raise FormatError(f"{path} holds no avatar.json: it is not an avatar bundle")
    names = ", ".join(folder.name for folder in list_avatars()) or "none"
    raise UserError(f"there is no avatar {str(name_or_path)!r}; at hand: {names}; `emogene create` makes one")


def _unpacked(path: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="emogene-avatar-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as bundle:
            for entry in bundle.infolist():
                inside = (folder / entry.filename).resolve().is_relative_to(folder.resolve())
                if not inside or entry.file_size > 1 << 30:
                    raise FormatError(f"{path} holds the unsafe entry {entry.filename!r}; not unpacked")
            bundle.extractall(folder)
    except zipfile.BadZipFile:
        raise FormatError(f"{path} is neither an avatar folder nor a whole zip of one") from None
    for candidate in (folder, *sorted(folder.iterdir())):
        if (candidate / "avatar.json").exists():
            return candidate
    raise FormatError(f"{path} holds no avatar.json: it is not an avatar bundle")


def _readme(card: AvatarCard) -> str:
    kind = "a synthetic human, no real person" if card.synthetic else "a real person"
    facts = "\n".join(f"- {key}: {value}" for key, value in card.made_by.items())
    consent = "" if card.synthetic else f"\nConsent: {card.consent}\n"
    return f"# {card.name}\n\nAn emogene avatar of {kind}.\n{consent}\nLicence: {card.licence}\n\n{facts}\n"
