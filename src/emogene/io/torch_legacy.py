"""Read tensors from a published ``.pth`` file without running it.

Files of torch before 1.6 are a few pickles followed by raw storages; later ones are a zip of one pickle
and a file per storage. The pickle's opcodes are walked by a small stack machine that knows dicts, tuples
and numbers and builds nothing else: an unknown opcode or global is an error, so no code of the file can
run. path -> {name: float32 array}
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emogene.errors import FormatError

DTYPES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
}
N_HEADERS = 3
"""Pickles before the state: magic number, protocol, machine."""


class _Mark:
    """Where a tuple or a run of items begins on the stack."""


def read_torch_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of a torch state_dict of either kind, as float32 (integers stay integers)."""
    if not zipfile.is_zipfile(path):
        return read_legacy_tensors(path)
    try:
        with zipfile.ZipFile(path) as bundle:
            pickle = next(name for name in bundle.namelist() if name.endswith("/data.pkl"))
            folder = pickle.removesuffix("data.pkl")
            state = _walk(io.BytesIO(bundle.read(pickle)))
            storages = {
                tensor[1][2]: np.frombuffer(bundle.read(f"{folder}data/{tensor[1][2]}"), DTYPES[tensor[1][1]])
                for tensor in state.values()
            }
        return {name: _tensor(tensor, storages) for name, tensor in state.items()}
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        StopIteration,
        zipfile.BadZipFile,
    ) as error:
        raise FormatError(f"{path} is not a plain torch state_dict ({error}); fetch it again") from None


def read_legacy_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of a legacy torch state_dict, as float32 (integers stay integers)."""
    try:
        stream = io.BytesIO(Path(path).read_bytes())
        for _ in range(N_HEADERS):
            _walk(stream)
        state, keys = _walk(stream), _walk(stream)
        storages = {}
        kinds = {tensor[1][2]: tensor[1][1] for tensor in state.values()}
        for key in keys:
            dtype = np.dtype(DTYPES[kinds[key]])
            count = int.from_bytes(stream.read(8), "little")
            storages[key] = np.frombuffer(stream.read(count * dtype.itemsize), dtype)
        return {name: _tensor(tensor, storages) for name, tensor in state.items()}
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise FormatError(f"{path} is not a legacy torch state ({error}); fetch it again") from None


def _tensor(record: tuple[Any, ...], storages: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """One (maker, storage, offset, shape, strides, ...) record as a contiguous array."""
    _, storage, offset, shape, strides = record[:5]
    flat = storages[storage[2]][offset:]
    steps = [stride * flat.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(flat, shape, steps)
    return np.array(view, np.float32 if view.dtype.kind == "f" else view.dtype)


def _walk(stream: io.BytesIO) -> Any:
    """Evaluate one pickle of plain containers; calls are kept as (callable's name, *arguments)."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name == "STOP":
            return stack.pop()
        if name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        elif name in {"BINUNICODE", "SHORT_BINSTRING", "BININT", "BININT1", "BININT2", "LONG1", "GLOBAL"}:
            stack.append(argument)
        elif name != "PROTO":
            _apply(name, stack)
    raise ValueError("the file is cut off")


def _apply(name: str, stack: list[Any]) -> None:
    """Carry out one opcode that only concerns the stack."""
    simple = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
    if name in simple:
        stack.append(simple[name])
    elif name == "MARK":
        stack.append(_Mark())
    elif name in {"EMPTY_DICT", "EMPTY_LIST"}:
        stack.append(OrderedDict() if name == "EMPTY_DICT" else [])
    elif name == "BINPERSID":
        stack.append(tuple(stack.pop()))
    elif name in {"TUPLE", "SETITEMS", "APPENDS"}:
        _gather(name, stack)
    elif name in {"TUPLE1", "TUPLE2", "TUPLE3"}:
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "APPEND":
        item = stack.pop()
        stack[-1].append(item)
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        stack[-1][key] = value
    elif name == "REDUCE":
        arguments, maker = stack.pop(), stack.pop()
        is_dict = maker == "collections OrderedDict"
        # Python 2 gives the dict's pairs to its maker, Python 3 sets them afterwards.
        stack.append(OrderedDict(*arguments) if is_dict else (maker, *arguments))
    elif name == "BUILD":
        stack.pop()  # attributes of the dict, such as the version of its layers
    else:
        raise ValueError(f"unexpected opcode {name}")


def _gather(name: str, stack: list[Any]) -> None:
    """Close a run that began at the last mark."""
    start = max(index for index, item in enumerate(stack) if isinstance(item, _Mark))
    items = stack[start + 1 :]
    del stack[start:]
    if name == "TUPLE":
        stack.append(tuple(items))
    elif name == "APPENDS":
        stack[-1].extend(items)
    else:
        stack[-1].update(zip(items[::2], items[1::2], strict=True))
