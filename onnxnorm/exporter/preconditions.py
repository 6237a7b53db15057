"""Refuses what `onnxnorm.export` cannot export before it starts, each with what to do instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from onnxnorm.errors import OnnxNormError

__all__ = ["check_module", "normalized_args"]

_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized")
_PREPARED = (
    "torch.ao.quantization",
    "torch.ao.nn.qat",
    "torch.ao.nn.intrinsic.qat",
    "torch.ao.nn.quantizable",
    "torchao.quantization.pt2e",
)


def check_module(module: object) -> torch.nn.Module:
    """Return the module itself, if it can be exported as it stands; it is not changed."""
    if isinstance(module, type) and issubclass(module, torch.nn.Module):
        raise OnnxNormError(f"{module.__name__} is a class: export an instance of it, {module.__name__}(...).eval()")
    if isinstance(module, torch.jit.ScriptModule):
        raise OnnxNormError("the module is compiled by TorchScript: export the Python module it was made of")
    if not isinstance(module, torch.nn.Module):
        raise OnnxNormError(f"export takes a torch.nn.Module, not a {type(module).__name__}")
    name = type(module).__name__
    for path, part in module.named_modules():
        where = f"{name}.{path}" if path else name
        _check_kind(part, where)
    _check_mode(module, name)
    _check_tensors(module, name)
    return module


def _check_kind(part: torch.nn.Module, where: str) -> None:
    if hasattr(part, "_orig_mod"):
        raise OnnxNormError(
            f"{where} is compiled by torch.compile: export the module it was made of ({where}._orig_mod)"
        )
    if isinstance(part, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        raise OnnxNormError(f"{where} is spread over devices by {type(part).__name__}: export {where}.module")
    if type(part).__module__.startswith(_QUANTIZED):
        raise OnnxNormError(
            f"{where} ({type(part).__name__}) is quantized, and ONNX has no form for PyTorch's quantized operators: "
            "export the float module and quantize the ONNX model"
        )
    if type(part).__module__.startswith(_PREPARED):
        raise OnnxNormError(
            f"{where} ({type(part).__name__}) is prepared for quantization: export the float module, "
            "and quantize the ONNX model"
        )


def _check_mode(module: torch.nn.Module, name: str) -> None:
    training = [path or name for path, part in module.named_modules() if part.training]
    if not training:
        return
    shown = ", ".join(training[:3]) + (f" and {len(training) - 3} more" if len(training) > 3 else "")
    what = "the module is" if len(training) == 1 else "modules are"
    raise OnnxNormError(
        f"{what} in training mode ({shown}), in which normalizations use the statistics of the batch; "
        "call .eval() on the whole module first"
    )


def _check_tensors(module: torch.nn.Module, name: str) -> None:
    tensors: Iterable[tuple[str, torch.Tensor]] = (*module.named_parameters(), *module.named_buffers())
    for path, tensor in tensors:
        if is_lazy(tensor):
            raise OnnxNormError(
                f"{name}.{path} has no shape yet (a lazy module): run the module once on the example inputs"
            )
        if tensor.is_meta:
            raise OnnxNormError(f"{name}.{path} is on the meta device and has no values: load the weights first")


def normalized_args(args: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and named arguments, of one tensor, a sequence of arguments or a dictionary of named ones."""
    if isinstance(args, torch.Tensor):
        return (args,), {}
    if isinstance(args, dict) and all(isinstance(key, str) for key in args):
        return (), dict(args)
    if isinstance(args, (tuple, list)):
        return tuple(args), {}
    raise OnnxNormError(
        f"args must be the module's example inputs, a tensor or a tuple of them, not a {type(args).__name__}"
    )
