"""Lists every normalization of a model: which, where, of what shape, and what optimizing makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from onnxnorm.model.source import ModelLike
from onnxnorm.optimizer.accounted import TransformOptions, accounted
from onnxnorm.optimizer.fixed_shapes import source_of
from onnxnorm.optimizer.guard import leaving_out_failed_passes
from onnxnorm.optimizer.records import Fate, NormRecord, NormRecords
from onnxnorm.optimizer.result import OptimizeResult
from onnxnorm.passes import DEFAULT

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Fate", "NormRecord", "examine", "inspect"]


def inspect(model: ModelLike) -> NormRecords:
    """Find every normalization of a model and what `optimize` makes of it, which is tried on a copy.

    Args:
        model: a path, a `ModelProto`, an `onnx_ir.Model`, or what carries one; never changed.

    Returns:
        A record for each normalization node of the main graph, its subgraphs and the model-local functions (the
        portable bodies of this project's own operators aside), in the order of the graph; then one for each
        normalization that is spelled out in other operators and recognized. The tuple of them has an `account`, shows
        itself as a table in notebooks, and gives a dictionary (`to_dict`) and a data frame (`to_dataframe`).

    Raises:
        OnnxNormError: the model cannot be read.
    """
    return NormRecords(examine(model)[1])


def examine(
    model: ModelLike,
    *,
    fix_shapes: Mapping[str, Sequence[int | str]] | None = None,
    **options: Unpack[TransformOptions],
) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
    """Optimize a copy of the model with these options of `optimize`; return the result and the records of `inspect`."""
    source = source_of(model, fix_shapes)

    def run(names: Sequence[str]) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
        chosen: TransformOptions = {**options, "passes": names, "name": source.name}
        return accounted(source.graph(), **chosen)

    (result, records), notes = leaving_out_failed_passes(run, DEFAULT)
    return replace(result, notes=result.notes + notes), records
