"""Checks how many inputs and outputs a node of the standard opset has: as its schema says, where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx

from onnxnorm.model.domains import STANDARD_DOMAINS

__all__ = ["Arities"]

_SINGLE = onnx.defs.OpSchema.FormalParameterOption.Single


class Arities:
    """The arities of the standard operators of a model or a function, which imports these opsets."""

    def __init__(self, imports: Iterable[onnx.OperatorSetIdProto]) -> None:
        versions = [entry.version for entry in imports if entry.domain in STANDARD_DOMAINS]
        # A later opset may let in more.
        known = bool(versions) and versions[-1] <= onnx.defs.onnx_opset_version()
        self._opset = versions[-1] if known else None
        self._found: dict[str, tuple[_Side, _Side] | None] = {}

    def wrong(self, node: onnx.NodeProto, given: Sequence[str] | None = None) -> str | None:
        """Tell what a node has too much or too little of, or None; `given` stands for its inputs."""
        if self._opset is None or node.domain not in STANDARD_DOMAINS:
            return None
        try:
            sides = self._found[node.op_type]
        except KeyError:
            sides = self._found[node.op_type] = _sides(node.op_type, self._opset)
        if sides is None:
            return None
        inputs, outputs = sides
        return inputs.wrong(node.input if given is None else given) or outputs.wrong(node.output)


@dataclass(frozen=True)
class _Side:
    """One side of a node, its inputs or outputs: how many there may be, and the places that cannot be left out."""

    name: str
    allowed: range
    needed: frozenset[int]

    def wrong(self, names: Sequence[str]) -> str | None:
        count, least, most = len(names), self.allowed[0], self.allowed[-1]
        if count not in self.allowed:
            bounds = f"{least}" if least == most else f"at least {least}" if count < least else f"at most {most}"
            return f"has {count} {self.name}{'' if count == 1 else 's'} where there must be {bounds}"
        if "" in names:
            left_out = [place for place in self.needed if place < count and not names[place]]
            if left_out:
                return f"leaves out its {self.name} number {min(left_out) + 1}, which it needs"
        return None


def _sides(op_type: str, opset: int) -> tuple[_Side, _Side] | None:
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    return (
        _Side("input", range(schema.min_input, schema.max_input + 1), _needed(schema.inputs)),
        _Side("output", range(schema.min_output, schema.max_output + 1), _needed(schema.outputs)),
    )


def _needed(parameters: Sequence[onnx.defs.OpSchema.FormalParameter]) -> frozenset[int]:
    return frozenset(place for place, parameter in enumerate(parameters) if parameter.option == _SINGLE)
