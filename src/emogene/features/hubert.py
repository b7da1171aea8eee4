"""HuBERT, the paper's speech features: sound [S] -> last hidden state [T50, 1024].

EmoGene uses ``facebook/hubert-large-ls960-ft``. No package registry carries its weights, so a folder with
``config.json`` and ``model.safetensors`` in the layout of that repository is needed. The network is the
one of Hsu et al. 2021 in its "large" form (layer-normalised convolutions, pre-norm transformer), in plain
torch. As in the published pipeline the sound is encoded in blocks of 20 s, each normalised to zero mean
and unit variance; here the blocks also see 1 s around them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from emogene.errors import AssetError, FormatError
from emogene.features.extractor import HOP, BlockStream, checked_samples, n_rows
from emogene.features.layout import BlockLayout
from emogene.io.files import read_json
from emogene.io.tensors import load_arrays
from emogene.types import FEATURE_HZ, Audio, FloatArray

LAYOUT = BlockLayout(core=20 * FEATURE_HZ, left=FEATURE_HZ, right=FEATURE_HZ)
FIELD = 400
"""Samples that one row of the convolutions covers; with 40 of silence at each end there are S / 320 rows."""
REPOSITORY = "facebook/hubert-large-ls960-ft"


@dataclass(frozen=True, kw_only=True, slots=True)
class HubertConfig:
    """Sizes, named as in the repository's config.json."""

    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    layer_norm_eps: float = 1e-5


def tiny() -> HubertConfig:
    """For tests: the real network at small size."""
    return HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )


class ConvolutionLayer(nn.Module):
    """Convolution in time, norm over channels, GELU."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, stride)
        self.layer_norm = nn.LayerNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.layer_norm(self.conv(x).transpose(1, 2)).transpose(1, 2)
        return functional.gelu(normal)


class Attention(nn.Module):
    """Self-attention with the repository's parameter names."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        query, key, value = (
            projection(x).view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(B, T, D))
        return result


