"""How many inputs and outputs a node of the standard opset may have: as its schema says, where there is one."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

__all__ = ["Arities"]


class Arities:
    """Of the standard operators of a model or a function, which imports these opsets."""

    def __init__(self, imports: Iterable[onnx.OperatorSetIdProto]) -> None:
        versions = [entry.version for entry in imports if entry.domain in ("", "ai.onnx")]
        # A later opset may let in more.
        known = bool(versions) and versions[-1] <= onnx.defs.onnx_opset_version()
        self._opset = versions[-1] if known else None
        self._found: dict[str, tuple[range, range] | None] = {}

    def wrong(self, node: onnx.NodeProto) -> str | None:
        """What a node has too much or too little of."""
        if self._opset is None or node.domain not in ("", "ai.onnx"):
            return None
        try:
            counts = self._found[node.op_type]
        except KeyError:
            counts = self._found[node.op_type] = _counts(node.op_type, self._opset)
        if counts is None:
            return None
        inputs, outputs = counts
        if len(node.input) not in inputs:
            return _told(len(node.input), inputs, "input")
        if len(node.output) not in outputs:
            return _told(len(node.output), outputs, "output")
        return None


def _counts(op_type: str, opset: int) -> tuple[range, range] | None:
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    return range(schema.min_input, schema.max_input + 1), range(schema.min_output, schema.max_output + 1)


def _told(count: int, allowed: range, what: str) -> str:
    least, most = allowed[0], allowed[-1]
    bounds = f"{least}" if least == most else f"at least {least}" if count < least else f"at most {most}"
    return f"has {count} {what}{'' if count == 1 else 's'} where there must be {bounds}"
