"""One call per training step of the head field: render, loss, gradients and Adam, fused in the kernels.

For the long first stage, in which only the field is trained on single pixels; the decoder's joint training
uses ``HeadField.render_rays`` with autograd. Per ray: weight * mean squared error of rgb over the given
background, + opacity_weight * (opacity - target)^2, + spread_weight * spread. Without native kernels the same
step runs in torch, 20 to 50 x slower.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from emogene.render import backend as backends
from emogene.render.field import HeadField
from emogene.render.native import binding
from emogene.render.volume import RayOutput


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedConfig:
    """Step sizes and loss weights."""

    table_rate: float = 1e-2
    weight_rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-15
    opacity_weight: float = 0.0
    spread_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class RayBatch:
    """Pixels to learn from: rays [R, 3] of frames [R] with target rgb [R, 3] in 0..1.

    background: [R, 3] what is behind the head; weight, opacity: [R] or None (1; no mask known);
    jitter: [R] in [0, 1) or None (0.5).
    """

    rays_o: Tensor
    rays_d: Tensor
    frames: Tensor
    target: Tensor
    background: Tensor
    weight: Tensor | None = None
    opacity: Tensor | None = None
    jitter: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """loss: mean over rays; codes_grad [K, C]: for the caller's own code encoder; opacity [R] rendered."""

    loss: float
    codes_grad: Tensor
    opacity: Tensor


