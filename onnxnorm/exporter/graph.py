"""Makes the exported graph of a module by either of PyTorch's exporters, its normalizations single nodes."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import torch

from onnxnorm.convert.opset import convert_opset
from onnxnorm.exporter import dynamo, plain_weights, tidy, torchscript
from onnxnorm.exporter.arguments import Arguments
from onnxnorm.exporter.operand_types import settle_types
from onnxnorm.exporter.torchscript_mode import ScriptTrace
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.journal import Journal
from onnxnorm.ops.schema import DOMAIN
from onnxnorm.passes.recognize import Recognize

__all__ = ["Exported", "graph_of"]

DEFAULT_OPSET = 21
RMS_NORMALIZATION_OPSET = 23

_OLDEST_OF_DYNAMO = 18


@dataclass(frozen=True)
class Exported:
    """A cleaned graph, without the bodies of the custom operators.

    Attributes:
        opset: the one asked for; the model may be at a later one.
        batch_statistics: the modules that normalize by the statistics of the batch, by path.
    """

    model: ir.Model
    opset: int
    batch_statistics: tuple[str, ...]


def graph_of(module: torch.nn.Module, arguments: Arguments, exporter: str, opset: int | None) -> Exported:
    """Export the module to a cleaned graph, by default at opset 21, or at 23 where some normalization is an RMSNorm."""
    plain = plain_weights.plain(module)
    by = _by_script if exporter == "torchscript" else _by_dynamo
    exported = by(plain, arguments, opset)
    # Before constants are folded a frozen BatchNorm can be told from any other affine; afterwards shapes are known.
    tidy.clean(exported.model, _raise)
    plain_weights.name_parameters(exported.model.graph, module)
    return exported


def _by_dynamo(module: torch.nn.Module, arguments: Arguments, opset: int | None) -> Exported:
    name = type(module).__name__
    program = dynamo.trace(module, arguments)
    wanted = opset or (RMS_NORMALIZATION_OPSET if dynamo.uses_rms_norm(program) else DEFAULT_OPSET)
    model = dynamo.translate(program, max(wanted, _OLDEST_OF_DYNAMO), arguments, name)
    if _raise(model) and opset is None and wanted < RMS_NORMALIZATION_OPSET:
        wanted = RMS_NORMALIZATION_OPSET
        model = dynamo.translate(program, wanted, arguments, name)
        _raise(model)
    return Exported(model, wanted, tuple(dynamo.batch_statistics_users(program)))


def _by_script(module: torch.nn.Module, arguments: Arguments, opset: int | None) -> Exported:
    name = type(module).__name__
    trace = ScriptTrace()
    wanted = opset or DEFAULT_OPSET
    model = torchscript.script(module, arguments, wanted, trace)
    infer_shapes(model)
    settle_types(model, only_mixed=True)  # the conversion takes valid nodes alone
    if opset is None and trace.rms_norm:
        wanted = RMS_NORMALIZATION_OPSET
    if model.opset_imports.get("", 0) < wanted:
        convert_opset(model, wanted, name)
    if _raise(model) and opset is None and wanted < RMS_NORMALIZATION_OPSET:
        wanted = RMS_NORMALIZATION_OPSET
        convert_opset(model, wanted, name)
        _raise(model)
    return Exported(model, wanted, tuple(dict.fromkeys(trace.batch_statistics)))


def _raise(model: ir.Model) -> bool:
    """Raise written-out normalizations; tell whether an RMSNorm is left that would be one node at a later opset."""
    journal = Journal()
    Recognize(journal)(model)
    for key in [key for key in model.functions if key[0] == DOMAIN]:
        # The bodies come last, at the opset of the finished model.
        del model.functions[key]
    return any(
        decline.kind == "RMSNormalization (written out)" and decline.needs_opset == RMS_NORMALIZATION_OPSET
        for decline in journal.declined
    )
