"""Holds `export`: a PyTorch module becomes an ONNX model in which every normalization is one node."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, OnnxNormWarning
from onnxnorm.exporter.interface_names import rename
from onnxnorm.io import load_and_save

if TYPE_CHECKING:
    import torch

    from onnxnorm.prepare.preprocessing import Preprocessing

__all__ = ["export"]

EXPORTERS = ("dynamo", "torchscript")
OLDEST_OPSET = 13


def export(
    module: torch.nn.Module | torch.export.ExportedProgram | torch.onnx.ONNXProgram | str | os.PathLike[str],
    args: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    dynamic_shapes: Mapping[str, Any] | Sequence[Any] | None = None,
    opset: int | None = None,
    fold: bool = False,
    verify: bool = True,
    exporter: Literal["dynamo", "torchscript"] = "dynamo",
    normalize_input: Mapping[str, Any] | None = None,
    input_layout: str | None = None,
    input_dtype: str | None = None,
    swap_rb: bool = False,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """Export a PyTorch module in evaluation mode, each of its normalizations as one node.

    ONNX's own operator is used where the opset has it and onnxruntime runs it; local response normalizations without
    one become `onnxnorm.InterChannelLRN` or `onnxnorm.IntraChannelLRN`, whose portable bodies the model carries. That
    holds for layers, for functional calls and for what a module computes step by step (a frozen BatchNorm, the RMSNorm
    of a language model), as far as it is exactly what the one node computes. BatchNormalizations stay. Weights that
    are computed from others (weight norm, spectral norm and other parametrizations) are exported as plain weights.
    Parameters keep their names, and neither the module nor a parameter is changed. A node whose half types ONNX's
    definitions do not allow, or for which onnxruntime has no kernel (bfloat16), computes in float32 between casts.

    Args:
        module: the module, every part of it in evaluation mode; or what PyTorch has made of one: an
            `ExportedProgram`, the path of a `.pt2` file, or an `ONNXProgram`, whose opset and axes stay as they are.
        args: example inputs: a tensor, a sequence of positional arguments, or a dictionary of named ones. A program
            brings its own.
        path: where to write the model too; written whole or not at all.
        dynamic_shapes: the axes that stay open, as `torch.export.export` takes them, for each input a dictionary from
            axis to `torch.export.Dim` or to a name: `{"x": {0: "batch"}}` or `[{0: "batch"}]`.
        opset: the ONNX opset, 13 or later (9 with the exporter torchscript). By default 21, the first with
            GroupNormalization for each channel, which onnxruntime runs from 1.20; 23 where the module has an RMSNorm
            (RMSNormalization; onnxruntime from 1.23). Below those, a GroupNorm is a reshaped InstanceNormalization
            with Mul and Add, an RMSNorm is written out.
            Below 18 what dynamo writes is converted, which not every operator can be; torchscript writes old opsets
            itself.
        fold: move the BatchNormalizations into their neighbours as well, as `onnxnorm.fold` does.
        verify: run model and module on `args`, and on longer inputs along the open axes, and compare.
        exporter: which of PyTorch's exporters reads the module: "dynamo", or "torchscript", the older one, which runs
            the module once and writes down what it does on `args`. It takes modules that dynamo cannot trace, and
            old opsets; branches of Python that depend on a tensor are fixed as they were taken.
        normalize_input, input_layout, input_dtype, swap_rb: the model takes images before they are normalized and
            laid out, as `onnxnorm.optimize` has it; with `fold` that goes into the operators that follow.
        input_names, output_names: names for the inputs and outputs of the model, in order; by default the inputs have
            those of the parameters of `forward`.

    Raises:
        OnnxNormError: the module is in training mode (the message names the parts), is no module that can be exported,
            does not run on `args`, uses an operator that ONNX has no form for, or the file cannot be written; or the
            model computes something else than the module, which is a bug of an exporter.

    Warns:
        OnnxNormWarning: a BatchNorm without running statistics, which is exported as it is; a model that onnxruntime
            does not run, such as one with a Conv of doubles; a model that differs from the module at other lengths of
            the open axes or in the type of an output, or that cannot be compared with it.
    """
    try:
        import torch
    except ImportError as error:
        raise OnnxNormError('onnxnorm.export needs PyTorch: pip install "onnxnorm[torch]"') from error
    from onnxnorm.exporter import graph, preconditions, programs
    from onnxnorm.exporter.arguments import Arguments
    from onnxnorm.exporter.messages import quiet
    from onnxnorm.prepare.preprocessing import Preprocessing

    preprocessing = Preprocessing.of(normalize_input, input_layout, input_dtype, swap_rb)
    if exporter not in EXPORTERS:
        raise OnnxNormError(f"exporter must be one of {', '.join(EXPORTERS)}, not {exporter!r}")
    if isinstance(getattr(module, "model", None), ir.Model) and not isinstance(module, torch.nn.Module):
        proto = _of_onnx_program(module, opset, verify, (input_names, output_names))
        proto = proto if preprocessing is None else _preprocessed(proto, preprocessing)
        proto = _folded(proto) if fold else proto
        if path is not None:
            load_and_save.save(proto, path)
        return proto
    if programs.is_program(module):
        program = programs.load_program(module)  # type: ignore[arg-type]
        module = programs.module_of(program)
        if args is None:
            positional, named = program.example_inputs or ((), {})
            args = dict(named) if named and not positional else tuple(positional)
            dynamic_shapes = programs.open_axes_of(program) if dynamic_shapes is None else dynamic_shapes
    checked = preconditions.check_module(module)
    if args is None:
        raise OnnxNormError("args is missing: the example inputs of the module, a tensor or a tuple of them")
    name = type(checked).__name__
    _check_opset(opset, exporter)
    arguments = Arguments(checked, *preconditions.normalized_args(args), dynamic_shapes)
    with quiet():
        exported = graph.graph_of(checked, arguments, exporter, opset)
    _warn_of_batch_statistics(name, exported.batch_statistics)
    model = exported.model
    rename(model, input_names, output_names)
    _convert(model, exported.opset, name)
    to_fold = _before_fold(model) if fold else None
    proto, misfits = _finished(model)
    if verify:
        from onnxnorm.exporter.compare import verify_export

        verify_export(checked, arguments, proto, misfits)
    elif misfits:
        warnings.warn(f"{name}: onnxruntime does not run the exported model: {misfits}", OnnxNormWarning, stacklevel=2)
    if preprocessing is not None:
        proto, to_fold = _preprocessed(proto, preprocessing), to_fold and _preprocessed(to_fold, preprocessing)
    if to_fold is not None:
        proto = _folded(to_fold)
    if path is not None:
        load_and_save.save(proto, path)
    return proto


def _warn_of_batch_statistics(name: str, parts: Iterable[str]) -> None:
    for part in parts:
        warnings.warn(
            f"{f'{name}.{part}' if part else name} keeps no running statistics, or does not use them: it is exported "
            "as it is, normalizing each batch by its own statistics, so that a result depends on the whole batch",
            OnnxNormWarning,
            stacklevel=3,
        )


def _of_onnx_program(
    program: Any,
    opset: int | None,
    verify: bool,
    names: tuple[Sequence[str] | None, Sequence[str] | None],
) -> onnx.ModelProto:
    """Make single nodes of the normalizations that PyTorch's exporter wrote out, in a copy of what it made."""
    from onnxnorm.optimizer.optimize import optimize

    steps = ["inline_functions", "infer_shapes", "recognize", "clean"]
    result = optimize(program, passes=steps, opset=opset, verify=verify).model
    rename(result, *names)
    return load_and_save.to_proto(result)


