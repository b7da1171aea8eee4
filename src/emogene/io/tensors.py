"""Named arrays on disk as safetensors: no pickle anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.errors import FormatError
from emogene.io.files import atomic_path


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays atomically."""
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read named arrays; a missing or damaged file is the user's error."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise FormatError(f"{path} is damaged ({error}); get or build it again") from None