class TransformerLayer(nn.Module):
    """Pre-norm attention and MLP ("stable layer norm")."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        dim, eps = config.hidden_size, config.layer_norm_eps
        self.layer_norm = nn.LayerNorm(dim, eps)
        self.attention = Attention(dim, config.num_attention_heads)
        self.final_layer_norm = nn.LayerNorm(dim, eps)
        self.feed_forward = nn.ModuleDict(
            {
                "intermediate_dense": nn.Linear(dim, config.intermediate_size),
                "output_dense": nn.Linear(config.intermediate_size, dim),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.layer_norm(x))
        hidden = functional.gelu(self.feed_forward["intermediate_dense"](self.final_layer_norm(x)))
        result: Tensor = x + self.feed_forward["output_dense"](hidden)
        return result


class HubertModel(nn.Module):
    """Normalised sound [B, S] -> [B, (S - 400) // 320 + 1, hidden_size]."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        dim, sizes = config.hidden_size, (1, *config.conv_dim)
        shapes = zip(sizes[:-1], sizes[1:], config.conv_kernel, config.conv_stride, strict=True)
        self.convolutions = nn.ModuleList(ConvolutionLayer(*shape) for shape in shapes)
        self.projection_norm = nn.LayerNorm(config.conv_dim[-1], config.layer_norm_eps)
        self.projection = nn.Linear(config.conv_dim[-1], dim)
        taps = config.num_conv_pos_embeddings
        self.positions = nn.Conv1d(
            dim, dim, taps, padding=taps // 2, groups=config.num_conv_pos_embedding_groups
        )
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(dim, config.layer_norm_eps)

    def forward(self, sound: Tensor) -> Tensor:
        x = sound[:, None]
        for convolution in self.convolutions:
            x = convolution(x)
        x = self.projection(self.projection_norm(x.transpose(1, 2)))
        # An even number of taps gives one column too many.
        around = self.positions(x.transpose(1, 2))[..., : x.shape[1]]
        x = x + functional.gelu(around).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        result: Tensor = self.norm(x)
        return result


class HubertFeatures:
    """A HuBERT behind the SpeechFeatures protocol."""

    name = "hubert"

    def __init__(self, model: HubertModel, layout: BlockLayout = LAYOUT) -> None:
        self.model = model.eval().requires_grad_(False)
        self.dim, self.layout = model.config.hidden_size, layout
        self.look_ahead_s = layout.right / FEATURE_HZ

    def __call__(self, audio: Audio) -> FloatArray:
        stream = self.stream()
        return np.concatenate([stream.push(checked_samples(audio)), stream.flush()])

    def stream(self) -> BlockStream:
        """Rows come in blocks of the layout, not sooner."""
        return BlockStream(self._encode, self.dim, self.layout)

    @torch.inference_mode()
    def _encode(self, samples: FloatArray, skip: int, n: int) -> FloatArray:
        sound = torch.from_numpy(samples)[None]
        sound = (sound - sound.mean()) / torch.sqrt(sound.var(unbiased=False) + 1e-7)
        side = (FIELD - HOP) // 2
        missing = n_rows(len(samples)) * HOP - len(samples)
        rows = self.model(functional.pad(sound, (side, side + missing)))[0]
        return np.ascontiguousarray(rows[skip : skip + n].numpy(), dtype=np.float32)


def load_hubert(path: Path | None = None) -> HubertFeatures:
    """Load a folder with config.json and model.safetensors of the repository's layout.

    Raises AssetError without a folder, FormatError when it holds another kind of model.
    """
    if path is None or not (path / "model.safetensors").exists():
        where = "no folder was given" if path is None else f"{path} has no model.safetensors"
        raise AssetError(
            f"hubert needs the weights of {REPOSITORY}: {where}; download that repository's config.json and "
            "model.safetensors into a folder and give it as the path"
        )
    model = HubertModel(_config(path / "config.json"))
    arrays = load_arrays(path / "model.safetensors")
    state = {name: _parameter(name, arrays, path) for name in model.state_dict()}
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise FormatError(
            f"{path}: model.safetensors does not fit its config.json; download both again"
        ) from None
    return HubertFeatures(model)


def _config(path: Path) -> HubertConfig:
    content = read_json(path)
    if content.get("feat_extract_norm") != "layer" or not content.get("do_stable_layer_norm"):
        raise FormatError(f"{path} is not a large HuBERT (layer norms before attention); use {REPOSITORY}")
    known = {field.name for field in fields(HubertConfig)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
        if name in known
    }
    return HubertConfig(**values)


def _parameter(name: str, arrays: dict[str, Any], path: Path) -> Tensor:
    """Find one of our parameters in the file, with or without the fine-tuned model's prefix."""
    theirs = _their_name(name)
    prefix = "hubert." if any(key.startswith("hubert.") for key in arrays) else ""
    if theirs == "encoder.pos_conv_embed.conv.weight":
        return _positions(arrays, prefix + "encoder.pos_conv_embed.conv.", path)
    if prefix + theirs not in arrays:
        raise FormatError(f"{path / 'model.safetensors'} lacks {prefix + theirs}; use {REPOSITORY}")
    return torch.from_numpy(np.asarray(arrays[prefix + theirs], np.float32))


def _their_name(name: str) -> str:
    head, _, rest = name.partition(".")
    return {
        "convolutions": f"feature_extractor.conv_layers.{rest}",
        "projection_norm": f"feature_projection.layer_norm.{rest}",
        "projection": f"feature_projection.projection.{rest}",
        "positions": f"encoder.pos_conv_embed.conv.{rest}",
        "layers": f"encoder.layers.{rest}",
        "norm": f"encoder.layer_norm.{rest}",
    }[head]


def _positions(arrays: dict[str, Any], prefix: str, path: Path) -> Tensor:
    """The position convolution is stored as direction and length per tap (weight normalisation)."""
    for length, direction in (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ):
        if prefix + length in arrays:
            v = torch.from_numpy(np.asarray(arrays[prefix + direction], np.float32))
            g = torch.from_numpy(np.asarray(arrays[prefix + length], np.float32))
            weight: Tensor = v * (g / v.norm(dim=(0, 1), keepdim=True))
            return weight
    raise FormatError(f"{path / 'model.safetensors'} lacks {prefix}weight_g; use {REPOSITORY}")
