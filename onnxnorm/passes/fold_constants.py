"""Computes what depends on no input once, now, where the file does not grow by it.

Before: nodes whose inputs are all constants (weights behind Transpose or Cast, biases computed by Shape and Expand,
standardized weights). After: the results that other nodes read as initializers. Results that are made of the same
constants are looked at together, since a constant goes only with the last of its readers. Where their bytes exceed
those of all constants that go, each is looked at by itself, and one of more than `UNCOUNTED` bytes that would make the
file larger keeps its recipe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, remove_unread
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.normalizations import kind_of
from onnxnorm.graph.size_budget import UNCOUNTED, freed_bytes
from onnxnorm.model.walk import bytes_of, graphs_within, stored_bytes
from onnxnorm.passes.journaled import JournaledPass

__all__ = ["FoldConstants"]

_NAME = "fold_constants"
_UNSIZED = frozenset({ir.DataType.STRING, ir.DataType.UNDEFINED})


class FoldConstants(JournaledPass):
    """Folds constants; `Facts` knows what may be taken for a constant."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        facts = self._facts(model)
        self._computed: set[ir.Node] = set()
        nodes = [node for graph in graphs_within(model.graph) for node in graph if _may_go(node, facts)]
        normalizations = [node for node in nodes if kind_of(node) is not None]
        modified = False
        for together in _sharing(nodes):
            modified |= self._fold(together, facts)
        for node in normalizations:
            # Those on the way to what was computed went with it.
            if node.graph is None and node not in self._computed:
                self._tell(node)
        return ir.passes.PassResult(model, modified)

    def _fold(self, nodes: Sequence[ir.Node], facts: Facts) -> bool:
        """Fold nodes whose results are made of the same constants."""
        ends = _ends(nodes)
        if not _pays(ends, facts):
            ends = [end for end in ends if _pays([end], facts)]
        computed = [end for end in ends if facts.constant(end) is not None]
        if len(computed) < len(ends):
            # What cannot be computed after all leaves its operands to be read by it.
            nodes = [node for node in nodes if all(facts.constant(output) is not None for output in _read(node))]
            ends = _ends(nodes)
            computed = ends if _pays(ends, facts) else [end for end in ends if _pays([end], facts)]
        for end in computed:
            self._put(end, facts)
        return bool(computed)

    def _put(self, output: ir.Value, facts: Facts) -> None:
        """Put the constant in place of the node that computes it, and of what only that node reads."""
        node, array = output.producer(), facts.constant(output)
        assert node is not None and node.graph is not None and array is not None
        name = output.name or facts.fresh_name(node.name or "constant")
        dtype = output.dtype or ir.DataType.from_numpy(array.dtype)
        output.name = None
        output.replace_all_uses_with(add_constant(node.graph, name, array, dtype, facts))
        self._tell(node)
        remove_unread([node], facts)

    def _tell(self, node: ir.Node) -> None:
        self._computed.add(node)
        self._journal.rewrite(_NAME, node, node.op_type, "computed once: it depends on no input")


def _may_go(node: ir.Node, facts: Facts) -> bool:
    if node.op_type == "Constant" or any(output.is_graph_output() for output in node.outputs):
        return False
    read = _read(node)
    if any(output.dtype in _UNSIZED for output in read):
        # Its elements have no fixed size, and no arithmetic is done with it.
        return False
    return bool(read) and all(facts.is_constant(output) for output in read)


def _read(node: ir.Node) -> list[ir.Value]:
    """Return the results of the node that somebody reads."""
    return [output for output in node.outputs if output.uses()]


def _sharing(nodes: Iterable[ir.Node]) -> list[list[ir.Node]]:
    """Return groups of nodes that are made of the same constants, small ones aside."""
    root: dict[ir.Value, ir.Value] = {}

    def find(value: ir.Value) -> ir.Value:
        while (above := root.setdefault(value, value)) is not value:
            root[value] = root[above]
            value = root[value]
        return value

    listed = list(nodes)
    for node in listed:
        for operand in node.inputs:
            if operand is not None and not _is_small(operand):
                root[find(operand)] = find(node.outputs[0])
    groups: dict[ir.Value, list[ir.Node]] = {}
    for node in listed:
        groups.setdefault(find(node.outputs[0]), []).append(node)
    return list(groups.values())


def _is_small(value: ir.Value) -> bool:
    tensor = value.const_value if value.is_initializer() else None
    return tensor is not None and bytes_of(tensor) <= UNCOUNTED


def _ends(nodes: Sequence[ir.Node]) -> list[ir.Value]:
    """Return the results that others than these nodes read."""
    own = set(nodes)
    return [output for node in nodes for output in node.outputs if any(user not in own for user in output.consumers())]


def _pays(ends: Sequence[ir.Value], facts: Facts) -> bool:
    """Whether the file does not grow when these results become constants."""
    sizes = [_size(end, facts) for end in ends]
    if None in sizes:
        return False
    freed = freed_bytes({end: len(end.uses()) for end in ends}, (), inputs_are_weights=facts.initializers_are_inputs)
    return sum(size for size in sizes if size is not None and size > UNCOUNTED) <= freed


def _size(value: ir.Value, facts: Facts) -> int | None:
    """Return the bytes of the result, from its shape where that is known; None where it cannot be computed."""
    shape, dtype = facts.shape(value), value.dtype
    if shape is not None and dtype is not None and all(isinstance(dim, int) for dim in shape):
        return stored_bytes(dtype, [dim for dim in shape if isinstance(dim, int)])
    array = facts.constant(value)
    return None if array is None else array.nbytes
