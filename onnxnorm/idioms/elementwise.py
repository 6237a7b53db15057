"""Finds affines that a runtime runs in one loop with an elementwise neighbour: by themselves they take no time."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, only_reader
from onnxnorm.idioms.idiom import Idiom, Kind

__all__ = ["run_with_neighbours"]

# What OpenVINO's loops are made of (src/common/snippets/src/pass/collapse_subgraph.cpp), as far as affines meet it.
_ELEMENTWISE = frozenset({
    "Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSwish", "LeakyRelu", "Max", "Min", "Mish", "Mul",
    "PRelu", "Relu", "Sigmoid", "Sub", "Swish", "Tanh",
})  # fmt: skip


def run_with_neighbours(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find each BatchNormalization that only an elementwise operator reads, or that alone reads the result of one."""
    for node in graph:
        if node.op_type != "BatchNormalization" or not is_standard(node) or not node.inputs:
            continue
        after = only_reader(node.outputs[0])
        data = node.inputs[0]
        before = None if data is None or only_reader(data) is not node else data.producer()
        if any(each is not None and is_standard(each) and each.op_type in _ELEMENTWISE for each in (before, after)):
            yield Idiom(Kind.ELEMENTWISE, frozenset({node}))
