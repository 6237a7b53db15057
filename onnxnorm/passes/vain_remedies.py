"""Withdraws remedies that would not do by themselves, as the solver finds where they are carried out on a copy.

Weights that a caller may override are taken for constants, and outputs are left out: what is in the way then is told
with the remedy, which is not offered any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from onnxnorm.affine import AffineNode, Region, Units, affine_of, diagnose, solve
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.transformation import Transformation
from onnxnorm.idioms import units_in
from onnxnorm.journal import Journal
from onnxnorm.journal.reasons import ADVICE, Code, Remedy
from onnxnorm.model.walk import graphs_within

__all__ = ["withdraw_vain_remedies"]

# Remedies of one kind that are looked into; beyond them they stay as they are.
_MOST = 16
_MOST_OUTPUTS = 3


def withdraw_vain_remedies(
    journal: Journal,
    left: Sequence[ir.Node],
    overridable: Sequence[ir.Node],
    model: ir.Model,
    target: str,
    transformation: Transformation | None,
) -> None:
    """Look into the remedies that the journal has for these nodes.

    Args:
        journal: has a reason for each of the nodes.
        left: the normalizations that are left.
        overridable: those of them that are left since a caller may override their weights.
        model: the model as it is now; it is not changed.
        target: the runtime whose idioms stay whole.
        transformation: what earlier passes hand on.
    """
    if overridable:
        facts = Facts(model, transformation, freezes=True)
        units = units_in(model, facts, target)
        for node in overridable[:_MOST]:
            _look(journal, node, node, facts, units, ADVICE[Code.OVERRIDABLE_WEIGHT])
    by_output: dict[str, list[ir.Node]] = {}
    for node in left:
        remedy = journal.remedy_of(node)
        if remedy is not None and remedy.output:
            by_output.setdefault(remedy.output, []).append(node)
    for output in list(by_output)[:_MOST_OUTPUTS]:
        copy = _without(model, output)
        facts = Facts(copy, Transformation.of(copy))
        units = units_in(copy, facts, target)
        twins = {node.name: node for graph in graphs_within(copy.graph) for node in graph}
        for node in by_output[output][:_MOST]:
            twin = twins.get(node.name)
            if twin is not None and twin.op_type == node.op_type:
                _look(journal, node, twin, facts, units, f"leave the output {output!r} out of the graph")


def _without(model: ir.Model, output: str) -> ir.Model:
    copy = model.clone()
    copy.graph.outputs[:] = [value for value in copy.graph.outputs if value.name != output]
    return copy


def _look(journal: Journal, node: ir.Node, twin: ir.Node, facts: Facts, units: Units, advice: str) -> None:
    """Withdraw the remedy of the node where something else is in the way of its twin, which has it carried out."""
    others = list(dict.fromkeys(_in_the_way(twin, facts, units)))
    if others:
        journal.advise(node, Remedy(f"{advice}; then {others[0]}"))


def _in_the_way(node: ir.Node, facts: Facts, units: Units) -> Iterable[str]:
    """Yield what is in the way of the affine of the node, the truest reason first; nothing where it would go whole."""
    found = affine_of(node, facts)
    if not isinstance(found, AffineNode):
        yield f"it {found.reason}"
        return
    region = solve(node, found, facts, units=units)
    own = region.edits.get(node) if isinstance(region, Region) else None
    if isinstance(region, Region) and own is not None and own.removed and not region.insertions:
        return
    diagnosis = diagnose(node, found, facts, units)
    if diagnosis.why is not None:
        yield diagnosis.why.reason
    elif region.why is not None:
        yield region.why.reason
    else:
        yield "a part of it would be left"
