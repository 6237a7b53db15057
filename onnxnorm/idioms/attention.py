"""Finds attention: two products with a Softmax between, and what scales, masks and turns its operands.

From a Softmax the scores are followed back to the product of queries and keys, through scales and masks; from there,
and from the values, operands are followed to the linear operators that project them. All arithmetic on the way belongs
to the attention: scales, masks, rotary embeddings, biases of projections.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.idioms.idiom import Idiom, Kind

__all__ = ["around_attention", "attentions"]

_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Sum", "Where", "Min", "Max"})
_LAYOUT = frozenset(
    {
        "Cast", "CastLike", "Concat", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split",
        "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
# How a mask of numbers is made of one of truths, beside the arithmetic.
_LOGIC = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or"})
_MOST_NODES = 160


def attentions(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find the attentions of one graph."""
    for node in graph:
        if node.op_type == "Softmax" and is_standard(node):
            found = _attention(node, facts)
            if found is not None:
                yield found


def around_attention(graph: ir.Graph, facts: Facts) -> set[ir.Node]:
    """Find all nodes between the attentions of one graph and the projections and masks that they start from."""
    around: set[ir.Node] = set()
    for node in graph:
        if node.op_type == "Softmax" and is_standard(node):
            around |= (_cone(node, facts) or (set(), set()))[0]
    return around


def _attention(softmax: ir.Node, facts: Facts) -> Idiom | None:
    found = _cone(softmax, facts)
    if found is None:
        return None
    inner, products = found
    # Where no constant takes part there is nothing that could go, and other affines may pass.
    inner = {node for node in inner if node.op_type in _ARITHMETIC and any(map(facts.is_constant, node.inputs))}
    return Idiom(Kind.ATTENTION, frozenset(inner), products=frozenset(products))


def _cone(softmax: ir.Node, facts: Facts) -> tuple[set[ir.Node], set[ir.Node]] | None:
    """Return all nodes of the attention, and the linear operators that project its operands."""
    mixing = _mixing(softmax, facts)
    scores = _scores(softmax, facts)
    if mixing is None or scores is None:
        return None
    inner: set[ir.Node] = set()
    products: set[ir.Node] = set()
    starts = [value for node in (softmax, mixing) for value in node.inputs if value is not None]
    _collect(starts, softmax, facts, inner, products)
    return inner, products


def _is_mixed(node: ir.Node, facts: Facts) -> bool:
    """Whether the node is a product of two values that both depend on the input."""
    return node.op_type == "MatMul" and is_standard(node) and not any(map(facts.is_constant, node.inputs))


def _mixing(softmax: ir.Node, facts: Facts) -> ir.Node | None:
    """Return the product of the probabilities and the values."""
    value = softmax.outputs[0]
    for _ in range(6):
        users = value.consumers()
        mixing = next((user for user in users if _is_mixed(user, facts)), None)
        if mixing is not None:
            return mixing
        following = [user for user in users if is_standard(user) and user.op_type in _ARITHMETIC | _LAYOUT]
        if len(following) != 1:
            return None
        value = following[0].outputs[0]
    return None


def _scores(softmax: ir.Node, facts: Facts) -> ir.Node | None:
    """Return the product of the queries and the keys."""
    stack = [value for value in softmax.inputs[:1] if value is not None]
    for value in stack:
        node = value.producer()
        if node is None or len(stack) > 24:
            continue
        if _is_mixed(node, facts):
            return node
        if is_standard(node) and node.op_type in _ARITHMETIC | _LAYOUT:
            stack.extend(operand for operand in node.inputs if operand is not None and not facts.is_constant(operand))
    return None


def _collect(
    starts: list[ir.Value], softmax: ir.Node, facts: Facts, inner: set[ir.Node], products: set[ir.Node]
) -> None:
    """Collect all nodes back to the projections, or to what the masks are made of."""
    seen: set[ir.Node] = {softmax}
    stack = list(starts)
    while stack and len(seen) < _MOST_NODES:
        value = stack.pop()
        node = value.producer()
        if node is None or node in seen or facts.is_constant(value):
            continue
        seen.add(node)
        if not is_standard(node):
            continue
        if node.op_type in ("MatMul", "Gemm") and not _is_mixed(node, facts):
            products.add(node)
        elif node.op_type in _ARITHMETIC | _LAYOUT | _LOGIC or _is_mixed(node, facts):
            inner.add(node)
            if not _is_bias(node, facts):
                stack.extend(operand for operand in node.inputs if operand is not None)
            else:
                products.update(_makers(node))
                inner.discard(node)


def _is_bias(node: ir.Node, facts: Facts) -> bool:
    return node.op_type == "Add" and any(
        maker.op_type in ("MatMul", "Gemm") and not _is_mixed(maker, facts) for maker in _makers(node)
    )


def _makers(node: ir.Node) -> Iterator[ir.Node]:
    return (maker for value in node.inputs if value is not None and (maker := value.producer()) is not None)
