"""Reads the nodes that compute from one tensor X alone: which tensors may be such an X, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxnorm.graph.facts import Dim, Facts, within_reach
from onnxnorm.graph.nodes import captured, is_standard
from onnxnorm.journal.words import naming_node, naming_value, say
from onnxnorm.recognize.form import Form
from onnxnorm.recognize.if_branches import branch_taken, decided, helper_nodes
from onnxnorm.recognize.monomials import Base, Mean, Total, Unreadable, Window
from onnxnorm.recognize.polynomial import Poly
from onnxnorm.recognize.readers.arithmetic import READERS
from onnxnorm.recognize.readers.operands import ReadSite, extents_of

__all__ = ["LONGEST_WAY_BACK", "STEPS_BACK", "Reading", "Stop", "statistics_in"]

_MOST_NODES = 96
# Where a value has several readers, each may begin a normalization of its own.
_NODES_A_READER = 16
_MOST_NODES_OF_ALL = 1024
LONGEST_WAY_BACK = 12
STEPS_BACK = frozenset(
    {"Abs", "Cast", "CastLike", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)

# What stands behind their first operand is a shape, which may depend on the batch.
_SHAPE_BEHIND = frozenset({"CastLike", "Expand", "Reshape"})


@dataclass(frozen=True)
class Stop:
    """A node at which the reading ended, and why."""

    node: ir.Node
    reason: str


@dataclass(eq=False)
class Reading:
    """The forms of all values that are computed from X alone, found in the order of the graph, up to a fixed number.

    Raises:
        Unreadable: the rank or the element type of X is not known.
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
        if self.x.dtype is None:
            raise Unreadable("the element type of the tensor is not known")
        self.shape = within_reach(shape) or ()
        rank = len(shape)
        self.forms[self.x] = Form.of(Poly.input(rank), tuple((axis,) for axis in range(rank)))
        self._read()

    def _read(self) -> None:
        extents = extents_of(self.shape)
        waiting = list(self.x.consumers())
        steps, done = 0, set()
        most = _MOST_NODES + _NODES_A_READER * max(len(waiting) - 1, 0)
        pending: dict[ir.Node, ir.Value] = {}
        while waiting and steps < min(most, _MOST_NODES_OF_ALL):
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
                    self.stops.append(Stop(node, say("{} is no part of it", naming_node(node))))
                else:
                    self.forms[node.outputs[0]] = branch
                    waiting.extend(node.outputs[0].consumers())
                continue
            reader = READERS.get(node.op_type) if is_standard(node) else None
            if reader is None or len([output for output in node.outputs if output.uses()]) > 1:
                done.add(node)
                self.stops.append(Stop(node, say("{} is no part of it", naming_node(node))))
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
                self.stops.append(Stop(node, say("{} has {}", naming_node(node), stop.reason)))
                continue
            except Exception:
                # An attribute or an operand that the operator does not take: the checker's business, not ours.
                self.stops.append(Stop(node, say("{} is not well-formed", naming_node(node))))
                continue
            self.forms[node.outputs[0]] = form
            readers = node.outputs[0].consumers()
            most += _NODES_A_READER * max(len(readers) - 1, 0)
            waiting.extend(readers)
        for node, value in pending.items():
            if node not in done:
                is_input = value.is_graph_input()
                what = "is an input of the graph, no constant" if is_input else "is not computed from it"
                names = naming_value(value), naming_node(node)
                self.stops.append(Stop(node, say("{}, an operand of {}, {}", *names, what)))

    def _branch(self, node: ir.Node, extents: Mapping[int, int]) -> Form | None:
        """Return the form of what an If gives, if it is known which of its branches is taken."""
        condition = decided(node.inputs[0], self.forms, extents, self.facts) if node.inputs else None
        graph = None if condition is None else branch_taken(node, condition)
        if graph is None or len(graph.outputs) != 1 or len(graph) > LONGEST_WAY_BACK:
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
        """Return an operand that may still be found to be computed from X: the node comes up again when it is."""
        for index, value in enumerate(site.node.inputs):
            if index and site.node.op_type in _SHAPE_BEHIND:
                break
            if value is not None and value not in self.forms and not self.facts.is_constant(value):
                return value
        return None

    def cone(self, root: ir.Value) -> list[ir.Node]:
        """Return the nodes between X and `root`, in no order.

        The nodes that compute conditions and shapes for them are among them.
        """
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

    def escape(
        self,
        root: ir.Value,
        cone: list[ir.Node],
        gone: Set[ir.Node] | None = None,
        raisable: Set[ir.Value] = frozenset(),
    ) -> ir.Value | None:
        """Return a statistic inside that is read from outside too: the nodes that compute it would have to stay.

        What holds no statistic (casts, squares) may stay beside the one node.

        Args:
            root: the result.
            cone: the nodes between X and it.
            gone: the nodes of all results that are replaced together, which may share statistics; None: `cone` alone.
            raisable: results that are normalizations themselves, and are shared as such.
        """
        own = set(cone)
        for node in cone:
            value = node.outputs[0]
            form = self.forms.get(value)
            if value is root or form is None or node.graph is not self.graph or not statistics_in(form.poly):
                continue
            readers = (self.holders.get(user.graph, user) if user.graph else user for user in value.consumers())
            inside = own if gone is None or value in raisable else gone
            if value.is_graph_output() or any(user not in inside for user in readers):
                return value
        return None


def statistics_in(poly: Poly) -> bool:
    """Whether a mean, a sum or a window stands in the formula."""
    return any(
        isinstance(atom, (Mean, Total, Window))
        or (isinstance(atom, Base) and statistics_in(atom.poly))
        or (hasattr(atom, "poly") and statistics_in(atom.poly))
        for monomial in poly.terms
        for atom, _ in monomial
    )
