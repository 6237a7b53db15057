"""Watches which parts of a model samples reach: branches of If, bodies of Loop, sides of Where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnxnorm.evaluate.operators import is_real
from onnxnorm.model.domains import STANDARD_DOMAINS

__all__ = ["PARTS", "Watch"]

PARTS = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Where": ("first value", "second value")}
"""The parts among which each operator that chooses chooses."""


class Watch:
    """A hook of the evaluator that remembers which parts were taken. What constants alone decide is left out."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str, str], set[str]] = {}

    def after(
        self, node: onnx.NodeProto, inputs: Sequence[Any], outputs: tuple[Any, ...], *, constant: bool
    ) -> tuple[Any, ...]:
        if not constant and node.domain in STANDARD_DOMAINS and node.op_type in PARTS:
            self.see(node, inputs, real=is_real(outputs[0]))
        return outputs

    def see(self, node: onnx.NodeProto, inputs: Sequence[Any], *, real: bool) -> None:
        """Remember what a node does with these inputs. A Where of integers is arithmetic with shapes."""
        if node.op_type == "Where" and not real:
            return
        parts = PARTS[node.op_type]
        taken = self._taken.setdefault((node.op_type, node.name, node.output[0]), set())
        if node.op_type == "Loop":
            trips, condition = (*inputs, None, None)[:2]
            if (trips is None or np.all(np.asarray(trips) > 0)) and (condition is None or np.all(condition)):
                taken.update(parts)
            return
        condition = np.asarray(inputs[0]).astype(bool)
        taken.update(part for part, seen in zip(parts, (condition.any(), (~condition).any()), strict=True) if seen)

    @property
    def unreached(self) -> list[str]:
        """The parts that no sample took, in words. What lies inside such a part is not named."""
        return [
            f"node {name or output!r} ({op_type}): no sample takes its {part}, so what it computes was not compared"
            for (op_type, name, output), taken in self._taken.items()
            for part in PARTS[op_type]
            if part not in taken
        ]
