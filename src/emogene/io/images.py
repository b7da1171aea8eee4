"""Pictures in and out: uint8 [H, W, 3] rgb and uint8 [H, W] label masks, always contiguous."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emogene.errors import MediaError
from emogene.io.files import atomic_path
from emogene.types import ByteArray


def read_rgb(path: Path) -> ByteArray:
    """Read any picture as rgb, upright (EXIF orientation applied), transparency dropped."""
    from PIL import ImageOps

    return np.array(ImageOps.exif_transpose(_open(path)).convert("RGB"), dtype=np.uint8)


def write_rgb(path: Path, image: ByteArray, quality: int = 95) -> None:
    """Write rgb or rgba atomically; the format follows the suffix (.png, .jpg, .webp).

    JPEG keeps full colour resolution: at 4:2:0 red lips bleed.
    """
    from PIL import Image

    options: dict[str, Any] = {"quality": quality}
    if Path(path).suffix.lower() in (".jpg", ".jpeg"):
        options["subsampling"] = 0
        image = image[..., :3]
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, **options)


def read_mask(path: Path) -> ByteArray:
    """Read a label mask [H, W]: the numbers that write_mask wrote."""
    picture = _open(path)
    return np.array(picture if picture.mode in ("L", "P") else picture.convert("L"), dtype=np.uint8)


def write_mask(path: Path, mask: ByteArray) -> None:
    """Write labels [H, W] as PNG, losslessly and atomically."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8)).save(temporary, format="PNG")


def resize(image: ByteArray, width: int, height: int) -> ByteArray:
    """Resize rgb, rgba or grey with a Lanczos filter that averages when it shrinks."""
    return _resized(image, width, height, labels=False)


def resize_mask(mask: ByteArray, width: int, height: int) -> ByteArray:
    """Resize labels by the nearest pixel, so that no label is invented."""
    return _resized(mask, width, height, labels=True)


def _resized(image: ByteArray, width: int, height: int, *, labels: bool) -> ByteArray:
    from PIL import Image

    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    method = Image.Resampling.NEAREST if labels else Image.Resampling.LANCZOS
    return np.array(
        Image.fromarray(np.ascontiguousarray(image)).resize((width, height), method), dtype=np.uint8
    )


def _open(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(path)
        picture.load()
    except UnidentifiedImageError:
        raise MediaError(f"{path} is not a picture; give a PNG or JPEG file") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"cannot read the picture {path} ({reason}); copy it again") from None
    return picture
