"""The nodes that compute from one tensor X alone: which tensors may be such an X, and the reading of what follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxnorm._facts import Dim, Facts, subgraphs_of, within_reach
from onnxnorm.recognize.atoms import Base, Input, Mean, Stack, Total, Window
from onnxnorm.recognize.branches import branch_taken, decided, helper_nodes
from onnxnorm.recognize.form import Form
from onnxnorm.recognize.polynomial import Poly, Unreadable
from onnxnorm.recognize.read import READERS, REDUCTIONS
from onnxnorm.recognize.read_windows import WINDOWS
from onnxnorm.recognize.site import ReadSite, extents_of

__all__ = ["Reading", "Stop", "candidates", "captured", "is_standard", "looks_like", "statistics_in"]

_MOST_NODES = 96
_SQUARE = frozenset({(Input(), 2.0)})
_LONGEST_WAY_BACK = 12
_STEPS_BACK = frozenset(
    {"Abs", "Cast", "CastLike", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)

# What stands behind their first operand is a shape, which may depend on the batch.
_SHAPE_BEHIND = frozenset({"CastLike", "Expand", "Reshape"})


def is_standard(node: ir.Node | None) -> bool:
    return node is not None and node.domain in ("", "ai.onnx")


def candidates(graph: ir.Graph) -> Iterator[ir.Value]:
    """The tensors whose squares or absolute values are averaged or summed up, over axes or windows.

    Where a cast stands between, the tensor before it comes first: it is what is normalized if the result is cast back.
    """
    seen: set[ir.Value] = set()
    for node in graph:
        if is_standard(node) and (node.op_type in REDUCTIONS or node.op_type in WINDOWS) and node.inputs:
            for value in _bases(node):
                if value not in seen:
                    seen.add(value)
                    yield value


def _bases(node: ir.Node) -> Iterator[ir.Value]:
    value = node.inputs[0]
    squared = node.op_type in ("ReduceL1", "ReduceL2", "ReduceSumSquare")
    for _ in range(_LONGEST_WAY_BACK):
        if value is None:
            return
        producer = value.producer()
        if producer is None or not is_standard(producer) or producer.graph is not node.graph:
            break
        operands = [operand for operand in producer.inputs if operand is not None]
        if (
            producer.op_type == "Abs"
            or (producer.op_type == "Mul" and len({*operands}) == 1)
            or producer.op_type == "Pow"
        ):
            value, squared = operands[0], True
        elif producer.op_type == "Concat" and not squared:
            # Beside it zeros.
            computed = [v for v in operands if (own := v.producer()) is not None and own.op_type != "Constant"]
            value = computed[0] if len(computed) == 1 else None
        elif producer.op_type in _STEPS_BACK and not squared:
            value = operands[0]
        else:
            break
    if value is None or not squared:
        return
    yield from _centred(value)


def _centred(value: ir.Value) -> Iterator[ir.Value]:
    """What a mean was subtracted from, if one was; each with the tensor before a cast first."""
    before, producer = value, value.producer()
    for _ in range(3):
        if producer is not None and is_standard(producer) and producer.op_type in ("Cast", "Identity"):
            source = producer.inputs[0] if producer.inputs else None
            if source is None:
                break
            before, producer = source, source.producer()
    if producer is not None and is_standard(producer) and producer.op_type == "Sub" and len(producer.inputs) == 2:
        first, second = producer.inputs
        for centre, other in ((first, second), (second, first)):
            if centre is not None and other is not None and _averages(other, centre):
                yield from _uncast(centre)
                return
    if before is not value:
        yield before
    yield from _uncast(value)


def _uncast(value: ir.Value) -> Iterator[ir.Value]:
    producer = value.producer()
    if producer is not None and is_standard(producer) and producer.op_type in ("Cast", "CastLike"):
        source = producer.inputs[0] if producer.inputs else None
        if source is not None:
            yield source
    yield value


def _averages(value: ir.Value, of: ir.Value) -> bool:
    """Whether `value` is a reduction of `of`, perhaps laid out anew or scaled."""
    stack, seen = [value], 0
    while stack and seen < _LONGEST_WAY_BACK:
        seen += 1
        producer = stack.pop().producer()
        if producer is None or not is_standard(producer):
            continue
        if producer.op_type in REDUCTIONS and producer.inputs:
            source = producer.inputs[0]
            if source is of:
                return True
            if source is not None:
                stack.append(source)
        elif producer.op_type in READERS:
            stack.extend(operand for operand in producer.inputs[:2] if operand is not None and operand is not of)
    return False


@dataclass(frozen=True)
class Stop:
    """A node at which the reading ended, and why."""

    node: ir.Node
    reason: str


@dataclass(eq=False)
class Reading:
    """The forms of all values that are computed from X alone, found in the order of the graph, up to a fixed number.

    Raises:
        Unreadable: the rank of X is not known.
    """

    x: ir.Value
    graph: ir.Graph
    facts: Facts
    holders: Mapping[ir.Graph, ir.Node] = field(default_factory=dict)
    shape: tuple[Dim, ...] = ()
    forms: dict[ir.Value, Form] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = self.facts.shape(self.x)
        if shape is None:
            raise Unreadable("the rank of the tensor is not known")
        self.shape = within_reach(shape) or ()
        rank = len(shape)
        self.forms[self.x] = Form.of(Poly.input(rank), tuple((axis,) for axis in range(rank)))
        self._read()

    def _read(self) -> None:
        extents = extents_of(self.shape)
        waiting = list(self.x.consumers())
        steps, done = 0, set()
        pending: dict[ir.Node, ir.Value] = {}
        while waiting and steps < _MOST_NODES:
            node = waiting.pop(0)
            # A reader inside an If stands for the If.
            node = self.holders.get(node.graph, node) if node.graph is not self.graph and node.graph else node
            if node in done or node.graph is not self.graph:
                continue
            steps += 1
            if node.op_type == "Shape" and is_standard(node):
                continue
            if node.op_type == "If" and is_standard(node):
                done.add(node)
                branch = self._branch(node, extents)
                if branch is None or len(node.outputs) != 1:
                    self.stops.append(Stop(node, f"{node.op_type} {node.name!r} is no part of it"))
                else:
                    self.forms[node.outputs[0]] = branch
                    waiting.extend(node.outputs[0].consumers())
                continue
            reader = READERS.get(node.op_type) if is_standard(node) else None
            if reader is None or len([output for output in node.outputs if output.uses()]) > 1:
                done.add(node)
                self.stops.append(Stop(node, f"{node.op_type} {node.name!r} is no part of it"))
                continue
            site = ReadSite(node, self.forms, self.facts, self.shape, extents)
            missing = self._awaited(site)
            if missing is not None:
                pending[node] = missing
                continue
            done.add(node)
            try:
                form = reader(site)
            except Unreadable as stop:
                self.stops.append(Stop(node, f"{node.op_type} {node.name!r} has {stop}"))
                continue
            except Exception:
                # An attribute or an operand that the operator does not take: the checker's business, not ours.
                self.stops.append(Stop(node, f"{node.op_type} {node.name!r} is not well-formed"))
                continue
            self.forms[node.outputs[0]] = form
            waiting.extend(node.outputs[0].consumers())
        for node, value in pending.items():
            if node not in done:
                is_input = value.is_graph_input()
                what = "is an input of the graph, no constant" if is_input else "is not computed from it"
                self.stops.append(Stop(node, f"{value.name!r}, an operand of {node.op_type} {node.name!r}, {what}"))

    def _branch(self, node: ir.Node, extents: Mapping[int, int]) -> Form | None:
        """The form of what an If gives, if it is known which of its branches is taken."""
        condition = decided(node.inputs[0], self.forms, extents, self.facts) if node.inputs else None
        graph = None if condition is None else branch_taken(node, condition)
        if graph is None or len(graph.outputs) != 1 or len(graph) > _LONGEST_WAY_BACK:
            return None
        for inner in graph:
            reader = READERS.get(inner.op_type) if is_standard(inner) else None
            if inner.op_type == "Constant":
                continue
            if reader is None or len(inner.outputs) != 1:
                return None
            try:
                form = reader(ReadSite(inner, self.forms, self.facts, self.shape, extents))
            except Exception:
                return None
            self.forms[inner.outputs[0]] = form
        return self.forms.get(graph.outputs[0])

    def _awaited(self, site: ReadSite) -> ir.Value | None:
        """An operand that may still be found to be part of it: the node comes up again when it is."""
        for index, value in enumerate(site.node.inputs):
            if index and site.node.op_type in _SHAPE_BEHIND:
                break
            if value is not None and value not in self.forms and not self.facts.is_constant(value):
                return value
        return None

    def cone(self, root: ir.Value) -> list[ir.Node]:
        """The nodes between X and `root`, in no order; those that compute conditions and shapes for them among them."""
        found: dict[ir.Node, None] = {}
        stack = [root]
        while stack:
            value = stack.pop()
            node = value.producer()
            if value is self.x or value not in self.forms or node is None or node in found:
                continue
            found[node] = None
            stack.extend(operand for operand in node.inputs if operand is not None)
            if node.op_type == "If":
                found.update(dict.fromkeys(helper_nodes(node.inputs, self.forms)))
                stack.extend(captured(node))
            elif node.op_type in _SHAPE_BEHIND:
                found.update(dict.fromkeys(helper_nodes(node.inputs[1:], self.forms)))
        return list(found)

    def escape(self, root: ir.Value, cone: list[ir.Node]) -> ir.Value | None:
        """A statistic inside that is read from outside too: the nodes that compute it would have to stay.

        What holds no statistic (casts, squares) may stay beside the one node.
        """
        inside = set(cone)
        for node in cone:
            value = node.outputs[0]
            form = self.forms.get(value)
            if value is root or form is None or node.graph is not self.graph or not statistics_in(form.poly):
                continue
            readers = (self.holders.get(user.graph, user) if user.graph else user for user in value.consumers())
            if value.is_graph_output() or any(user not in inside for user in readers):
                return value
        return None


def captured(node: ir.Node) -> Iterable[ir.Value]:
    """The values from outside that the graphs of a node read."""
    for graph in subgraphs_of(node):
        for inner in graph:
            yield from (value for value in inner.inputs if value is not None)
        yield from graph.outputs


def statistics_in(poly: Poly) -> bool:
    """Whether a mean, a sum or a window stands in the formula."""
    return any(
        isinstance(atom, (Mean, Total, Window))
        or (isinstance(atom, Base) and statistics_in(atom.poly))
        or (hasattr(atom, "poly") and statistics_in(atom.poly))
        for monomial in poly.terms
        for atom, _ in monomial
    )


def looks_like(reading: Reading) -> tuple[str, Stop] | None:
    """The normalization that a region may have been meant for, and the node at which it became something else.

    A variance, a window of squares or the root of a mean of squares with an epsilon is computed for little else.
    """
    for stop in reading.stops:
        for value in stop.node.inputs:
            form = None if value is None else reading.forms.get(value)
            kind = None if form is None else _meant(form.poly)
            if form is not None and stop.node.op_type == "AveragePool" and set(form.poly.terms) == {_SQUARE}:
                kind = "LRN"
            if kind is not None:
                return kind, stop
    return None


def _meant(poly: Poly) -> str | None:
    for monomial, _ in poly.terms.items():
        for atom, power in monomial:
            if isinstance(atom, Window):
                return "LRN"
            if isinstance(atom, Stack) and _meant(atom.poly) is not None:
                return _meant(atom.poly)
            if isinstance(atom, Base):
                inner = _meant(atom.poly)
                if inner is not None:
                    return inner
                if power in (0.5, -0.5) and statistics_in(atom.poly):
                    return "RMSNormalization"
    atoms = [(atom, power) for monomial in poly.terms for atom, power in monomial]
    means = [(atom, power) for atom, power in atoms if isinstance(atom, Mean)]
    if any(power == 2 for _, power in means) and any(power == 1 and _is_square(atom) for atom, power in means):
        return "LayerNormalization"
    return None


def _is_square(atom: Mean) -> bool:
    return atom.of == _SQUARE