class FieldTrainer:
    """Adam over all parameters of a field; ``state`` is plain tensors for checkpoints."""

    def __init__(self, field: HeadField, config: FusedConfig | None = None) -> None:
        self.field = field
        self.config = config or FusedConfig()
        self.steps = 0
        self.means = {name: torch.zeros_like(value) for name, value in field.named_parameters()}
        self.squares = {name: torch.zeros_like(value) for name, value in field.named_parameters()}
        self._table_grad = torch.zeros_like(field.table)

    def state(self) -> dict[str, Tensor]:
        """Optimizer state; ``load_state`` restores it."""
        means = {f"mean.{name}": value for name, value in self.means.items()}
        squares = {f"square.{name}": value for name, value in self.squares.items()}
        return {**means, **squares, "steps": torch.tensor(self.steps)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state()`` of another trainer of the same field."""
        for name in self.means:
            self.means[name].copy_(state[f"mean.{name}"])
            self.squares[name].copy_(state[f"square.{name}"])
        self.steps = int(state["steps"])

    def step(
        self, batch: RayBatch, codes: Tensor, warps: Tensor | None, *, step: float = 1 / 96, rate: float = 1.0
    ) -> StepResult:
        """One update; ``rate`` scales both learning rates."""
        native = backends.choose(self.field.backend, self.field) == "native"
        with torch.no_grad():
            gradients = self._native if native else self._torch
            loss, parts, codes_grad, opacity = gradients(batch, codes.detach(), warps, step)
            self.steps += 1
            self._update(parts, rate)
        return StepResult(loss, codes_grad, opacity)

    def _torch(
        self, batch: RayBatch, codes: Tensor, warps: Tensor | None, step: float
    ) -> tuple[float, dict[str, Tensor], Tensor, Tensor]:
        config, parameters = self.config, dict(self.field.named_parameters())
        codes = codes.requires_grad_()
        with torch.enable_grad():
            out = self.field.render_rays(
                batch.rays_o, batch.rays_d, batch.frames, codes, warps, step=step, jitter=batch.jitter
            )
            loss = batch_loss(out, batch, config)
        grads = torch.autograd.grad(loss, [*parameters.values(), codes], allow_unused=True)
        filled = [
            torch.zeros_like(value) if grad is None else grad
            for grad, value in zip(grads, [*parameters.values(), codes], strict=True)
        ]
        parts = dict(zip(parameters, filled[:-1], strict=True))
        return float(loss), parts, filled[-1], out.opacity.detach()

    def _native(
        self, batch: RayBatch, codes: Tensor, warps: Tensor | None, step: float
    ) -> tuple[float, dict[str, Tensor], Tensor, Tensor]:
        field, loaded = self.field, backends.kernels()
        assert loaded is not None
        code_weight = field.layer1.weight[:, backends.ENCODED :]
        bias = codes @ code_weight.T + field.layer1.bias
        jitter = batch.jitter if batch.jitter is not None else torch.full((len(batch.rays_o),), 0.5)
        c_field, keep = backends.field_struct(field)
        c_rays, keep_rays = backends.rays_struct(
            batch.rays_o, batch.rays_d, jitter, batch.frames, bias, warps, step
        )
        c_loss, keep_loss, opacity = self._loss_struct(batch)
        flat = torch.empty(loaded.gradient_floats(len(codes)))
        loaded.call(
            "eg_train",
            binding.thread_count(),
            *(ctypes.byref(struct) for struct in (c_field, c_rays, c_loss)),
            *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (flat, self._table_grad)),
        )
        del keep, keep_rays, keep_loss
        parts = backends.split_gradient(flat, len(codes))
        bias_grad = parts["bias"]
        named = {
            "table": self._table_grad,
            "layer1.weight": torch.cat([parts["w1"], bias_grad.T @ codes], dim=1),
            "layer1.bias": bias_grad.sum(dim=0),
            "layer2.weight": parts["w2"],
            "layer2.bias": parts["b2"],
            "layer3.weight": parts["w3"],
            "layer3.bias": parts["b3"],
            "colour1.weight": parts["c1"],
            "colour1.bias": parts["d1"],
            "colour2.weight": parts["c2"],
            "colour2.bias": parts["d2"],
        }
        return float(c_loss.total), named, bias_grad @ code_weight, opacity

    def _loss_struct(self, batch: RayBatch) -> tuple[binding.LossStruct, list[Tensor | None], Tensor]:
        count = len(batch.rays_o)
        keep = [
            batch.target.float().contiguous(),
            batch.background.float().expand(count, 3).contiguous(),
            None if batch.weight is None else batch.weight.float().contiguous(),
            None if batch.opacity is None else batch.opacity.float().contiguous(),
        ]
        opacity = torch.zeros(count)
        names = ("target", "background", "weight", "target_opacity")
        struct = binding.LossStruct(
            opacity_weight=self.config.opacity_weight,
            spread_weight=self.config.spread_weight,
            opacity_out=binding.address(opacity),
            **{name: binding.address(tensor) for name, tensor in zip(names, keep, strict=True)},
        )
        return struct, keep, opacity

    def _update(self, parts: dict[str, Tensor], rate: float) -> None:
        """Adam; in the kernels for the large table, which also refreshes its packed copy."""
        config = self.config
        scale1 = 1.0 / (1.0 - config.beta1**self.steps)
        scale2 = 1.0 / (1.0 - config.beta2**self.steps)
        for name, parameter in self.field.named_parameters():
            base = config.table_rate if name == "table" else config.weight_rate
            mean, square, grad = self.means[name], self.squares[name], parts[name]
            if name == "table" and grad is self._table_grad:
                self._native_adam(parameter, mean, square, base * rate, scale1, scale2)
                continue
            mean.lerp_(grad, 1.0 - config.beta1)
            square.lerp_(grad * grad, 1.0 - config.beta2)
            parameter.sub_(base * rate * (mean * scale1) / ((square * scale2).sqrt() + config.epsilon))

    def _native_adam(
        self, table: Tensor, mean: Tensor, square: Tensor, rate: float, scale1: float, scale2: float
    ) -> None:
        loaded = backends.kernels()
        assert loaded is not None
        config = self.config
        packed = backends.memory(self.field).table(self.field)
        settings = torch.tensor([rate, config.beta1, config.beta2, scale1, scale2, config.epsilon])
        loaded.call(
            "eg_adam",
            binding.thread_count(),
            *(ctypes.c_void_p(item.data_ptr()) for item in (table, mean, square, self._table_grad, packed)),
            ctypes.c_int64(table.numel()),
            ctypes.c_void_p(settings.data_ptr()),
        )


def batch_loss(out: RayOutput, batch: RayBatch, config: FusedConfig) -> Tensor:
    """The loss of a step, in torch: the specification of the fused one."""
    rgb = out.channels[:, :3] + (1.0 - out.opacity[:, None]) * batch.background
    error = (rgb - batch.target).square().mean(dim=1)
    if batch.weight is not None:
        error = error * batch.weight
    if batch.opacity is not None:
        error = error + config.opacity_weight * (out.opacity - batch.opacity).square()
    return (error + config.spread_weight * out.spread).mean()
