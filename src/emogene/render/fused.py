"""A training step of the head field in one pass of the kernels: render, loss and all gradients.

For the long first stage, in which the field is trained on single pixels (``HeadField.render_rays`` is
differentiable too, but its backward pass renders again). Per ray: weight * mean squared error of rgb
over the given background, + opacity_weight * (opacity - target)^2, + spread_weight * spread,
+ haze_weight * opacity (1 - opacity).

    seen = ray_loss(field, batch, codes, warps, LossWeights(spread_weight=0.3), step=1/72)
    seen.loss.backward()                      any optimizer; gradients of the field's parameters and codes
    FieldTrainer(field).step(...)             the same with Adam in the kernels too

Without native kernels the same loss runs in torch, 20 to 50 x slower.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emogene.render import backend as backends
from emogene.render.field import HeadField
from emogene.render.native import binding
from emogene.render.volume import STOP, RayOutput


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """What counts besides the colour."""

    opacity_weight: float = 0.0
    spread_weight: float = 0.0
    haze_weight: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedConfig(LossWeights):
    """Step sizes and loss weights."""

    table_rate: float = 1e-2
    weight_rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-15


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
class RayLoss:
    """loss: mean over rays, differentiable; of it colour and (unweighted) spread; opacity [R] rendered."""

    loss: Tensor
    colour: float
    spread: float
    opacity: Tensor


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
        parameters = dict(self.field.named_parameters())
        codes = codes.requires_grad_()
        with torch.enable_grad():
            result = _torch_loss(self.field, batch, codes, warps, self.config, step)
        grads = torch.autograd.grad(result.loss, [*parameters.values(), codes], allow_unused=True)
        filled = [
            torch.zeros_like(value) if grad is None else grad
            for grad, value in zip(grads, [*parameters.values(), codes], strict=True)
        ]
        parts = dict(zip(parameters, filled[:-1], strict=True))
        return float(result.loss), parts, filled[-1], result.opacity

    def _native(
        self, batch: RayBatch, codes: Tensor, warps: Tensor | None, step: float
    ) -> tuple[float, dict[str, Tensor], Tensor, Tensor]:
        found = _Gradients(self.field, batch, codes, warps, self.config, step, self._table_grad)
        return found.loss.total, found.of, found.of_codes, found.opacity

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


def ray_loss(
    field: HeadField,
    batch: RayBatch,
    codes: Tensor,
    warps: Tensor | None,
    weights: LossWeights,
    *,
    step: float = 1 / 96,
) -> RayLoss:
    """Loss of a batch, differentiable in the field's parameters and ``codes`` [K, C], once.

    The kernels compute the gradients together with the loss: call it only where they are wanted.
    """
    if backends.choose(field.backend, field) != "native":
        return _torch_loss(field, batch, codes, warps, weights, step)
    parameters = dict(field.named_parameters())
    asked = (field, batch, warps, weights, step, tuple(parameters))
    loss, colour, spread, opacity = _FusedLoss.apply(asked, codes, *parameters.values())  # type: ignore[no-untyped-call]
    return RayLoss(loss, float(colour), float(spread), opacity)


class _FusedLoss(torch.autograd.Function):
    """Gradients are found in forward, and handed out in backward."""

    @staticmethod
    def forward(ctx: Any, asked: tuple[Any, ...], codes: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        field, batch, warps, weights, step, names = asked
        # A table held fixed is spared the scatter of its gradient.
        table_grad = torch.zeros_like(field.table) if field.table.requires_grad else None
        if field.table.requires_grad:
            backends.memory(field).packed = None  # a fused optimizer changed it unseen
        found = _Gradients(field, batch, codes.detach(), warps, weights, step, table_grad)
        ctx.found = (found.of_codes, *(found.of.get(name) for name in names))
        loss = torch.tensor(found.loss.total, dtype=torch.float32)
        parts = torch.tensor(found.loss.colour), torch.tensor(found.loss.spread), found.opacity
        ctx.mark_non_differentiable(*parts)
        return (loss, *parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        found, ctx.found = ctx.found, None
        if found is None:
            raise RuntimeError("the fused loss gives its gradients away once: compute it again")
        if float(grad) != 1.0:
            found = tuple(None if part is None else part * grad for part in found)
        return (None, *found)


class _Gradients:
    """One call of the fused kernel. of: gradient by parameter name; table_grad is added to, or None."""

    def __init__(
        self,
        field: HeadField,
        batch: RayBatch,
        codes: Tensor,
        warps: Tensor | None,
        weights: LossWeights,
        step: float,
        table_grad: Tensor | None,
    ) -> None:
        loaded = backends.kernels()
        assert loaded is not None
        with torch.no_grad():
            code_weight = field.layer1.weight[:, backends.ENCODED :]
            bias = codes @ code_weight.T + field.layer1.bias
        jitter = batch.jitter if batch.jitter is not None else torch.full((len(batch.rays_o),), 0.5)
        rays = backends.RayInputs(batch.rays_o, batch.rays_d, jitter, batch.frames, warps, step, STOP)
        c_field, keep = backends.field_struct(field)
        c_rays, keep_rays = backends.rays_struct(rays, bias)
        self.loss, keep_loss, self.opacity = _loss_struct(batch, weights)
        flat = torch.empty(loaded.gradient_floats(len(codes)))
        loaded.call(
            "eg_train",
            binding.thread_count(),
            *(ctypes.byref(struct) for struct in (c_field, c_rays, self.loss)),
            *(ctypes.c_void_p(binding.address(tensor)) for tensor in (flat, table_grad)),
        )
        del keep, keep_rays, keep_loss
        parts = backends.split_gradient(flat, len(codes))
        bias_grad = parts["bias"]
        self.of_codes = bias_grad @ code_weight.detach()
        self.of = {
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
        if table_grad is not None:
            self.of["table"] = table_grad


def _loss_struct(
    batch: RayBatch, weights: LossWeights
) -> tuple[binding.LossStruct, list[Tensor | None], Tensor]:
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
        opacity_weight=weights.opacity_weight,
        spread_weight=weights.spread_weight,
        haze_weight=weights.haze_weight,
        opacity_out=binding.address(opacity),
        **{name: binding.address(tensor) for name, tensor in zip(names, keep, strict=True)},
    )
    return struct, keep, opacity


def _torch_loss(
    field: HeadField, batch: RayBatch, codes: Tensor, warps: Tensor | None, weights: LossWeights, step: float
) -> RayLoss:
    out = field.render_rays(
        batch.rays_o, batch.rays_d, batch.frames, codes, warps, step=step, jitter=batch.jitter
    )
    loss, colour, spread = batch_loss(out, batch, weights)
    return RayLoss(loss, float(colour.detach()), float(spread.detach()), out.opacity.detach())


def batch_loss(out: RayOutput, batch: RayBatch, weights: LossWeights) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of a step, and of it colour and (unweighted) spread, in torch: specifies the fused one."""
    rgb = out.channels[:, :3] + (1.0 - out.opacity[:, None]) * batch.background
    error = (rgb - batch.target).square().mean(dim=1)
    if batch.weight is not None:
        error = error * batch.weight
    colour, spread = error.mean(), out.spread.mean()
    loss = colour + weights.spread_weight * spread
    if batch.opacity is not None:
        loss = loss + weights.opacity_weight * (out.opacity - batch.opacity).square().mean()
    return loss + weights.haze_weight * (out.opacity * (1 - out.opacity)).mean(), colour, spread
