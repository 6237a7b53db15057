"""Chooses which part of a graph to replace by one convolution: the plan with the most work saved.

A plan ends at a root node. A root that is a sum is taken together with the sums that feed only it; of its terms, those
that are linear maps of one source may merge, and the others stay as they are. Any other root is one term: what is
between it and the source becomes one node.
A node between source and terms goes if all that read it go. So a branch with another consumer is computed still, and
the plan must save work in spite of it: neither multiply-adds nor elements moved may rise, and one of them must fall.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxnorm.linear.axis import TransposedAxis
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.cost import Cost, gathering
from onnxnorm.linear.operators.table import is_sum, may_step, merely_scales
from onnxnorm.linear.reader import Reader
from onnxnorm.linear.step import Family
from onnxnorm.model.dtypes import FLOATS

__all__ = ["Plan", "Term", "plans_for"]

# More terms than any network sums up; the search is cubic in those of different geometry.
_MAX_TERMS = 256
_MAX_CLUSTERS = 16


@dataclass(frozen=True)
class Term:
    """A term of a sum: a value that is added, or subtracted where `sign` is -1."""

    sign: float
    value: ir.Value


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan: `convolution` of `source` takes the place of the terms `merged` of `root`.

    Attributes:
        left: the terms that are still added.
        gone: the nodes that nobody needs any more, each after all that read it; the root aside.
        sums: the nodes that add the terms up, the root first; empty where the root is no sum.
        saves: the work that falls.
    """

    root: ir.Node
    source: ir.Value
    convolution: Convolution
    merged: tuple[Term, ...]
    left: tuple[Term, ...]
    gone: tuple[ir.Node, ...]
    sums: tuple[ir.Node, ...]
    saves: Cost


def plans_for(root: ir.Node, reader: Reader) -> list[Plan]:
    """List all plans with this root that save something, the one that saves most first."""
    if len(root.outputs) != 1 or root.outputs[0].dtype not in (None, *FLOATS):
        return []
    if is_sum(root, reader.facts):
        if feeds_one_sum(root, reader):
            return []
        sums, terms = _flattened(root, reader)
        if len(terms) > _MAX_TERMS:
            return []
    else:
        # A lone linear node has nothing to merge with.
        if not any(value is not None and may_step(value, reader.family) for value in root.inputs):
            return []
        if reader.step(root.outputs[0]) is None:
            return []
        sums, terms = (), (Term(1.0, root.outputs[0]),)
    plans: list[Plan] = []
    for source in _sources(terms, reader):
        plans.extend(_plans(root, source, sums, terms, reader))
    return sorted(plans, key=lambda plan: -plan.saves.total)


def feeds_one_sum(node: ir.Node, reader: Reader) -> bool:
    """Whether the node is a part of a larger sum in its graph."""
    output = node.outputs[0]
    uses = output.uses()
    if len(uses) != 1 or output.is_graph_output():
        return False
    user = next(iter(uses))[0]
    return user.graph is node.graph and is_sum(user, reader.facts)


def _flattened(root: ir.Node, reader: Reader) -> tuple[tuple[ir.Node, ...], tuple[Term, ...]]:
    sums: list[ir.Node] = []
    terms: list[Term] = []
    stack = [(1.0, root)]
    while stack:
        sign, node = stack.pop()
        sums.append(node)
        for index, value in enumerate(node.inputs):
            assert value is not None
            own = -sign if node.op_type == "Sub" and index == 1 else sign
            inner = value.producer()
            if (
                inner is not None
                and inner.graph is root.graph
                and is_sum(inner, reader.facts)
                and feeds_one_sum(inner, reader)
            ):
                stack.append((own, inner))
            else:
                terms.append(Term(own, value))
    return tuple(sums), tuple(terms)


def _sources(terms: Sequence[Term], reader: Reader) -> Iterator[ir.Value]:
    """Yield values that two terms depend on; for a single term all values that it is made of."""
    counts: dict[ir.Value, int] = {}
    for term in terms:
        for source in reader.sources(term.value):
            counts[source] = counts.get(source, 0) + 1
    for source, count in counts.items():
        if count > 1 or (len(terms) == 1 and source is not terms[0].value):
            yield source


def _plans(
    root: ir.Node, source: ir.Value, sums: tuple[ir.Node, ...], terms: tuple[Term, ...], reader: Reader
) -> Iterator[Plan]:
    # To follow and to count nodes is quick, to multiply constants is not.
    least = min(len(terms), 2)
    linear = [term for term in terms if reader.depends_on_it_alone(term.value, source)]
    if len(linear) < least or not _is_worth_reading(source, sums, terms, reader):
        return
    linear = [term for term in linear if reader.express(term.value, source) is not None]
    if len(linear) < least:
        return

    def plan(merged: Sequence[Term]) -> Plan | None:
        return _plan(root, source, sums, terms, merged, reader)

    whole = plan(linear)
    if whole is not None:
        yield whole
    # Where all together cost too much, or do not fit together: those of one geometry first, then whatever saves most.
    clusters = _of_one_geometry(linear, source, reader)
    if len(linear) < 3 or len(clusters) > _MAX_CLUSTERS:
        return
    for cluster in clusters:
        own = plan(cluster) if len(cluster) > 1 else None
        if own is not None:
            yield own
    while True:
        best: tuple[Plan, int, int] | None = None
        for i in range(len(clusters)):
            for j in range(i + 1, len(clusters)):
                joint = plan(clusters[i] + clusters[j])
                if joint is not None and (best is None or joint.saves.total > best[0].saves.total):
                    best = (joint, i, j)
        if best is None:
            return
        yield best[0]
        clusters[best[1]] += clusters.pop(best[2])


