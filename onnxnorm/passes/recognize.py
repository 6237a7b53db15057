"""Raises normalizations that are spelled out in other operators to the one node that says what they are.

Before: means, squares, roots and quotients in any of the spellings that exporters and people use.
After: `LayerNormalization`, `RMSNormalization`, `GroupNormalization`, `InstanceNormalization`, `LRN`,
`LpNormalization`, `MeanVarianceNormalization`, `BatchNormalization`, or an LRN of this project's domain, with its body.
Conditions: the formula is the same over the real numbers; the operator exists at the model's opset; no statistic inside
is read from outside; constants are constant; half precision overflows no earlier than before. What nearly matches is
left, and the journal says in what it differs. The algebra is that of `onnxnorm.recognize`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxnorm.graph.edit import settle_casts
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.transformation import Transformation
from onnxnorm.journal import Effect, Journal
from onnxnorm.journal.reasons import Code, Evidence
from onnxnorm.journal.reasons import needs_opset as evidence_of_opset
from onnxnorm.model.definitions import types_of
from onnxnorm.model.dtypes import FLOATS, HALVES, type_string
from onnxnorm.model.walk import graphs_within, subgraphs_of
from onnxnorm.ops.attach import attach_bodies_in
from onnxnorm.passes.journaled import JournaledPass
from onnxnorm.recognize import FAMILIES, Near, Proposal, Reading, candidates
from onnxnorm.recognize.batch_norm import raise_batch_norms
from onnxnorm.recognize.computed_weights import take_computed_weights
from onnxnorm.recognize.families import Answer, Found, Named
from onnxnorm.recognize.group_norm import raise_group_norms
from onnxnorm.recognize.near_misses import looks_like
from onnxnorm.recognize.polynomial import Poly, Unreadable
from onnxnorm.recognize.readers.arithmetic import REDUCTIONS
from onnxnorm.recognize.replace import replace_region

__all__ = ["Recognize"]

_NAME = "recognize"
_LARGEST_HALF = 65504.0


class Recognize(JournaledPass):
    """Raises every spelled-out normalization of the model's graphs and subgraphs."""

    def __init__(self, journal: Journal | None = None, *, transformation: Transformation | None = None) -> None:
        super().__init__(journal, transformation=transformation)
        self._told: set[ir.Node] = set()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for graph in _graphs(model):
            modified |= settle_casts(graph)
        facts = self._facts(model)
        for graph in _graphs(model):
            holders = {branch: node for node in graph if node.op_type == "If" for branch in subgraphs_of(node)}
            modified |= self._raise_all(graph, facts, holders)
            modified |= raise_group_norms(graph, facts, self._journal)
            modified |= raise_batch_norms(graph, facts, self._journal)
        attach_bodies_in(model)
        return ir.passes.PassResult(model, modified)

    def _raise_all(self, graph: ir.Graph, facts: Facts, holders: Mapping[ir.Graph, ir.Node]) -> bool:
        modified, again = False, True
        while again:
            raised = stale = False
            for x in list(candidates(graph)):
                producer = x.producer()
                if producer is not None and producer.graph is None:
                    # It stood inside a normalization that has been raised, or was the result of one.
                    stale = True
                else:
                    raised |= self._raise(x, graph, facts, holders)
            modified |= raised
            again = raised and stale
        return modified

    def _raise(self, x: ir.Value, graph: ir.Graph, facts: Facts, holders: Mapping[ir.Graph, ir.Node]) -> bool:
        try:
            reading = Reading(x, graph, facts, holders)
        except Unreadable as unread:
            self._decline_at(x, "a normalization", str(unread))
            return False
        roots = [(found, *_answer(found)) for found in _roots(reading)]
        taken, refused = _taken(roots)
        for found, answer in taken:
            detail = f"{len(found.cone)} nodes that spell a {answer.kind} are one {answer.op_type}"
            node = replace_region(found, answer, facts)
            if weights := take_computed_weights(node, facts):
                detail += f", with a computed {' and '.join(weights)}"
            self._journal.rewrite(_NAME, node, answer.op_type, detail, effect=Effect.RAISED)
        self._explain(reading, refused, is_first=not taken)
        return bool(taken)

    def _explain(self, reading: Reading, answers: list[tuple[Found, Answer]], *, is_first: bool) -> None:
        """Tell of each normalization that was left why; `is_first`: none of this tensor was raised."""
        said: set[ir.Node] = set()
        # Of what is named the smallest part is told of: weights behind it may yet be folded into what follows.
        smallest_first = answers[::-1]
        smallest_first.sort(key=_tells_of_a_part)
        for wanted in (Named, Near):
            for found, answer in smallest_first if wanted is Named else answers:
                if found.root.producer() in self._told:
                    # The tensor before a cast has been explained, and this with it.
                    continue
                if isinstance(answer, wanted) and said.isdisjoint(found.cone) and (is_first or wanted is Named):
                    assert isinstance(answer, (Named, Near))
                    text = answer.reason
                    if isinstance(answer, Near):
                        text = f"looks like {_with_article(answer.kind)}, but {answer.reason}"
                    node = found.root.producer()
                    assert node is not None
                    said.add(node)
                    while node.op_type == "Identity" and node.inputs[0] is not None:
                        # It goes when the graph is cleaned, and what is said about it with it.
                        before = node.inputs[0].producer()
                        assert before is not None
                        node = before
                    needs_opset = answer.needs_opset if isinstance(answer, Named) else None
                    kind = f"{answer.kind} (written out)"
                    code = Code.LOOKS_LIKE if isinstance(answer, Near) else Code.NO_ONNX_NODE
                    evidence: Evidence | None = None
                    if needs_opset is not None:
                        code, evidence = Code.NEEDS_OPSET, evidence_of_opset(needs_opset)
                    self._journal.decline(
                        node, text, code, evidence=evidence, kind=kind, value=reading.x, needs_opset=needs_opset
                    )
                    self._told.update(found.cone)
                    if wanted is Near:
                        return
            if said:
                return
        near = looks_like(reading) if is_first else None
        if near is not None:
            kind, stop = near
            self._journal.decline(
                stop.node,
                f"looks like {_with_article(kind)}, but {stop.reason}",
                Code.LOOKS_LIKE,
                kind=f"{kind} (written out)",
                value=reading.x,
            )

    def _decline_at(self, x: ir.Value, kind: str, reason: str) -> None:
        users = x.consumers()
        if users:
            self._journal.decline(users[0], f"looks like {kind}, but {reason}", Code.LOOKS_LIKE)


