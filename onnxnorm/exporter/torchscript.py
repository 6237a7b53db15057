"""Exports by PyTorch's older exporter, which runs a module once under `torch.jit.trace`: what dynamo cannot trace.

What the module does on the example inputs is what is exported; a branch that Python takes on a tensor is taken for
good. The exporter writes opsets up to 20; newer ones are a conversion from there. Normalizations come out as nodes in
three ways: the exporter knows BatchNormalization, InstanceNormalization and, from opset 17 on, LayerNormalization;
the local response normalizations are nodes of `ScriptMode`; all else is recognized in the graph.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import os
import sys
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import torch
from torch.utils import _pytree

from onnxnorm.errors import OnnxNormError
from onnxnorm.exporter.arguments import Arguments
from onnxnorm.exporter.diagnosis import why_it_does_not_run
from onnxnorm.exporter.messages import reason_of
from onnxnorm.exporter.torchscript_mode import ScriptMode, ScriptTrace
from onnxnorm.exporter.torchscript_names import name_after_module

__all__ = ["OLDEST_OPSET", "script"]

OLDEST_OPSET = 9
_NEWEST_OPSET = 20


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
            ScriptMode(module, trace),
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
    name_after_module(model)
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
