"""Chooses target and opset for a runtime of a given version, and checks that it reads the result."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.validate.choices import target_named
from onnxnorm.validate.runtimes import Runtime

__all__ = ["check_readable", "opset_for", "target_for"]

_DEFAULT = "portable"


def target_for(runtime: Runtime | None, target: str) -> str:
    """Return the target to write for: that of the runtime where none but the default was asked for.

    Raises:
        OnnxNormError: the target is that of another runtime.
    """
    target = target_named(target)
    if runtime is None or target == runtime.target:
        return target
    if target != _DEFAULT:
        raise OnnxNormError(f"target {target!r} is not written for {runtime}, whose target is {runtime.target!r}")
    return runtime.target


def opset_for(runtime: Runtime | None, opset: int | None, model: ir.Model) -> int | None:
    """Return the opset to convert the model to: what was asked for, or the newest that the runtime reads.

    Raises:
        OnnxNormError: the runtime does not read what was asked for.
    """
    if runtime is None or runtime.opset is None:
        return opset
    if opset is not None:
        runtime.check_opset(opset)
        return opset
    return runtime.opset if model.graph.opset_imports.get("", 1) > runtime.opset else None


def check_readable(model: ir.Model, runtime: Runtime | None, name: str) -> None:
    """Check that the runtime reads a file of the model.

    Raises:
        OnnxNormError: the model holds what only later versions read.
    """
    if runtime is None or runtime.ir_version is None or (model.ir_version or 0) <= runtime.ir_version:
        return
    raise OnnxNormError(
        f"{name}: what it holds needs IR version {model.ir_version} (types of few bits, overloads or devices), and "
        f"{runtime} reads versions up to {runtime.ir_version}"
    )