def _tells_of_a_part(answer: tuple[Found, Answer]) -> bool:
    return isinstance(answer[1], Named) and answer[1].of_part


def _with_article(kind: str) -> str:
    return f"{'an' if kind.startswith(('Inst', 'LRN', 'Lp', 'RMS')) else 'a'} {kind}"


def _graphs(model: ir.Model) -> Iterable[ir.Graph]:
    yield from graphs_within(model.graph)
    yield from (function.graph for function in model.functions.values() if function.domain != "onnxnorm")


def _roots(reading: Reading) -> Iterable[Found]:
    """Return the values that may be the result of a normalization, the one with the most nodes first."""
    found = [
        Found(reading, value, form.poly)
        for value, form in reading.forms.items()
        if value is not reading.x and form.is_plain and len(form.poly.terms) <= 4
    ]
    found = [each for each in found if each.quotient is not None or len(each.poly.terms) > 1 or _has_shares(each.poly)]
    return sorted(found, key=lambda each: -len(each.cone))


def _has_shares(poly: Poly) -> bool:
    """Whether a statistic over another one is a factor, as in a global response normalization without weights."""
    return any(len(monomial) > 2 for monomial in poly.terms)


def _taken(
    roots: list[tuple[Found, _Refusal | None, Answer]],
) -> tuple[list[tuple[Found, Proposal]], list[tuple[Found, Answer]]]:
    """Return the normalizations of one tensor that become nodes, and what is said of the rest.

    They may share what they compute first (a mean, the centred tensor): it goes when all its readers go. A value that
    is a normalization itself is raised for itself instead, and computed once.
    """
    raisable = {found.root for found, refused, answer in roots if isinstance(answer, Proposal) and refused is None}
    escapes: dict[ir.Value, _Refusal] = {}
    while True:
        taken: list[tuple[Found, Proposal]] = []
        left: list[tuple[Found, Answer]] = []
        gone: set[ir.Node] = set()
        wholes: list[tuple[set[ir.Node], str]] = []
        for found, refused, answer in roots:
            node = found.root.producer()
            if node in gone:
                continue
            if isinstance(answer, Proposal):
                if any(node in cone and kind != answer.kind for cone, kind in wholes):
                    # Part of what has another name as a whole.
                    continue
                refused = refused or escapes.get(found.root)
                if refused is None:
                    taken.append((found, answer))
                    gone.update(found.cone)
                    continue
                wholes.append((set(found.cone), answer.kind))
                answer = Named(answer.kind, refused.reason, refused.of_part, refused.needs_opset)
            left.append((found, answer))
        before = len(escapes)
        for found, _ in taken:
            escape = found.reading.escape(found.root, found.cone, gone, raisable)
            if escape is not None:
                escapes[found.root] = _Refusal(f"{escape.name!r} inside it is read elsewhere too")
        if len(escapes) == before:
            nodes = {found.root.producer() for found, _ in taken}
            # Of what is raised but for its weights nothing is left to say.
            return taken, [(found, answer) for found, answer in left if nodes.isdisjoint(found.cone)]


