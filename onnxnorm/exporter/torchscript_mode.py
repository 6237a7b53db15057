"""Traces as one node, or in another form, what PyTorch's older exporter writes wrongly or refuses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from onnxnorm.exporter.intercept import OneNodeMode
from onnxnorm.lrn import LRNParameters

__all__ = ["ScriptMode", "ScriptTrace"]

_HALF = (torch.float16, torch.bfloat16)


class ScriptTrace:
    """The findings of a trace beside the graph: modules that normalize by the batch, and whether an RMSNorm ran."""

    def __init__(self) -> None:
        self.batch_statistics: list[str] = []
        self.rms_norm = False


class ScriptMode(OneNodeMode):
    """A mode that also traces as one node what the exporter writes wrongly or refuses.

    Those are an InstanceNorm with running statistics, a GroupNorm of a half tensor with float weights, an RMSNorm.
    """

    def __init__(self, module: torch.nn.Module, trace: ScriptTrace) -> None:
        super().__init__(_script_node)
        self._paths: dict[int, str] = {id(part): path for path, part in module.named_modules()}
        self._trace = trace
        self._own: Mapping[Any, Callable[..., Any]] = {
            F.instance_norm: self._instance_norm,
            F.group_norm: self._group_norm,
            torch.group_norm: self._group_norm,
            F.rms_norm: self._rms_norm,
            torch.rms_norm: self._rms_norm,
        }

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        own = self._own.get(func)
        if own is not None:
            return own(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)

    def _batch_norm(
        self,
        input: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        # The batch becomes one more position of a single sample.
        self._trace.batch_statistics.append(self._current_module())
        swapped = input.transpose(0, 1)
        channels = int(input.shape[1])
        single = swapped.reshape(1, channels, -1)
        # The exporter asks for weights where it has lost sight of the number of channels.
        weight = input.new_ones(channels) if weight is None else weight
        bias = input.new_zeros(channels) if bias is None else bias
        normalized = F.instance_norm(single, None, None, weight, bias, True, momentum, eps)
        return normalized.reshape(swapped.shape).transpose(0, 1)

    def _instance_norm(
        self,
        input: torch.Tensor,
        running_mean: torch.Tensor | None = None,
        running_var: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if not use_input_stats:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return F.instance_norm(input, None, None, weight, bias, True, momentum, eps)

    def _group_norm(
        self,
        input: torch.Tensor,
        num_groups: int,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enabled: bool = True,
    ) -> torch.Tensor:
        # The exporter multiplies by the weight behind the normalization, whose result would be of the wider type.
        wide = input.dtype
        for tensor in (weight, bias):
            wide = wide if tensor is None else torch.promote_types(wide, tensor.dtype)
        if wide is input.dtype:
            return F.group_norm(input, num_groups, weight, bias, eps)
        weight, bias = (None if tensor is None else tensor.to(wide) for tensor in (weight, bias))
        return F.group_norm(input.to(wide), num_groups, weight, bias, eps).to(input.dtype)

    def _rms_norm(
        self,
        input: torch.Tensor,
        normalized_shape: Sequence[int],
        weight: torch.Tensor | None = None,
        eps: float | None = None,
    ) -> torch.Tensor:
        self._trace.rms_norm = True
        wide = input.float() if input.dtype in _HALF else input
        if eps is None:
            eps = torch.finfo(wide.dtype).eps
        axes = list(range(-len(normalized_shape), 0))
        mean = (wide * wide).mean(axes, keepdim=True)
        normalized = wide * torch.rsqrt(mean + eps)
        if weight is None or weight.dtype is input.dtype:
            normalized = normalized.to(input.dtype)
            return normalized if weight is None else normalized * weight
        return (normalized * weight).to(input.dtype)

    def _current_module(self) -> str:
        """Return the path of the module whose forward called."""
        frame = inspect.currentframe()
        while frame is not None:
            owner = id(frame.f_locals.get("self"))
            if owner in self._paths:
                return self._paths[owner]
            frame = frame.f_back
        return ""


class _Node(torch.autograd.Function):
    """An operator that the exporter writes as it is told."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, op: str, parameters: LRNParameters, attributes: dict[str, Any]) -> Any:
        from onnxnorm import layers

        return layers.local_response_norm(x, parameters)

    @staticmethod
    def symbolic(g: Any, x: Any, op: str, parameters: LRNParameters, attributes: dict[str, Any]) -> Any:
        kinds = {name: "f" if isinstance(value, float) else "i" for name, value in attributes.items()}
        y = g.op(op, x, **{f"{name}_{kind}": attributes[name] for name, kind in kinds.items()})
        y.setType(x.type())
        return y


def _script_node(op: str, x: torch.Tensor, parameters: LRNParameters, attributes: dict[str, Any]) -> torch.Tensor:
    result: torch.Tensor = _Node.apply(x, op, parameters, attributes)  # type: ignore[no-untyped-call]
    return result
