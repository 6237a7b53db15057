"""Checks the functions of a model: they must not call themselves, nor be called with more than they take and give."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.protobuf import graphs_of_node
from onnxnorm.validate.arity import Arities

__all__ = ["check_functions"]

_Name: TypeAlias = "tuple[str, str, str]"


def check_functions(proto: onnx.ModelProto, name: str) -> None:
    """Refuse functions that no runtime could put in place of their calls.

    Raises:
        OnnxNormError: names the function, or the node that calls it.
    """
    if not proto.functions:
        return
    functions = {(each.domain, each.name, each.overload): each for each in proto.functions}
    for nodes in (proto.graph.node, *(each.node for each in proto.functions)):
        for node, function in _calls(nodes, functions):
            _check_call(node, function, name)
    _check_recursion(functions, name)
    _check_left_out(proto, functions, name)


def _check_call(node: onnx.NodeProto, function: onnx.FunctionProto, name: str) -> None:
    """Check a call: it may leave out inputs and outputs at the end, and cannot have more than there are."""
    for what, given, there in (
        ("inputs", len(node.input), len(function.input)),
        ("outputs", len(node.output), len(function.output)),
    ):
        if given > there:
            raise OnnxNormError(
                f"{name}: node {node.name!r} calls the function {function.name!r} with {given} {what}, which has "
                f"{there}; export the model again"
            )
    passed = {inner for inner, outer in zip(function.input, node.input, strict=False) if outer}
    for output in function.output:
        if output in function.input and output not in passed:
            raise OnnxNormError(
                f"{name}: node {node.name!r} leaves out the input {output!r} of the function {function.name!r}, which "
                "gives it as an output; export the model again"
            )


def _check_recursion(functions: Mapping[_Name, onnx.FunctionProto], name: str) -> None:
    """Refuse functions that call themselves, even by way of others, since they are inlined."""
    finished: set[_Name] = set()
    for start in functions:
        path = {start: _callees(start, functions)}
        while path:
            top, callees = next(reversed(path.items()))
            callee = next(callees, None)
            if callee is None:
                finished.add(top)
                del path[top]
            elif callee in path:
                raise OnnxNormError(f"{name}: the function {callee[1]!r} calls itself; a runtime cannot inline that")
            elif callee not in finished:
                path[callee] = _callees(callee, functions)


def _callees(caller: _Name, functions: Mapping[_Name, onnx.FunctionProto]) -> Iterator[_Name]:
    for _, function in _calls(functions[caller].node, functions):
        yield function.domain, function.name, function.overload


def _calls(
    nodes: Iterable[onnx.NodeProto], functions: Mapping[_Name, onnx.FunctionProto]
) -> Iterator[tuple[onnx.NodeProto, onnx.FunctionProto]]:
    """Yield the nodes that call a function, in subgraphs too."""
    for node in _with_nested(nodes):
        if (function := functions.get((node.domain, node.op_type, node.overload))) is not None:
            yield node, function


def _with_nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for graph in graphs_of_node(node):
            yield from _with_nested(graph.node)


def _check_left_out(proto: onnx.ModelProto, functions: Mapping[_Name, onnx.FunctionProto], name: str) -> None:
    """Refuse calls that leave out an input which a node of the function needs."""
    pending = [
        (node, function, _left_out(function, node.input))
        for nodes in (proto.graph.node, *(each.node for each in functions.values()))
        for node, function in _calls(nodes, functions)
    ]
    seen = set()
    while pending:
        call, function, missing = pending.pop()
        if not missing or (key := (function.domain, function.name, function.overload, missing)) in seen:
            continue
        seen.add(key)
        arities = Arities(function.opset_import)
        for node in _with_nested(function.node):
            if missing.isdisjoint(node.input):
                continue
            inputs = ["" if each in missing else each for each in node.input]
            called = functions.get((node.domain, node.op_type, node.overload))
            if called is not None:
                pending.append((call, called, _left_out(called, inputs)))
            elif arities.wrong(node, inputs) is not None:
                needed = next(each for each in node.input if each in missing)
                raise OnnxNormError(
                    f"{name}: node {call.name!r} leaves out an input {needed!r} that the function {function.name!r} "
                    f"needs for its node {node.name!r} ({node.op_type}); export the model again"
                )


def _left_out(function: onnx.FunctionProto, inputs: Sequence[str]) -> frozenset[str]:
    return frozenset(inner for inner, outer in itertools.zip_longest(function.input, inputs) if inner and not outer)
