"""`optimize` and `fold`: a model in, a copy of it transformed by passes out, with an account of what was done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from onnxnorm import _model_io
from onnxnorm._convert import convert_opset
from onnxnorm._errors import OnnxNormError
from onnxnorm._model_io import ModelLike
from onnxnorm._targets import TARGETS as _TARGETS
from onnxnorm.passes import DEFAULT, FOLDING, PASSES, Decline, Journal, PassSettings, Rewrite

__all__ = ["TARGETS", "Decline", "OptimizeResult", "Rewrite", "fold", "optimize"]

TARGETS: tuple[str, ...] = tuple(_TARGETS)


@dataclass(frozen=True)
class OptimizeResult:
    """The transformed model and the account of it.

    Attributes:
        rewrites: what was done, in order.
        declined: every normalization that is left, with its reason.
    """

    rewrites: tuple[Rewrite, ...]
    declined: tuple[Decline, ...]
    _model: ir.Model
    _as_ir: bool

    @cached_property
    def model(self) -> onnx.ModelProto | ir.Model:
        """The result: an `onnx_ir.Model` if that came in, a `ModelProto` otherwise."""
        return self._model if self._as_ir else _model_io.to_proto(self._model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole result to `path`, or leave what is there untouched."""
        _model_io.save(self._model, path)


def optimize(
    model: ModelLike,
    *,
    passes: Sequence[str] | None = None,
    target: str = "portable",
    verify: bool = False,
    freeze_inputs: bool = False,
    opset: int | None = None,
) -> OptimizeResult:
    """Transform a model into a faster one that computes the same.

    Args:
        model: a path, a `ModelProto` or an `onnx_ir.Model`; never changed.
        passes: names of passes to run, in this order; by default `onnxnorm.passes.DEFAULT`.
        target: what the result is to run on, one of `TARGETS`.
        verify: prove the result against the original with `onnxnorm.verify`.
        freeze_inputs: take initializers that a caller could override (they are inputs too) for constants.
        opset: convert the model to this opset first, by the converters of onnxscript and onnx, so that normalizations
            become the nodes that it has: LayerNormalization from 17 on, GroupNormalization 21, RMSNormalization 23.

    Raises:
        OnnxNormError: the model cannot be read or converted, a pass or target is unknown, or the result failed
            verification.
    """
    names = tuple(DEFAULT if passes is None else passes)
    for name in names:
        if name not in PASSES:
            raise OnnxNormError(f"there is no pass {name!r}; there are: {', '.join(PASSES)}")
    if target not in TARGETS:
        raise OnnxNormError(f"there is no target {target!r}; there are: {', '.join(TARGETS)}")
    journal = Journal()
    settings = PassSettings(target=target)
    work = _model_io.load(model)
    if freeze_inputs and (work.ir_version or 4) >= 4:
        RemoveInitializersFromInputsPass()(work)
    if opset is not None:
        convert_opset(work, opset, _model_io.name_of(model))
    for name in names:
        PASSES[name](journal, settings)(work)
    result = OptimizeResult(journal.rewrites, journal.declined, work, isinstance(model, ir.Model))
    if verify:
        _prove(model, result)
    return result


def fold(model: ModelLike, *, verify: bool = False, freeze_inputs: bool = False) -> OptimizeResult:
    """`optimize` with the folding passes alone: affines move and are absorbed, nothing else changes."""
    return optimize(model, passes=FOLDING, verify=verify, freeze_inputs=freeze_inputs)


def _prove(original: ModelLike, result: OptimizeResult) -> None:
    from onnxnorm._verify import verify

    report = verify(original, result.model)
    if not report.passed:
        raise OnnxNormError(f"{_model_io.name_of(original)}: the result failed verification: {report}")