def _answer(found: Found) -> tuple[_Refusal | None, Answer]:
    """Return the answer of the families to a root; for a proposal also why it cannot be taken, or None."""
    answers = [family(found) for family in FAMILIES]
    blocked: tuple[_Refusal | None, Answer] | None = None
    for answer in answers:
        if isinstance(answer, Proposal):
            refused = _refused(found, answer)
            if refused is None:
                return None, answer
            blocked = blocked or (refused, answer)
    if blocked is not None:
        return blocked
    for kind in (Named, Near):
        for answer in answers:
            if isinstance(answer, kind):
                return None, answer
    return None, None


@dataclass(frozen=True)
class _Refusal:
    """The reason why a proposed node may not take the place of what computes the root.

    Attributes:
        reason: in words.
        of_part: it is about a part of the normalization, whose result has another type than the tensor.
        needs_opset: the opset that has the node, where that is all there is in the way.
    """

    reason: str
    of_part: bool = False
    needs_opset: int | None = None


def _refused(found: Found, proposal: Proposal) -> _Refusal | None:
    if found.dtype not in FLOATS:
        known = found.dtype is not None
        return _Refusal("the tensor is of an integer type" if known else "the element type of the tensor is not known")
    if found.root.dtype is not None and found.root.dtype is not found.dtype:
        # It still waits for the cast back to the type of the tensor.
        reason = f"its result is of type {found.root.dtype.name}, the tensor of type {found.dtype.name}"
        return _Refusal(reason, of_part=True)
    if found.casts and not _computes_alike(found):
        return _Refusal("it is computed in another type than that of the tensor")
    if found.dtype in HALVES and not _fits_half(found, proposal):
        return _Refusal(f"its scale or bias is not exact in {found.dtype.name}")
    if found.opset < proposal.since:
        return _Refusal(
            f"{proposal.op_type} needs opset {proposal.since}, the model has {found.opset}; "
            f"with opset={proposal.since} it becomes one node",
            needs_opset=proposal.since,
        )
    if not proposal.domain and not _takes(proposal.op_type, found.opset, found.dtype):
        return _Refusal(f"{proposal.op_type} of opset {found.opset} takes no {found.dtype.name}")
    if proposal.domain == "onnxnorm" and found.reading.facts.is_function_body(found.reading.graph):
        return _Refusal("it stands in a function, which cannot use the operators of this project")
    return None


def _computes_alike(found: Found) -> bool:
    """Whether the one node, with its statistics in float32, computes in types as wide as the casts say.

    A half tensor is cast to float32. Casts of a float32 tensor to double, as TorchScript writes them around a power or
    an epsilon, add nothing where the means are taken in float32.
    """
    casts = {node.outputs[0].dtype for node in found.cone if node.op_type in ("Cast", "CastLike")}
    if found.dtype in HALVES:
        return casts <= {found.dtype, ir.DataType.FLOAT}
    return (
        found.dtype is ir.DataType.FLOAT
        and casts <= {ir.DataType.FLOAT, ir.DataType.DOUBLE}
        and all(node.outputs[0].dtype is ir.DataType.FLOAT for node in found.cone if node.op_type in REDUCTIONS)
    )


def _takes(op_type: str, opset: int, dtype: ir.DataType) -> bool:
    """Whether the operator takes tensors of the type: bfloat16 came to some of them late."""
    try:
        schema = onnx.defs.get_schema(op_type, min(opset, onnx.defs.onnx_opset_version()))
        types = types_of(schema, schema.inputs[0])
    except onnx.defs.SchemaError:
        return False
    return type_string(dtype) in types


def _fits_half(found: Found, proposal: Proposal) -> bool:
    quotient = found.quotient
    if not proposal.constants or quotient is None:
        return True
    for values in (quotient.scale, quotient.shift):
        if not np.array_equal(found.in_type(values).astype(np.float64), values):
            return False
    if not found.casts or found.statistic is None:
        return True
    # Normalized values are at most the root of their number; scaled they are rounded to the half type.
    extents = [found.extent(axis) for axis in found.statistic.axes]
    if None in extents:
        return False
    most = math.sqrt(math.prod(extent for extent in extents if extent is not None))
    return bool(np.abs(quotient.scale).max() * most < _LARGEST_HALF)
