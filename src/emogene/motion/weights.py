"""A trained network on disk: config.json beside model.safetensors in half precision."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from emogene.errors import FormatError
from emogene.io.files import check_format_version, read_json
from emogene.io.tensors import load_arrays, save_arrays

Config = TypeVar("Config")


def read_config(folder: Path, kind: str, known_format: int) -> dict[str, Any]:
    """Read and check config.json of a ``kind`` of network."""
    content = read_json(folder / "config.json")
    check_format_version(content, known_format, folder / "config.json")
    if content.get("type") != kind:
        raise FormatError(
            f"{folder} holds {content.get('type')!r}, not {kind!r}; give the folder of a {kind} model"
        )
    return content


def make_config(cls: type[Config], content: dict[str, Any], folder: Path) -> Config:
    """Build a config dataclass from JSON; unknown fields are an error, not ignored."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - names)
    if unknown:
        raise FormatError(f"{folder}/config.json has unknown fields {unknown}; upgrade emogene")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return cls(**values)


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's numbers as float16."""
    state = network.state_dict()
    save_arrays(
        path,
        {k: (v.half() if v.is_floating_point() else v).detach().cpu().numpy() for k, v in state.items()},
    )


def load_weights(path: Path, network: nn.Module) -> None:
    """Load ``save_weights`` into a network of the same configuration."""
    arrays = {name: torch.from_numpy(array) for name, array in load_arrays(path).items()}
    try:
        network.load_state_dict(arrays)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise FormatError(f"{path} does not fit its config.json ({reason}); get or build it again") from None
