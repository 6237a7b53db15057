"""Transforms a model and tells what became of its normalizations, by the options of whoever asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypedDict

from onnxnorm.optimizer.account import account
from onnxnorm.optimizer.transform import transform

if TYPE_CHECKING:
    import onnx_ir as ir
    from typing_extensions import Unpack

    from onnxnorm.optimizer.records import NormRecord
    from onnxnorm.optimizer.result import OptimizeResult
    from onnxnorm.validate.runtimes import Runtime

__all__ = ["TransformOptions", "accounted"]


class TransformOptions(TypedDict, total=False):
    """The options of `transform`, which says what they mean."""

    passes: Sequence[str] | None
    target: str
    freeze_inputs: bool | None
    workspace: str | os.PathLike[str] | None
    opset: int | None
    runtime: Runtime | None
    max_growth: float
    keep: Sequence[str]
    name: str
    as_ir: bool
    on_pass: Callable[[str], None]
    kept: Collection[str]
    for_int8: bool


def accounted(
    work: ir.Model, *, told_shapes: bool = False, **options: Unpack[TransformOptions]
) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
    """Transform the model itself; return the result, and the records as `inspect` returns them.

    Args:
        work: the model as `load` returns it.
        told_shapes: as for `account`.
        options: those of `transform`.
    """
    return account(work, lambda model: transform(model, **options), told_shapes=told_shapes)
