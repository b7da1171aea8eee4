"""A folder in the layout of facebook/hubert-large-ls960-ft with a tiny random model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from emogene.features.hubert import HubertModel, _their_name, tiny
from emogene.io.files import write_json
from emogene.io.tensors import save_arrays


def write_hubert(folder: Path) -> HubertModel:
    torch.manual_seed(0)
    model = HubertModel(tiny())
    arrays = {}
    for name, value in model.state_dict().items():
        key = "hubert." + _their_name(name)
        if name == "positions.weight":
            length = value.norm(dim=(0, 1), keepdim=True)
            arrays[key + "_g"] = length.numpy()
            # Any length of the direction means the same.
            arrays[key + "_v"] = (value * 3).numpy()
        else:
            arrays[key] = value.numpy()
    arrays["lm_head.weight"] = torch.zeros(4, 32).numpy()
    save_arrays(folder / "model.safetensors", arrays)
    config = asdict(tiny()) | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "vocab_size": 32}
    write_json(folder / "config.json", config)
    return model.eval()
