"""Judges results that decide otherwise where rounding alone decides: at a comparison of values that are as good as
equal, or next to the boundary of a quantization step.

Such a decision is no mistake, and what follows from it is as far from the float64 run as the decision says. So the
original is evaluated in float64 once more, with the result's decisions wherever these are ties, and the result is held
against that. A tie is a decision whose operands are nearer to the boundary than the errors that the original itself has
in them, in the result as well as in the original. Everything else, the operands too, is compared as tightly as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator
from onnxnorm.evaluate.operators import is_real, lift
from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.held import array_of
from onnxnorm.runtime.unoptimized import LEVELS
from onnxnorm.verification.accuracy import ELEMENT_MARGIN, SLICE_MARGIN, Measurement, noise_and_size
from onnxnorm.verification.cases import RealCase
from onnxnorm.verification.runs import Runs, expose, run_all

__all__ = ["Ties"]

_COMPARES = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_STEPS = frozenset({"Ceil", "DynamicQuantizeLinear", "Floor", "QuantizeLinear", "Round"})
_UNIT = 2.0**-24


@dataclass(frozen=True)
class _Followed:
    """A float64 run of the original with the decisions of another run, and that run's outputs."""

    exact: list[dict[str, Any]]
    seen: list[dict[str, Any]]


class Ties:
    """Judges outputs again, with the decisions of the run that they come from.

    Args:
        runs: of both models.
        result: the result, with its random draws as inputs.
    """

    def __init__(self, runs: Runs, result: onnx.ModelProto) -> None:
        self._runs = runs
        self._result = result
        theirs = {node.output[0]: node for node in result.graph.node if node.output}
        self._nodes = [
            node
            for node in runs.model.graph.node
            if node.domain in STANDARD_DOMAINS
            and node.op_type in _COMPARES | _STEPS
            and theirs.get(node.output[0], onnx.NodeProto()).op_type == node.op_type
        ]
        self._theirs = {node.output[0]: theirs[node.output[0]] for node in self._nodes}
        self._noise: dict[str, float] = {}
        self._known: dict[tuple[str, str], _Followed | None] = {}

    def measure(self, case: RealCase, output: str, sample: int, level: str) -> Measurement | None:
        """Measure a failed output with the decisions followed; None where there are none to follow."""
        if not self._nodes or self._runs.exact is None or level not in LEVELS or case.name != output:
            return None
        before, after = self._followed("original", level), self._followed("result", level)
        if before is None or after is None:
            return None
        mine, theirs = after.exact[sample][output], before.exact[sample][output]
        got, seen = after.seen[sample][output], before.seen[sample][output]
        if not (np.shape(mine) == np.shape(theirs) == got.shape == seen.shape == case.result.shape):
            return None
        moved = np.asarray(mine + (seen.astype(np.float64) - theirs), dtype=seen.dtype)
        followed = replace(case, exact=mine, base=moved, paired=moved, shaken=(), result=got, other=None)
        measured = followed.measure([followed])
        # The run that was judged shows nothing of its decisions: its errors must be like those of this one.
        exact = self._runs.exact[sample][output]
        allowed = max(noise_and_size(exact, [run])[0] for run in (got, seen, case.paired))
        if measured.reason is None and noise_and_size(exact, [case.result])[0] > SLICE_MARGIN * allowed:
            return None
        return measured

    def _followed(self, which: str, level: str) -> _Followed | None:
        key = (which, level)
        if key not in self._known:
            try:
                self._known[key] = self._follow(which, level)
            except (OnnxNormError, MemoryError):
                self._known[key] = None
        return self._known[key]

    def _follow(self, which: str, level: str) -> _Followed:
        if which == "result":
            self._followed("original", level)
        model = self._runs.model if which == "original" else self._result
        made = {name for node in model.graph.node for name in node.output}
        shown = model
        for node in self._nodes:
            reader = node if which == "original" else self._theirs[node.output[0]]
            for name in (node.output[0], *(name for name in reader.input if name in made)):
                shown = expose(shown, name)
        seen = run_all(shown, level, self._runs.samples, self._runs.options)
        exact = []
        for feeds, values in zip(self._runs.samples, seen, strict=True):
            hook = _Following(
                {node.output[0] for node in self._nodes},
                values,
                self._noise,
                None if which == "original" else _Operands(self._theirs, self._result, {**feeds, **values}),
            )
            exact.append(Float64Evaluator(self._runs.model, hook).run(feeds))
        return _Followed(exact, seen)


