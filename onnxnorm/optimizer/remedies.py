"""Tries remedies on copies of a model, so that a reason is not only given but known to be true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.io.model_source import ModelSource
from onnxnorm.journal import Remedy
from onnxnorm.model.source import ModelLike
from onnxnorm.optimizer.accounted import accounted
from onnxnorm.optimizer.fixed_shapes import fix_shapes
from onnxnorm.optimizer.records import Fate, NormRecord

__all__ = ["with_tried_remedies"]


def with_tried_remedies(
    model: ModelLike, records: Iterable[NormRecord], options: Mapping[str, Any], *, at_most: int = 3
) -> tuple[NormRecord, ...]:
    """Return the records, with those remedies tried that `optimize` can carry out or that leave an output out.

    One that does not do by itself is not offered any more: it has no options and names no output.

    Args:
        model: the model that the records are of.
        records: what became of its normalizations.
        options: the options with which it was optimized.
        at_most: how many different remedies are tried; the others stay untried.
    """
    told = tuple(records)
    remedies = list(dict.fromkeys(record.remedy for record in told if record.remedy is not None))
    gone: dict[Remedy, frozenset[str]] = {}
    for remedy in [each for each in remedies if each.options or each.output][:at_most]:
        if (names := _gone_by(remedy, model, options)) is not None:
            gone[remedy] = names
    return tuple(
        record
        if record.remedy is None or record.remedy not in gone
        else replace(record, remedy=_judged(record.remedy, record.where in gone[record.remedy]))
        for record in told
    )


def _judged(remedy: Remedy, helps: bool) -> Remedy:
    return replace(remedy, tried=True) if helps else Remedy(remedy.text, tried=False)


def _gone_by(remedy: Remedy, model: ModelLike, options: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the normalizations that are not left once the remedy is applied; None where it cannot be applied."""
    work, chosen = ModelSource(model).graph(), {**options}
    shapes: dict[str, Sequence[int | str]] = dict(chosen.pop("fix_shapes", None) or {})
    words = list(remedy.options)
    while words:
        word = words.pop(0)
        if word == "--freeze-inputs":
            chosen["freeze_inputs"] = True
        elif word == "--opset":
            chosen["opset"] = int(words.pop(0))
        elif word == "--max-growth":
            chosen["max_growth"] = float(words.pop(0))
        elif word == "--fix-shape":
            name, _, dims = words.pop(0).rpartition(":")
            shapes[name] = tuple(int(dim) if dim.isdecimal() else dim for dim in dims.split(","))
    try:
        if shapes:
            fix_shapes(work, shapes, "the model")
        if remedy.output:
            _leave_out(work.graph, remedy.output)
        _, records = accounted(work, **chosen)
    except OnnxNormError:
        return None
    return frozenset(record.where for record in records if record.fate not in (Fate.LEFT, Fate.PARTLY))


def _leave_out(graph: ir.Graph, name: str) -> None:
    if len(graph.outputs) > 1:
        graph.outputs[:] = [value for value in graph.outputs if value.name != name]
