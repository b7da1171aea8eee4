"""A reader of tfjs graph models: enough of the format to run the identity net as plain torch.

A graph is a list of nodes (name, op, inputs, attributes) and a flat file of weights, tensors one after
another, some of them quantised to 8 or 16 bits. Tensors are NHWC. String attributes are base64.
Format: github.com/tensorflow/tfjs, tfjs-converter.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.errors import AssetError
from emogene.io.files import read_json

NUMPY_TYPE = {
    "float32": np.float32,
    "int32": np.int32,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "float16": np.float16,
    "bool": np.uint8,
}


class TensorGraph:
    """A frozen graph; call it with the value of its one placeholder."""

    def __init__(self, path: Path) -> None:
        model = read_json(path)
        self.nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
        self.weights = read_weights(path.parent, model["weightsManifest"])
        unknown = {node["op"] for node in self.nodes.values()} - set(OPERATORS) - {"Const", "Placeholder"}
        if unknown:
            raise AssetError(f"{path} uses operators that are not supported: {', '.join(sorted(unknown))}")

    def __call__(self, value: Tensor, output: str) -> Tensor:
        """Evaluate the node called ``output`` with ``value`` in the placeholder."""
        results: dict[str, Tensor] = {}
        stack = [output]
        while stack:
            name = stack[-1]
            node = self.nodes[name]
            inputs = [source.split(":")[0] for source in node.get("input", []) if source[0] != "^"]
            missing = [source for source in inputs if source not in results]
            if missing:
                stack += missing
                continue
            stack.pop()
            if node["op"] == "Const":
                results[name] = self.weights[name]
            elif node["op"] == "Placeholder":
                results[name] = value
            else:
                operator = OPERATORS[node["op"]]
                results[name] = operator([results[source] for source in inputs], node.get("attr", {}))
        return results[output]


def read_weights(folder: Path, manifest: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Tensors of a weights manifest; quantised ones are q * scale + min."""
    tensors = {}
    for group in manifest:
        data = b"".join((folder / name).read_bytes() for name in group["paths"])
        position = 0
        for entry in group["weights"]:
            count = int(np.prod(entry["shape"])) if entry["shape"] else 1
            quantised = entry.get("quantization")
            kind = np.dtype(NUMPY_TYPE[quantised["dtype"] if quantised else entry["dtype"]])
            array = np.frombuffer(data, kind, count, position)
            position += count * kind.itemsize
            if entry["dtype"] == "float32":
                array = array.astype(np.float32)
                if quantised and quantised["dtype"] != "float16":
                    array = array * quantised["scale"] + quantised["min"]
            tensors[entry["name"]] = torch.from_numpy(np.array(array).reshape(entry["shape"]))
    return tensors


def same_padding(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> Tensor:
    """Pad NCHW so that the output is ceil(size / stride); an odd pixel goes to bottom and right."""
    pads = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((math.ceil(size / s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def _text(value: Any) -> str:
    return base64.b64decode(value).decode() if isinstance(value, str) else str(value)


def _convolution(inputs: list[Tensor], attributes: dict[str, Any], depthwise: bool = False) -> Tensor:
    x, kernel = inputs[0].permute(0, 3, 1, 2), inputs[1]
    step_down, step_right = (int(value) for value in attributes["strides"]["list"]["i"][1:3])
    stride = (step_down, step_right)
    height, width = kernel.shape[:2]
    if depthwise:
        channels, multiplier = kernel.shape[2:]
        weight = kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        groups = channels
    else:
        weight, groups = kernel.permute(3, 2, 0, 1), 1
    if _text(attributes["padding"]["s"]) == "SAME":
        x = same_padding(x, (height, width), stride)
    y = F.conv2d(x, weight, stride=stride, groups=groups).permute(0, 2, 3, 1)
    return _fused(y, inputs[2:], attributes)


def _fused(y: Tensor, extra: list[Tensor], attributes: dict[str, Any]) -> Tensor:
    """Apply the operators fused into a convolution or matrix product, in order."""
    rest = iter(extra)
    for encoded in attributes.get("fused_ops", {}).get("list", {}).get("s", []):
        operator = _text(encoded)
        if operator == "BiasAdd":
            y = y + next(rest)
        elif operator == "Relu":
            y = F.relu(y)
        elif operator == "Relu6":
            y = F.relu6(y)
        elif operator == "Prelu":
            y = torch.where(y > 0, y, y * next(rest))
        else:
            raise AssetError(f"the fused operator {operator} is not supported")
    return y


def _matrix_product(inputs: list[Tensor], attributes: dict[str, Any]) -> Tensor:
    a = inputs[0].T if attributes.get("transpose_a", {}).get("b") else inputs[0]
    b = inputs[1].T if attributes.get("transpose_b", {}).get("b") else inputs[1]
    return _fused(a @ b, inputs[2:], attributes)


def _pad(inputs: list[Tensor], attributes: dict[str, Any]) -> Tensor:
    amounts = inputs[1].tolist()
    return F.pad(inputs[0], [int(value) for pair in reversed(amounts) for value in pair])


OPERATORS: dict[str, Callable[[list[Tensor], dict[str, Any]], Tensor]] = {
    "Conv2D": _convolution,
    "_FusedConv2D": _convolution,
    "DepthwiseConv2dNative": lambda inputs, attributes: _convolution(inputs, attributes, depthwise=True),
    "FusedDepthwiseConv2dNative": lambda inputs, attributes: _convolution(inputs, attributes, True),
    "MatMul": _matrix_product,
    "_FusedMatMul": _matrix_product,
    "Pad": _pad,
    "BiasAdd": lambda inputs, _: inputs[0] + inputs[1],
    "AddV2": lambda inputs, _: inputs[0] + inputs[1],
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Maximum": lambda inputs, _: torch.maximum(inputs[0], inputs[1]),
    "Minimum": lambda inputs, _: torch.minimum(inputs[0], inputs[1]),
    "Relu": lambda inputs, _: F.relu(inputs[0]),
    "Identity": lambda inputs, _: inputs[0],
    "NoOp": lambda inputs, _: torch.zeros(0),
    "Reshape": lambda inputs, _: inputs[0].reshape([int(value) for value in inputs[1]]),
}
