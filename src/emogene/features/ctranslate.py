"""CTranslate2 ``model.bin`` (binary version 6) -> named float32 arrays.

Little-endian. Header: uint32 version, string spec, uint32 revision, uint32 number of variables. String:
uint16 length that counts a closing NUL, bytes. Variable: string name, uint8 rank, uint32 dimensions,
uint8 type, uint32 byte count, row-major data. Then uint32 number of aliases, pairs of strings.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.errors import FormatError

BINARY_VERSION = 6
_TYPES: dict[int, Any] = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_BFLOAT16 = 5


def read_ctranslate(path: Path, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Variables whose name starts with ``prefix``, by the rest of their name; floats as float32.

    Raises FormatError when the file is not such a file or is cut off.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from None
    try:
        return _Reader(data).variables(prefix)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not a whole CTranslate2 model.bin ({error}); get it again") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def variables(self, prefix: str) -> dict[str, NDArray[Any]]:
        version = self.number("I")
        if version != BINARY_VERSION:
            raise ValueError(f"binary version {version}, not {BINARY_VERSION}")
        self.string()
        self.number("I")
        found = {}
        for _ in range(self.number("I")):
            name, array = self.string(), self.array()
            if name.startswith(prefix):
                found[name.removeprefix(prefix)] = array
        for _ in range(self.number("I")):
            alias, target = self.string(), self.string()
            if alias.startswith(prefix) and target.startswith(prefix):
                found[alias.removeprefix(prefix)] = found[target.removeprefix(prefix)]
        return found

    def number(self, kind: str) -> int:
        value: int = struct.unpack_from("<" + kind, self.data, self.at)[0]
        self.at += struct.calcsize(kind)
        return value

    def string(self) -> str:
        length = self.number("H")
        text = self.data[self.at : self.at + length - 1].decode()
        self.at += length
        return text

    def array(self) -> NDArray[Any]:
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, n_bytes = self.number("B"), self.number("I")
        raw = self.data[self.at : self.at + n_bytes]
        if len(raw) < n_bytes:
            raise ValueError("cut off")
        self.at += n_bytes
        if kind == _BFLOAT16:
            wide = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16
            return wide.view(np.float32).reshape(shape)
        array = np.frombuffer(raw, _TYPES[kind]).reshape(shape)
        return array.astype(np.float32) if array.dtype == np.float16 else array