def _check_opset(opset: object, exporter: str) -> None:
    if opset is None:
        return
    from onnxnorm.exporter import torchscript

    oldest = OLDEST_OPSET if exporter == "dynamo" else torchscript.OLDEST_OPSET
    newest = onnx.defs.onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, int) or not oldest <= opset <= newest:
        raise OnnxNormError(f"opset must be a whole number from {oldest} to {newest}, not {opset!r}")


def _convert(model: ir.Model, opset: int, name: str) -> None:
    """Bring the model to the opset asked for."""
    from onnxnorm.convert.opset import convert_opset
    from onnxnorm.exporter.operand_types import settle_types

    model.graph.name = name
    reached = model.opset_imports.get("", opset)
    if reached < opset:
        raise OnnxNormError(f"PyTorch's exporter reaches opset {reached}, not {opset}: ask for that, or for none")
    if reached > opset:
        settle_types(model, only_mixed=True)
        try:
            convert_opset(model, opset, name)
        except OnnxNormError as error:
            from onnxnorm.exporter.messages import OTHER_EXPORTER

            raise OnnxNormError(f"{error}; {OTHER_EXPORTER} writes old opsets itself") from error


def _finished(model: ir.Model) -> tuple[onnx.ModelProto, str]:
    """Return the model in one message, with types that runtimes take and the bodies of the custom operators it uses.

    The second says which of its nodes have types that ONNX's definitions or onnxruntime's kernels do not take; it is
    empty where there are none.
    """
    from onnxnorm.exporter.operand_types import settle_types

    misfits = settle_types(model)
    shown = "; ".join(misfits[:3]) + (f"; and {len(misfits) - 3} more" if len(misfits) > 3 else "")
    return _with_bodies(model), shown


def _before_fold(model: ir.Model) -> onnx.ModelProto:
    """Return the model as `fold` reads it: no casts for runtimes part a BatchNormalization from its neighbours."""
    from onnxnorm.exporter.operand_types import settle_types

    settle_types(model, only_mixed=True)
    return _with_bodies(model)


def _with_bodies(model: ir.Model) -> onnx.ModelProto:
    from onnxnorm.convert.ir_version import lower_ir_version
    from onnxnorm.ops import attach

    lower_ir_version(model)
    proto = load_and_save.to_proto(model)
    attach.attach_bodies(proto)
    return proto


def _preprocessed(proto: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    from onnxnorm.prepare.preprocessing import prepend

    model = load_and_save.load(proto)
    prepend(model, preprocessing)
    return load_and_save.to_proto(model)


def _folded(proto: onnx.ModelProto) -> onnx.ModelProto:
    from onnxnorm.exporter.operand_types import settle_types
    from onnxnorm.optimizer.optimize import fold

    folded = fold(proto, verify=False).model
    assert isinstance(folded, onnx.ModelProto)
    model = ir.from_proto(folded)
    settle_types(model)
    return load_and_save.to_proto(model)
