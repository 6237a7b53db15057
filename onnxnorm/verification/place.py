"""Finds the place where a result goes wrong: the first value inside that is off, and the nodes that make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.journal import Rewrite
from onnxnorm.verification.accuracy import Measurement
from onnxnorm.verification.cases import case_of
from onnxnorm.verification.inside import FLOAT64_RUN, Inside, Sketch, portions
from onnxnorm.verification.layers import LayerError, layer_error
from onnxnorm.verification.pairs import Pair, pairs_of, reads, region_before
from onnxnorm.verification.rounding_noise import shake, shaken_weights
from onnxnorm.verification.runs import ROUNDED, Outputs, Runs

__all__ = ["Piece", "Place", "find_place"]

_SHAKES = 2


@dataclass(frozen=True)
class Piece:
    """The two stretches of nodes, of the original and of the result, between values that are right and one that is off.

    Attributes:
        original, result: the nodes, in order.
        borders: for each value that the result's nodes read and that is right, the value of the original that it is.
    """

    original: tuple[onnx.NodeProto, ...]
    result: tuple[onnx.NodeProto, ...]
    borders: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """The place where a result that failed goes wrong.

    Attributes:
        value: the first value that is off, by its name in the original.
        result_value: its name in the result.
        node, op_type: the node of the result that makes it.
        index: the element that is off by most of what is allowed.
        error_original, error_result: the largest absolute errors of the value (of integers: how many differ).
        nodes: the outputs of the nodes of the original that compute it from values that are right.
        growth: the errors from there to the output, in the order of the result.
        rewrites: what the optimizer did to these nodes, where it was the optimizer.
    """

    value: str
    result_value: str
    node: str
    op_type: str
    index: tuple[int, ...] | None
    error_original: float
    error_result: float
    nodes: tuple[str, ...]
    growth: tuple[LayerError, ...]
    rewrites: tuple[Rewrite, ...] = ()
    piece: Piece | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        where = "" if self.index is None else f" at {list(self.index)}"
        made = "; ".join(f"{each.pass_name} on {each.node!r} ({each.op_type}): {each.detail}" for each in self.rewrites)
        return (
            f"the first value that is off is {self.value!r}, made by node {self.node!r} ({self.op_type}): off by "
            f"{self.error_result:.3g}{where} where the original is off by {self.error_original:.3g} at most"
            + (f" (rewritten by {made})" if made else "")
        )


def find_place(runs: Runs, output: str, sample: int, level: str, *, seed: int) -> Place | None:
    """Find where the error of an output comes from.

    None where every value inside is right: then the error is not there unless onnxruntime optimizes the result. None
    too where the values cannot be shown.
    """
    if level != ROUNDED:
        level = "off" if "off" in runs.result else "on"
    try:
        return _Search(runs, runs.samples[sample], level, seed).place(output)
    except (OnnxNormError, MemoryError):
        return None


class _Search:
    """The values of one sample, each judged."""

    def __init__(self, runs: Runs, feeds: Mapping[str, Any], level: str, seed: int) -> None:
        self._runs = runs
        self._original, self._result = runs.model, runs.other
        self._theirs = Inside(runs.other, dict(feeds), level, runs.options)
        self._ours = [Inside(runs.model, dict(feeds), level, runs.options)]
        weights = shaken_weights(runs.model)
        for number in range(_SHAKES if weights else 0):
            copy = shake(runs.model, weights, np.random.default_rng([seed, number, 1]))
            if copy is not None:
                self._ours.append(Inside(copy, dict(feeds), level, runs.options))
        self._exact = self._ours[0] if runs.exact is None else Inside(runs.model, dict(feeds), FLOAT64_RUN)
        before = self._exact.sketches()
        self._pairs = pairs_of(before, self._theirs.sketches(before))
        self._measured: dict[str, Measurement] = {}
        self._errors: dict[str, LayerError] = {}
        self._judge(before)

    def place(self, output: str) -> Place | None:
        right = {name for name, each in self._measured.items() if each.reason is None and self._pairs[name].is_near}
        if output in right:
            return None
        right -= self._behind({name for name in self._measured if name not in right and self._pairs[name].is_near})
        region = region_before(self._result, [output], right)
        for node in region:
            off = [name for name in node.output if name in self._measured and name not in right]
            if off:
                return self._described(node, off[0], right, region)
        return None

    def _behind(self, off: set[str]) -> set[str]:
        """Return what the result computes from values that are a little off: large numbers beside may hide the error.

        What was moved is off by more than a little, as a rule, and is right again where the other half was moved to.
        """
        reached = set(off)
        for node in self._result.graph.node:
            if not reached.isdisjoint(reads(node)):
                reached.update(node.output)
        return reached - off

    def _judge(self, sketches: Mapping[str, Sketch]) -> None:
        """Measure every pair as `verify` measures an output."""
        by_original: dict[str, list[Pair]] = {}
        for pair in self._pairs.values():
            by_original.setdefault(pair.original, []).append(pair)
        makers = {name: node for node in self._original.graph.node for name in node.output}
        for names in portions([name for name in self._exact.names if name in by_original], sketches):
            exact = None if self._exact is self._ours[0] else self._exact.values(names)
            ours = [inside.values(names) for inside in self._ours]
            got = self._theirs.values([pair.result for name in names for pair in by_original[name]])
            for name in names:
                for pair in by_original[name]:
                    self._measure(pair, makers[name], None if exact is None else exact.get(name), ours, got)

    def _measure(self, pair: Pair, maker: onnx.NodeProto, exact: Any, ours: Sequence[Outputs], got: Outputs) -> None:
        seen = [outputs[pair.original] for outputs in ours if pair.original in outputs]
        if pair.result not in got or not seen or len(seen) != len(ours) or not isinstance(seen[0], np.ndarray):
            return
        base = seen[0]
        result = got[pair.result]
        kernel_error = self._runs.kernel_errors.get(pair.original, 0.0)
        case = case_of(
            pair.result, pair.result, exact, [base, base], seen[1:], result, self._runs.roundoff, kernel_error
        )
        self._measured[pair.result] = case.measure([case])
        error = layer_error(pair, maker, base if exact is None else exact, base, result)
        if error is not None:
            self._errors[pair.result] = error

    def _described(self, node: onnx.NodeProto, name: str, right: set[str], region: Sequence[onnx.NodeProto]) -> Place:
        pair, measured = self._pairs[name], self._measured[name]
        right_before = {self._pairs[each].original for each in right} - {pair.original}
        ours = region_before(self._original, [pair.original], right_before)
        theirs = region_before(self._result, [name], right)
        made = {each for one in theirs for each in one.output}
        read = set().union(*map(reads, theirs)) - made
        borders = {each: self._pairs[each].original for each in read & right}
        growth = [self._errors[each] for one in region for each in one.output if each in self._errors]
        return Place(
            value=pair.original,
            result_value=name,
            node=node.name or node.output[0],
            op_type=node.op_type,
            index=measured.index,
            error_original=measured.error_original,
            error_result=measured.error_result,
            nodes=tuple(each.output[0] for each in (*ours, *self._gone_behind(ours))),
            growth=tuple(error for error in growth if error.result_value not in right),
            piece=Piece(tuple(ours), tuple(theirs), borders),
        )

    def _gone_behind(self, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Return the nodes of the original behind these of which the result has nothing left: what was folded in."""
        left = {name for node in self._result.graph.node for name in node.output}
        made = {name for node in nodes for name in node.output}
        behind = []
        for node in self._original.graph.node:
            if left.isdisjoint(node.output) and made & reads(node) and made.isdisjoint(node.output):
                behind.append(node)
                made.update(node.output)
        return behind
