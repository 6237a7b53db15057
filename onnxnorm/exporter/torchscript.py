"""Exports by PyTorch's older exporter, which runs a module once under `torch.jit.trace`: what dynamo cannot trace.

What the module does on the example inputs is what is exported; a branch that Python takes on a tensor is taken for
good. The exporter writes opsets up to 20; newer ones are a conversion from there. Normalizations come out as nodes in
three ways: the exporter knows BatchNormalization, InstanceNormalization and, from opset 17 on, LayerNormalization;
the local response normalizations are nodes of `OneNodeMode`; all else is recognized in the graph.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch.utils import _pytree

from onnxnorm.errors import OnnxNormError
from onnxnorm.exporter.arguments import Arguments
from onnxnorm.exporter.diagnosis import why_it_does_not_run
from onnxnorm.exporter.intercept import OneNodeMode
from onnxnorm.exporter.messages import SCOPES, reason_of
from onnxnorm.lrn import LRNParameters

__all__ = ["OLDEST_OPSET", "ScriptTrace", "script"]

OLDEST_OPSET = 9
_NEWEST_OPSET = 20
_HALF = (torch.float16, torch.bfloat16)
_ROOT = "module."


class ScriptTrace:
    """The findings of a trace beside the graph: modules that normalize by the batch, and whether an RMSNorm ran."""

    def __init__(self) -> None:
        self.batch_statistics: list[str] = []
        self.rms_norm = False


def script(module: torch.nn.Module, arguments: Arguments, opset: int, trace: ScriptTrace) -> ir.Model:
    """Export the module to ONNX operators, at `opset` or the newest that the exporter writes; names of axes as given.

    Raises:
        OnnxNormError: this PyTorch has no such exporter, or the exporter has no form for the module.
    """
    name = type(module).__name__
    if "dynamo" not in inspect.signature(torch.onnx.export).parameters:
        raise OnnxNormError(f"PyTorch {torch.__version__} has one exporter alone: leave exporter out")
    flat = _Flat(module, arguments)
    file = io.BytesIO()
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            _buffers_kept(module),
            _silence(),
            _ScriptMode(flat, trace),
        ):
            torch.onnx.export(
                flat,
                tuple(copy.deepcopy(tensor) for tensor in flat.tensors),
                file,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=min(opset, _NEWEST_OPSET),
                # Of its modes the one that folds no BatchNormalization into a convolution; the module is in evaluation.
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                input_names=flat.names,
                dynamic_axes={name: axes for name, axes in flat.open_axes.items() if axes},
                autograd_inlining=False,
            )
    except OnnxNormError:
        raise
    except Exception as error:
        told = why_it_does_not_run(module, arguments)
        told = told or f"{name} has no ONNX form for the TorchScript exporter: {reason_of(error)}"
        raise OnnxNormError(told) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused_attention)
    proto = onnx.load_model_from_string(file.getvalue())
    model = ir.from_proto(proto)
    _name_after_module(model)
    return model


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence the standard streams: the exporter's C++ part prints whole graphs where it fails."""
    try:
        saved = [os.dup(stream) for stream in (1, 2)]
    except OSError:  # closed
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, kept in zip((1, 2), saved, strict=True):
            os.dup2(kept, stream)
            os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _buffers_kept(module: torch.nn.Module) -> Iterator[None]:
    """Undo what the module writes to its buffers while a trace runs it."""
    before = [(part, dict(part._buffers)) for part in module.modules()]
    values = {id(buffer): (buffer, buffer.clone()) for buffer in module.buffers()}
    try:
        yield
    finally:
        for part, buffers in before:
            part._buffers.update(buffers)
        for buffer, value in values.values():
            if not torch.equal(buffer, value):
                buffer.copy_(value)


class _Flat(torch.nn.Module):
    """A module that takes the tensors among the inputs one by one and gives those among the results."""

    def __init__(self, module: torch.nn.Module, arguments: Arguments) -> None:
        super().__init__()
        self.module = module
        self.training = False
        leaves, self._spec = _pytree.tree_flatten((arguments.positional, arguments.named))
        self._leaves = leaves
        self._places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        self.tensors = [leaves[i] for i in self._places]
        self.names = arguments.tensor_names()
        self.open_axes = dict(zip(self.names, arguments.every_axis_name(), strict=True))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        positional, named = _pytree.tree_unflatten(leaves, self._spec)
        result = self.module(*positional, **named)
        return tuple(leaf for leaf in _pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor))


class _ScriptMode(OneNodeMode):
    """A mode that also traces as one node what the exporter writes wrongly or refuses.

    Those are an InstanceNorm with running statistics, a GroupNorm of a half tensor with float weights, an RMSNorm.
    """

    def __init__(self, flat: _Flat, trace: ScriptTrace) -> None:
        super().__init__(_script_node)
        self._paths: dict[int, str] = {id(part): path for path, part in flat.module.named_modules()}
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


def _name_after_module(model: ir.Model) -> None:
    """Give parameters their own names, and nodes the note of their module that the dynamo exporter gives."""
    graph = model.graph
    for value in list(graph.initializers.values()):
        name = value.name or ""
        if name.startswith(_ROOT) and name[len(_ROOT) :] not in graph.initializers:
            del graph.initializers[name]
            _strip_root(value)
            graph.initializers[value.name] = value  # type: ignore[index]
    for node in ir.traversal.RecursiveGraphIterator(graph):
        # Of equal tensors the exporter keeps one, with an Identity for each of the others.
        for value in node.outputs:
            if (value.name or "").startswith(_ROOT):
                _strip_root(value)
        node.metadata_props[SCOPES] = repr([*_scopes(node.name or ""), node.op_type])


def _strip_root(value: ir.Value) -> None:
    value.name = (value.name or "").removeprefix(_ROOT)
    if value.const_value is not None:
        value.const_value.name = value.name


def _scopes(name: str) -> list[str]:
    """Return the paths down to a module, of "/module/layer1/layer1.0/bn1/BatchNormalization".

    Containers bear their place.
    """
    steps: list[str] = []
    scopes: list[str] = []
    for part in name.split("/")[1:-1]:
        if steps and part.startswith(f"{steps[-1]}."):
            steps[-1] = part
        else:
            steps.append(part)
        scopes.append(".".join(steps).removeprefix(_ROOT.rstrip(".")).removeprefix("."))
    return scopes or [""]
