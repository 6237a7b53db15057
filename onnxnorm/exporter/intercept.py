"""Catches the calls of normalizations that PyTorch would take apart, or get wrong, while it traces for an export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from onnxnorm import layers
from onnxnorm.lrn import LongerSide, LRNParameters, Region

__all__ = ["NodeWriter", "OneNodeMode"]

NodeWriter: TypeAlias = "Callable[[str, torch.Tensor, LRNParameters, dict[str, Any]], torch.Tensor]"
"""A tracer of one node: of the operator, on the tensor, with what it computes, and its attributes."""


class OneNodeMode(TorchFunctionMode):
    """A mode in which a call of a local response normalization is traced as the node that it becomes.

    A batch normalization on the statistics of the batch leaves the running statistics as they are.
    """

    def __init__(self, write: NodeWriter | None = None) -> None:
        super().__init__()
        self._write = write or _symbolic_node

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is layers.local_response_norm:
            return self._lrn(*args, **kwargs)
        if func is F.local_response_norm:
            return self._torch_lrn(*args, **kwargs)
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        return func(*args, **kwargs)

    def _torch_lrn(
        self, input: torch.Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> torch.Tensor:
        if input.ndim < 3:
            return F.local_response_norm(input, size, alpha, beta, k)
        if input.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(input.device.type):
            input = input.float()  # the type of the result too: autocast raises to a power in float32
        return self._lrn(input, LRNParameters.from_torch(size, alpha, beta, k))

    def _lrn(self, x: torch.Tensor, parameters: LRNParameters) -> torch.Tensor:
        layers.check_input(x, parameters)
        constants = {"alpha": parameters.alpha, "beta": parameters.beta, "bias": parameters.bias}
        if parameters.region is Region.INTRA_CHANNEL:
            attributes = {"kernel_shape": parameters.kernel_shape, **constants}
            return self._write("onnxnorm::IntraChannelLRN", x, parameters, attributes)
        attributes = {"size": parameters.size, **constants}
        if parameters.longer_side is LongerSide.BACK:
            mirrored = replace(parameters, longer_side=LongerSide.AHEAD)
            return self._write("onnxnorm::InterChannelLRN", x.flip(1), mirrored, attributes).flip(1)
        # What onnxruntime's kernel takes.
        standard = x.ndim == 4 and parameters.size % 2 == 1 and x.dtype in (torch.float32, torch.float16)
        return self._write("LRN" if standard else "onnxnorm::InterChannelLRN", x, parameters, attributes)

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
        if training:
            running_mean = running_var = None
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _symbolic_node(op: str, x: torch.Tensor, parameters: LRNParameters, attributes: dict[str, Any]) -> torch.Tensor:
    version = 1 if "::" in op else None
    return torch.onnx.ops.symbolic(op, (x,), attributes, dtype=x.dtype, shape=x.shape, version=version)
