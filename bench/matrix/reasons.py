"""Says in a few words why a runtime does not compute what a file says, from the file and from its message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import onnx

from bench.matrix.columns import Column
from bench.matrix.rows import Row

__all__ = ["why_not", "why_other_numbers"]

_FUNCTIONS = "reads no functions, nor operators of other domains"
_LONGEST = 100
# What a message says, and the words for it; groups of the pattern are put in.
_MESSAGES = (
    (r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", "reads IR versions up to {1}"),
    (r"opset (\d+) is under development", "reads opsets below {0}"),
    (r"does not support the following ONNX operations: ([\w.]+)", "no operator {0}"),
    (r"not supported (?:ops|operations?)[^\w]+(?:\w+\.)?(\w+)", "no operator {0}"),
    (r"Node \[(\w+)@ai\.onnx\].* Can't create layer", "no operator {0}"),
    (r"Node \[(\w+)@ai\.onnx\]", "no operator {0} of this form"),
    (r"Unimplemented\((\w+)\)", "no operator {0}"),
    (r"operation_type='(\w+)', version=(\d+)", "no operator {0} of version {1}"),
    (r"with non symmetrical padding", "no pool whose padding differs before and behind"),
    (r"Op registered for (\w+) with domain_version of (\d+)", "no operator {0} at opset {1}"),
    (r"Could not find an implementation for ([\w.]+)\(\d+\)", "no operator {0} for this type"),
    (r"its converter has no form of (\S+)", "no operator {0} of this form"),
)


def why_not(column: Column, row: Row, message: str) -> str:
    """Give the reason why a file is refused, or ends the process."""
    if row.model is not None and not column.reads_functions and _foreign(row.model):
        return _FUNCTIONS
    for pattern, words in _MESSAGES:
        found = re.search(pattern, message)
        if found:
            return words.format(*found.groups())
    text = " ".join(word for word in message.replace(row.file or row.name, "the file").split() if "/" not in word)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ..."


def why_other_numbers(column: Column, row: Row) -> str:
    """Give the known reason for other numbers than the right ones."""
    nodes = [] if row.model is None else list(row.model.graph.node)
    for name, applies, words in _KNOWN:
        if column.name.startswith(name) and any(applies(row, node) for node in nodes):
            return f"other numbers: {words}"
    return "other numbers"


def _foreign(model: onnx.ModelProto) -> bool:
    return bool(model.functions) or any(node.domain not in ("", "ai.onnx") for node in model.graph.node)


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _pads_that_count(row: Row, node: onnx.NodeProto) -> bool:
    given = _attributes(node)
    pads = given.get("pads")
    return (
        node.op_type == "AveragePool" and given.get("count_include_pad") == 1 and isinstance(pads, list) and any(pads)
    )


def _bias_with_a_fraction(row: Row, node: onnx.NodeProto) -> bool:
    bias = _attributes(node).get("bias", 1.0)
    return node.op_type == "LRN" and isinstance(bias, float) and not bias.is_integer()


def _is(op_type: str) -> Callable[[Row, onnx.NodeProto], bool]:
    return lambda row, node: node.op_type == op_type


def _known() -> Iterator[tuple[str, Callable[[Row, onnx.NodeProto], bool], str]]:
    yield "OpenCV 4", _pads_that_count, "counts no padding of an AveragePool"
    yield "reference evaluator", _is("LRN"), "walks LRN along the batch axis (onnx issue 7805)"
    yield "OpenVINO", _bias_with_a_fraction, "takes the whole part of an LRN's bias"


_KNOWN = tuple(_known())
