"""Puts functions in place of their calls: onnx-ir's inlining, for every call and function that ONNX allows.

A call may leave outputs out, at the end or by an empty name; a function may give one of its inputs, or one value twice.
onnx-ir pairs the outputs of the call with those of the function as they stand, so that one value would get two names,
or an input of the model the name of an output.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from onnxnorm.model.walk import graphs_of

__all__ = ["inline", "that_fit"]


def that_fit(
    model: ir.Model, criteria: Callable[[ir.Function], bool] = lambda function: True
) -> dict[ir.OperatorIdentifier, ir.Function]:
    """Return the functions for which `criteria` holds, but for those whose operators mean something else in the model.

    A function says which opsets its nodes are of. In place of a call they would be read as of the model's.
    """
    known, found = dict(model.opset_imports), {}
    for identifier, function in model.functions.items():
        opsets = function.opset_imports
        if criteria(function) and all(known.get(domain, version) == version for domain, version in opsets.items()):
            known.update(opsets)
            found[identifier] = function
    return found


def inline(model: ir.Model, criteria: Callable[[ir.Function], bool] = lambda function: True) -> None:
    """Put the functions that fit, and for which `criteria` holds, in place of their calls; others stay."""
    inlined = that_fit(model, criteria)
    for function in inlined.values():
        _give_each_output_a_node(function)
    for graph in graphs_of(model):
        for node in graph:
            if (called := inlined.get(node.op_identifier())) is None:
                continue
            node.resize_outputs(len(called.outputs))
            for output in node.outputs:
                output.name = output.name or None
    InlinePass(criteria=lambda function: function.identifier() in inlined)(model)


def _give_each_output_a_node(function: ir.Function) -> None:
    seen: set[ir.Value] = set(function.inputs)
    for index, output in enumerate(function.outputs):
        if output in seen:
            node = ir.node("Identity", [output])
            function.append(node)
            function.outputs[index] = node.outputs[0]
        seen.add(output)
