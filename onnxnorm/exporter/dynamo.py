"""Makes the exporter's raw graph of a PyTorch module: what `onnxnorm.export` asks of torch.export and torch.onnx."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch

from onnxnorm.errors import OnnxNormError
from onnxnorm.exporter import dynamo_translations
from onnxnorm.exporter.arguments import Arguments
from onnxnorm.exporter.diagnosis import why_it_cannot_be_traced
from onnxnorm.exporter.intercept import OneNodeMode
from onnxnorm.exporter.messages import OTHER_EXPORTER, reason_of

__all__ = ["batch_statistics_users", "trace", "translate", "uses_rms_norm"]


aten = torch.ops.aten


def _with_hints(spec: Any) -> Any:
    """Turn named axes into torch's hint for an open axis; all else is torch's own notation.

    A plain `Dim` would forbid what the hint allows, such as an axis whose length must not be 1.
    """
    if isinstance(spec, str):
        return torch.export.Dim.DYNAMIC
    if isinstance(spec, torch.export.Dim) and not hasattr(spec, "root"):
        return torch.export.Dim.DYNAMIC(min=spec.min, max=spec.max)
    if isinstance(spec, Mapping):
        return {key: _with_hints(value) for key, value in spec.items()}
    if isinstance(spec, (list, tuple)):
        return type(spec)(_with_hints(value) for value in spec)
    return spec


def trace(module: torch.nn.Module, arguments: Arguments) -> torch.export.ExportedProgram:
    """Trace the module as one graph of ATen operators, its local response normalizations already single nodes."""
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    # The fused operators of attention, taken where no gradient is wanted, have no ONNX form.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), OneNodeMode(), _lengths_of_one_may_vary():
            return torch.export.export(
                module,
                arguments.positional,
                kwargs=arguments.named or None,
                dynamic_shapes=_with_hints(arguments.open_axes),
                strict=False,
            )
    except OnnxNormError:
        raise
    except Exception as error:
        raise OnnxNormError(why_it_cannot_be_traced(module, arguments, error)) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused_attention)


def _lengths_of_one_may_vary() -> contextlib.AbstractContextManager[Any]:
    """Allow an open axis to have length 1 in the example, as torch's own exporter does."""
    config = getattr(torch.fx.experimental, "_config", None)
    if config is None or not hasattr(config, "backed_size_oblivious"):
        return contextlib.nullcontext()
    return config.patch(backed_size_oblivious=True)  # type: ignore[no-any-return]


def translate(program: torch.export.ExportedProgram, opset: int, arguments: Arguments, name: str) -> ir.Model:
    """Translate the graph to ONNX operators, not cleaned, nothing folded; open axes named as the caller named them."""
    try:
        with torch.no_grad():
            exported = torch.onnx.export(
                program,
                opset_version=opset,
                custom_translation_table=dynamo_translations.translations(opset),
                optimize=False,
                verbose=False,
                dynamo=True,
            )
    except Exception as error:
        raise OnnxNormError(f"{name} has no ONNX form: {reason_of(error)} ({OTHER_EXPORTER} may take it)") from error
    assert exported is not None
    model = exported.model
    inputs, names = list(model.graph.inputs), arguments.axis_names()
    if len(inputs) == len(names):
        exported.rename_axes(_dimension_names(inputs, names))
    return model


def _dimension_names(inputs: Sequence[ir.Value], names: Sequence[dict[int, str]]) -> dict[str | ir.SymbolicDim, str]:
    renamed: dict[str | ir.SymbolicDim, str] = {}
    for given in (True, False):  # names that the caller gave come first
        for value, axes in zip(inputs, names, strict=True):
            for axis, dim in enumerate(value.shape or ()):
                symbol = dim.value if isinstance(dim, ir.SymbolicDim) else None
                if (
                    symbol is not None
                    and re.fullmatch(r"[su]\d+", symbol)
                    and symbol not in renamed
                    and (axis in axes) is given
                ):
                    renamed[symbol] = axes.get(axis, f"{value.name}_dim_{axis}")
    return renamed


def uses_rms_norm(program: torch.export.ExportedProgram) -> bool:
    """Whether some normalization is an RMSNorm."""
    return any(node.target is aten.rms_norm.default for node in _nodes(program))


def batch_statistics_users(program: torch.export.ExportedProgram) -> list[str]:
    """Return the modules whose batch normalization uses the statistics of the batch, by path."""
    return [
        _module_path(node)
        for node in _nodes(program)
        if node.target is aten.batch_norm.default and len(node.args) > 5 and node.args[5] is True
    ]


def _nodes(program: torch.export.ExportedProgram) -> Iterator[torch.fx.Node]:
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            yield from module.graph.nodes


def _module_path(node: torch.fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    return re.sub(r"^L\['self'\]\.?", "", path) or node.name
