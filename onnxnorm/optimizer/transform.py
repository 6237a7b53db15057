"""Transforms a model itself: the conversion of its opset, the passes, and what they hand to each other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import onnx_ir as ir

from onnxnorm.convert.ir_version import lower_ir_version
from onnxnorm.convert.opset import convert_opset
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.size_budget import DEFAULT_MAX_GROWTH, SizeBudget, has_shared_weights
from onnxnorm.graph.transformation import Transformation
from onnxnorm.io.new_weights import spool_of
from onnxnorm.model.names import name_apart
from onnxnorm.model.told_types import keep_inferred_types
from onnxnorm.model.walk import graphs_of, weight_bytes
from onnxnorm.optimizer.for_runtime import check_readable, opset_for
from onnxnorm.optimizer.guard import run_pass
from onnxnorm.optimizer.kept import Kept
from onnxnorm.optimizer.listed_weights import freeze_listed_weights
from onnxnorm.optimizer.own_passes import OwnPass, run_own_pass
from onnxnorm.optimizer.result import OptimizeResult
from onnxnorm.passes import DEFAULT, PASSES, Journal, PassSettings
from onnxnorm.process.gc_pause import collector_paused
from onnxnorm.validate.choices import closest, target_named
from onnxnorm.validate.runtimes import Runtime

__all__ = ["check_choices", "transform"]


@collector_paused
def transform(
    work: ir.Model,
    *,
    passes: Sequence[str] | None = None,
    target: str = "portable",
    freeze_inputs: bool | None = None,
    workspace: str | os.PathLike[str] | None = None,
    opset: int | None = None,
    runtime: Runtime | None = None,
    max_growth: float = DEFAULT_MAX_GROWTH,
    keep: Sequence[str] = (),
    name: str = "the model",
    as_ir: bool = False,
    on_pass: Callable[[str], None] = lambda name: None,
    kept: Collection[str] = (),
    for_int8: bool = False,
) -> OptimizeResult:
    """Optimize the model itself, as `optimize` does with a copy.

    `work` is as `load` returns it, `name` what errors call it; `on_pass` is told the name of each pass before it runs.
    The nodes of the main graph that make the values `kept` stay as they are. With `for_int8` branches stay apart whose
    sum would be rounded worse.
    """
    names = tuple(DEFAULT if passes is None else passes)
    check_choices(names, target, max_growth)
    journal, budget = Journal(), SizeBudget.of(work, max_growth)
    settings = PassSettings(target_named(target), Transformation(budget), for_int8=for_int8)
    spool_of(work, workspace)
    note = freeze_listed_weights(work, freeze_inputs)
    opset = opset_for(runtime, opset, work)
    if opset is not None:
        try:
            work = _converted_copy(work, opset, workspace, name)
        except OnnxNormError:
            if not names:
                raise
            # What stands in the way may be what the passes take away.
            disguise = Kept(work, kept, patterns=keep, name=name)
            work = _run(work, names, settings, name, journal)
            disguise.reveal(work, journal)
            convert_opset(work, opset, name)
    disguise = Kept(work, kept, patterns=keep, name=name)
    spare = work.clone() if has_shared_weights(graphs_of(work)) else None
    work = _run(work, names, settings, name, journal, on_pass)
    if spare is not None and budget.has_refused:
        unlimited = _with_all_copies(spare, names, settings, workspace, budget, name)
        if unlimited is not None:
            work, journal = unlimited
    disguise.reveal(work, journal)
    for graph in graphs_of(work):
        name_apart(graph)
    lower_ir_version(work)
    check_readable(work, runtime, name)
    if names and names[-1] == "infer_shapes":
        keep_inferred_types(work)
    return OptimizeResult(
        journal.rewrites,
        journal.declined,
        work,
        as_ir,
        notes=(*(() if note is None else (note,)), *_left_apart(journal)),
        copies=journal.copies,
    )


def _converted_copy(work: ir.Model, opset: int, workspace: str | os.PathLike[str] | None, name: str) -> ir.Model:
    copy = work.clone()
    copy.meta.update(work.meta)
    spool_of(copy, workspace)
    convert_opset(copy, opset, name)
    return copy


def _left_apart(journal: Journal) -> Iterator[str]:
    if journal.apart:
        what = "a sum stay" if journal.apart == 1 else f"{journal.apart} sums stay"
        yield f"the branches of {what} apart: as one weight int8 would round them worse"


def _run(
    work: ir.Model,
    names: Sequence[str],
    settings: PassSettings,
    name: str,
    journal: Journal,
    on_pass: Callable[[str], None] = lambda name: None,
) -> ir.Model:
    """Run the passes; return the model, which a pass of the caller may have made anew."""
    known: frozenset[str] | None = None
    for each in names:
        on_pass(each)
        if isinstance(each, OwnPass):
            work, known = run_own_pass(each, work, journal, name), None
        else:
            known = run_pass(PASSES[each](journal, settings), each, work, name, known)
    return work


def _with_all_copies(
    spare: ir.Model,
    names: Sequence[str],
    settings: PassSettings,
    workspace: str | os.PathLike[str] | None,
    budget: SizeBudget,
    name: str,
) -> tuple[ir.Model, Journal] | None:
    """Transform the model with every copy of a shared weight made; None where its weights outgrow the budget then.

    A copy that all readers of a weight come to share, one after another, takes its place in the end.
    """
    journal, unlimited = Journal(), SizeBudget.of(spare)
    spare.meta.clear()
    spool_of(spare, workspace)
    unlimited.unlimited = True
    try:
        spare = _run(spare, names, replace(settings, transformation=Transformation(unlimited)), name, journal)
    except OnnxNormError:
        return None
    return (spare, journal) if weight_bytes(spare) <= budget.original + budget.allowed else None


def check_choices(passes: Sequence[str], target: str, max_growth: float) -> None:
    """Refuse passes and targets that there are not, and a growth that is no part of the weights.

    Raises:
        OnnxNormError: one of them is wrong.
    """
    for each in passes:
        if each == "...":
            raise OnnxNormError("the passes that run by default are ..., without quotes")
        if each not in PASSES and not isinstance(each, OwnPass):
            raise OnnxNormError(f"there is no pass {each!r}{closest(each, PASSES)}; there are: {', '.join(PASSES)}")
    target_named(target)
    if not isinstance(max_growth, (int, float)) or not 0 <= max_growth < math.inf:
        raise OnnxNormError(f"max_growth is a part of the weights, such as 0.05, not {max_growth!r}")
