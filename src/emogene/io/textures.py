"""Pictures kept inside other files: RGBA arrays <-> compressed bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from emogene.errors import FormatError
from emogene.types import ByteArray


def read_rgba(path: Path, size: int | None = None) -> ByteArray:
    """Read any picture as [H, W, 4]; ``size`` resizes it to a square."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            rgba = image.convert("RGBA")
    except OSError as error:
        raise FormatError(f"cannot read picture {path}: {error}") from None
    if size is not None:
        rgba = rgba.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(rgba)


def encode_texture(rgba: ByteArray, quality: int = 90) -> ByteArray:
    """Compress [H, W, 3 or 4] to WebP bytes [B]; colours below transparent pixels are kept."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "WEBP", quality=quality, method=6, exact=True)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def decode_texture(data: ByteArray) -> ByteArray:
    """Expand bytes of :func:`encode_texture` to [H, W, 4]."""
    from PIL import Image

    with Image.open(io.BytesIO(data.tobytes())) as image:
        return np.asarray(image.convert("RGBA"))