def _of_one_geometry(terms: Sequence[Term], source: ir.Value, reader: Reader) -> list[list[Term]]:
    groups: dict[object, list[Term]] = {}
    for term in terms:
        part = reader.express(term.value, source)
        assert part is not None
        groups.setdefault((part.axes, part.group), []).append(term)
    return list(groups.values())


def _plan(
    root: ir.Node,
    source: ir.Value,
    sums: tuple[ir.Node, ...],
    terms: tuple[Term, ...],
    merged: Sequence[Term],
    reader: Reader,
) -> Plan | None:
    gone = _gone(root, source, sums, merged, reader)
    if not _are_several(gone, sums, reader):
        return None
    total: Convolution | None = None
    for term in merged:
        part = reader.express(term.value, source)
        if part is None:
            return None
        if total is None:
            total = part.scaled(-1.0) if term.sign < 0 else part
        else:
            total = total.plus(part, term.sign, reader.extents(source))
        if total is None:
            return None
    if total is None or not _is_writable(total):
        return None
    before = Cost()
    for node in gone:
        before += reader.cost(node, source)
    elements = total.outputs * reader.positions(source, total)
    before += Cost((len(merged) - 1.0) * elements, (len(merged) - 1.0) * 3.0 * elements)
    saves = before - _cost(total, source, elements, reader)
    if not saves.saves:
        return None
    kept = list(terms)
    for term in merged:
        kept.remove(term)
    rest = tuple(node for node in gone if node is not root)
    return Plan(root, source, total, tuple(merged), tuple(kept), rest, sums, saves)


def _is_worth_reading(source: ir.Value, sums: tuple[ir.Node, ...], terms: Sequence[Term], reader: Reader) -> bool:
    between: dict[ir.Node, None] = {}
    for term in terms:
        if source in reader.sources(term.value):
            between.update(reader.between(term.value, source))
    return _are_several(between, sums, reader)


def _are_several(nodes: Iterable[ir.Node], sums: Sequence[ir.Node], reader: Reader) -> bool:
    """Whether there is something to merge: one operator with affines around it is the affine engine's business."""
    linear, has_weight = len(sums), False
    for node in nodes:
        step = reader.step(node.outputs[0])
        has_weight = has_weight or (step is not None and step.weight is not None)
        linear += linear < 2 and not merely_scales(node, reader.facts)
        if has_weight and linear >= 2:
            return True
    return False


def _gone(
    root: ir.Node, source: ir.Value, sums: tuple[ir.Node, ...], merged: Sequence[Term], reader: Reader
) -> list[ir.Node]:
    """Return the nodes between source and terms that nobody reads once the terms are merged."""
    adders = set(sums)
    order: dict[ir.Node, None] = {}
    for term in merged:
        # A node that several terms share has to come after all of them.
        for node in reader.between(term.value, source):
            order.pop(node, None)
            order[node] = None
    taken: dict[ir.Value, int] = {}
    for term in merged:
        taken[term.value] = taken.get(term.value, 0) + 1
    gone: dict[ir.Node, None] = {}
    changed = True
    while changed:
        changed = False
        for node in order:
            if node in gone:
                continue
            if (node is root and not sums) or all(_unread(output, gone, adders, taken) for output in node.outputs):
                gone[node] = None
                changed = True
    return list(gone)


def _unread(output: ir.Value, gone: dict[ir.Node, None], adders: set[ir.Node], taken: dict[ir.Value, int]) -> bool:
    if output.is_graph_output():
        return False
    by_sums = 0
    for use in output.uses():
        if use.node in adders:
            by_sums += 1
        elif use.node not in gone:
            return False
    return by_sums == taken.get(output, 0)


def _is_writable(convolution: Convolution) -> bool:
    """Whether one node of ONNX can compute it.

    Paddings must leave no inputs out, and there must be no more output padding than is allowed.
    """
    return all(
        axis.begin >= 0
        and axis.end >= 0
        and (not isinstance(axis, TransposedAxis) or axis.extra < max(axis.stride, axis.dilation))
        for axis in convolution.axes
    )


def _cost(convolution: Convolution, source: ir.Value, elements: float, reader: Reader) -> Cost:
    """Compute the cost of the one node that computes `convolution` of `source`."""
    size, work = convolution.size, convolution.work
    read = reader.elements(source, source)
    if reader.family is not Family.CONVOLUTION:
        size, work = convolution.inputs * convolution.outputs, float(convolution.inputs)
        if convolution.biased and reader.facts.rank(source) != 2:
            # MatMul has no bias: an Add follows it.
            return Cost(elements * (work + 1.0), read + elements + size + 2.0 * elements)
    positions = reader.positions(source, convolution)
    return Cost(elements * work, read + elements + size + gathering(convolution.gathered, positions))