class _Operands:
    """The operands of the result's own decisions."""

    def __init__(self, nodes: Mapping[str, onnx.NodeProto], model: onnx.ModelProto, seen: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._seen = seen

    def of(self, name: str) -> list[Any] | None:
        """Return the operands of the decision `name`; None where one of them is not known."""
        found = [self._value(each) for each in self._nodes[name].input]
        return None if any(each is None for each in found) else found

    def _value(self, name: str) -> Any:
        if name in self._weights:
            return lift(array_of(self._weights[name]))
        return lift(self._seen.get(name))


class _Following:
    """A hook that takes over decisions: in the original's own runs all of them, in the result's those that are ties.

    During the original's runs it keeps how far their operands are from the exact ones. `operands` are those of the
    result's decisions, None for the original's.
    """

    def __init__(
        self, names: set[str], seen: Mapping[str, Any], noise: dict[str, float], operands: _Operands | None
    ) -> None:
        self._names = names
        self._seen = seen
        self._noise = noise
        self._operands = operands

    def after(
        self, node: onnx.NodeProto, inputs: Sequence[Any], outputs: tuple[Any, ...], *, constant: bool
    ) -> tuple[Any, ...]:
        name = node.output[0] if node.output else ""
        mine, theirs = outputs[0], self._seen.get(name)
        if theirs is None or name not in self._names or not is_real(inputs[0]) or np.shape(theirs) != np.shape(mine):
            return outputs
        theirs = np.asarray(theirs).astype(mine.dtype)
        if self._operands is None:
            for given, value in zip(node.input, inputs, strict=True):
                seen = self._seen.get(given)
                if seen is not None and is_real(seen) and seen.shape == value.shape:
                    error = noise_and_size(value, [seen])[0]
                    self._noise[name] = max(self._noise.get(name, 0.0), error)
            return (theirs, *outputs[1:])
        away, size = _distance(node, inputs, mine, theirs)
        noise = np.maximum(self._noise.get(name, 0.0), _UNIT * size)
        ties = away <= ELEMENT_MARGIN * noise
        own = self._operands.of(name)
        if own is not None and np.shape(own[0]) == np.shape(inputs[0]) and len(own) == len(inputs):
            # The result may compare multiples of both, so that its errors are as many times as large.
            its_away, its_size = _distance(node, own, mine, theirs)
            times = np.maximum(its_size / np.maximum(size, np.finfo(np.float64).tiny), 1.0)
            ties &= its_away <= ELEMENT_MARGIN * noise * times
        return (np.where(ties, theirs, mine), *outputs[1:])


def _distance(
    node: onnx.NodeProto, inputs: Sequence[Any], mine: npt.NDArray[Any], theirs: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return how far the operands are from the boundary between the two decisions, and how large they are."""
    x = inputs[0]
    if node.op_type in _COMPARES:
        other = inputs[1]
        return np.abs(x - other), np.maximum(np.abs(x), np.abs(other)) * np.ones(mine.shape)
    low, high = np.minimum(mine, theirs).astype(np.float64), np.maximum(mine, theirs).astype(np.float64)
    boundary = {"Floor": high, "Ceil": low}.get(node.op_type, (low + high) / 2)
    if node.op_type == "QuantizeLinear":
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        zero = _spread(inputs[2] if len(inputs) > 2 else 0.0, axis, x.ndim)
        boundary = (boundary - zero) * _spread(inputs[1], axis, x.ndim)
    elif node.op_type == "DynamicQuantizeLinear":
        low_x, high_x = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        scale = (high_x - low_x) / 255.0
        boundary = (boundary - np.rint(-low_x / scale if scale else 0.0)) * scale
    # A decision that is more than one step away is none that rounding takes.
    return np.where(high - low <= 1.0, np.abs(x - boundary), np.inf), np.abs(x)


def _spread(values: Any, axis: int, rank: int) -> npt.NDArray[np.float64]:
    wide = np.asarray(values, dtype=np.float64)
    return wide.reshape(()) if wide.size == 1 else wide.reshape([-1 if a == axis % rank else 1 for a in range(rank)])
