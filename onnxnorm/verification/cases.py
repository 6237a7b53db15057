"""Compares one output of one run of the result with everything that it is held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator
from onnxnorm.evaluate.operators import is_real
from onnxnorm.runtime.unoptimized import LEVELS
from onnxnorm.verification.accuracy import (
    ELEMENT_MARGIN,
    Measurement,
    measure,
    noise_and_size,
    relative_noise,
    unit_roundoff,
)
from onnxnorm.verification.runs import ROUNDED, Runs, expose, run_all

__all__ = ["FLOAT64", "RUNTIME", "ExactCase", "RealCase", "case_of", "cases_of", "is_tie"]

FLOAT64 = "a float64 run of the original"
RUNTIME = "an onnxruntime run of the original"

_DISTRUST = 32.0
"""Factor of the noise of the shaken copies: two ways farther apart do not compute the same function.

Sums of many terms of one sign are rounded more often in a row than shaken weights show, by a factor of about 10.
"""
_DISTRUST_ROUNDINGS = 256.0
"""Number of roundings below which two ways are never doubted: not every model has weights to shake."""
_DISTRUST_CASTS = 16.0
"""Number of roundings of a coarser type, to which the original casts, below which two ways are never doubted."""


@dataclass(frozen=True)
class RealCase:
    """An output of real numbers."""

    name: str
    exact: npt.NDArray[Any] | None
    base: npt.NDArray[Any]
    paired: npt.NDArray[Any]
    shaken: tuple[npt.NDArray[Any], ...]
    result: npt.NDArray[Any]
    roundoff: float
    kernel_error: float = 0.0
    """The error that onnxruntime's kernel may have, however small the value is."""
    other: npt.NDArray[Any] | None = None
    """The original's output with onnxruntime's optimizations the other way."""

    @cached_property
    def _trusted(self) -> bool:
        """Whether the float64 run computes what onnxruntime computes of the original, but for rounding."""
        if self.exact is None or self.exact.shape != self.base.shape:
            return False
        return self._apart(self.exact) <= self._explained

    def _apart(self, exact: npt.NDArray[Any]) -> float:
        """Return how far a float64 run is from onnxruntime's, in proportion, beyond what its kernel is off by."""
        if not self.kernel_error:
            return relative_noise(exact, [self.base])
        with np.errstate(invalid="ignore"):
            nearer = self.base + np.clip(exact - self.base, -self.kernel_error, self.kernel_error)
        return relative_noise(exact, [nearer])

    @property
    def optimizations_trusted(self) -> bool:
        """Whether onnxruntime's optimizations leave the original's output as it is, but for rounding."""
        if self.paired is self.base:
            return True
        return relative_noise(self.base.astype(np.float64), [self.paired]) <= self._explained

    @cached_property
    def _explained(self) -> float:
        """The proportion by which rounding may set two ways to compute the original apart."""
        noise = relative_noise(self.base.astype(np.float64), self.shaken) if self.shaken else 0.0
        rounding = max(_DISTRUST_ROUNDINGS * unit_roundoff(self.base.dtype), _DISTRUST_CASTS * self.roundoff)
        return max(_DISTRUST * noise, rounding)

    @property
    def yardstick(self) -> str:
        if self._trusted:
            return FLOAT64
        if self.exact is None:
            return RUNTIME
        if self.exact.shape != self.base.shape:
            return f"{RUNTIME}, for {self.name!r} (a float64 run gives the shape {self.exact.shape})"
        apart = self._apart(self.exact)
        return f"{RUNTIME}, for {self.name!r} (a float64 run of it is {apart:.2g} apart, more than rounding explains)"

    @cached_property
    def _noise(self) -> tuple[npt.NDArray[Any], ...]:
        # Without optimizations the first two are one run, whose noise need not be measured twice.
        runs = {id(seen): seen for seen in (self.base, self.paired, *self.shaken)}.values()
        same = [seen for seen in runs if seen.shape == self.base.shape]
        if self.other is not None and self.other.shape == self.base.shape:
            # Fused otherwise, the original rounds elsewhere; fused wrongly, it tells nothing of rounding.
            fused = replace(self, paired=self.other, other=None)
            same += [self.other] if fused.optimizations_trusted else []
        return tuple(same)

    @cached_property
    def _exact(self) -> npt.NDArray[np.float64]:
        exact = self.exact if self._trusted else None
        return (self.base if exact is None else exact).astype(np.float64)

    @cached_property
    def noise_and_size(self) -> tuple[float, float]:
        """The noise of this sample and the size of the output, as root mean squares."""
        return noise_and_size(self._exact, self._noise)

    def measure(self, others: Sequence[RealCase | ExactCase]) -> Measurement:
        """Compare the result with the original; `others` are the cases of all samples.

        Their noise counts here too as it is, unless this output is the smaller one: then in proportion.
        """
        different = _shape_or_type(self.base, self.result)
        if different is not None:
            return _failed(different)
        known = [other.noise_and_size for other in others]
        proportion = max((noise / size for noise, size in known if size), default=0.0)
        elsewhere = min(max(noise for noise, _ in known), proportion * self.noise_and_size[1])
        # Both the original and the result may be off by it, and to opposite sides.
        both = 2 * self.kernel_error
        return measure(self._exact, self.paired, self.result, self._noise, elsewhere=elsewhere, kernels=both)


@dataclass(frozen=True)
class ExactCase:
    """An output of integers, booleans, text, or no tensor at all: equal or not."""

    name: str
    output: str
    exact: Any
    originals: tuple[Any, ...]
    result: Any
    yardstick: str
    noise_and_size: tuple[float, float] = (0.0, 0.0)

    def measure(self, others: Sequence[RealCase | ExactCase]) -> Measurement:
        """Compare element by element: each must be what the float64 run or some run of the original has there."""
        base = self.originals[0]
        if not isinstance(base, np.ndarray) or not isinstance(self.result, np.ndarray):
            same = self.result == base
            return _failed(None if same else f"{self.result!r:.80} where the original has {base!r:.80}")
        different = _shape_or_type(base, self.result)
        if different is not None:
            return _failed(different)
        wrong = self.wrong
        if not wrong.any():
            return _failed(None)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        count = int(wrong.sum())
        reason = f"{self.result[index]} where the original has {base[index]}, {count} of {wrong.size} elements differ"
        return Measurement(np.inf, index, 0.0, float(count), np.inf, np.inf, reason)

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Marks the elements where the result has what neither the float64 run nor any run of the original has."""
        legal = [v for v in (self.exact, *self.originals) if isinstance(v, np.ndarray) and v.shape == self.result.shape]
        return np.asarray(np.logical_and.reduce([self.result != value for value in legal]), dtype=np.bool_)


def cases_of(runs: Runs, name: str, level: str, sample: int) -> Iterator[RealCase | ExactCase]:
    """Yield the cases that one output makes: one, or one for each element of a sequence."""
    base = next(iter(runs.original))
    exact = runs.exact[sample][name] if runs.exact is not None else None
    originals = [runs.original[base][sample][name], runs.original.get(level, runs.original[base])[sample][name]]
    shaken = [run[sample][name] for run in (*runs.shaken, *(runs.shaken_rounded if level == ROUNDED else ()))]
    result = runs.result[level][sample][name]
    first = originals[0]
    if not isinstance(first, list):
        known = None if isinstance(exact, list) else exact
        kernel_error = runs.kernel_errors.get(name, 0.0)
        case = case_of(name, name, known, originals, shaken, result, runs.roundoff, kernel_error)
        if isinstance(case, RealCase) and level == base and "on" in runs.original:
            case = replace(case, other=runs.original["on"][sample][name])
        yield case
        return
    if not isinstance(result, list) or len(result) != len(first):
        count = len(result) if isinstance(result, list) else type(result).__name__
        yield ExactCase(name, name, None, (len(first),), count, RUNTIME)
        return
    everything = [exact if isinstance(exact, list) else [None] * len(first), *originals, *shaken]
    if any(len(values) != len(first) for values in everything[1:3]):
        everything = [[None] * len(first), first, first]
    everything = [values for values in everything if len(values) == len(first)]
    for i, item in enumerate(result):
        own, one, two, *others = (values[i] for values in everything)
        yield case_of(f"{name}[{i}]", name, own, [one, two], others, item, runs.roundoff)


def case_of(
    key: str,
    output: str,
    exact: Any,
    originals: list[Any],
    shaken: list[Any],
    result: Any,
    roundoff: float,
    kernel_error: float = 0.0,
) -> RealCase | ExactCase:
    """Return the case of one array, sequence element or other value; `originals` are the base and the paired run."""
    base, paired = originals
    if is_real(base):
        alike = tuple(value for value in shaken if value.shape == base.shape)
        paired = paired if paired.shape == base.shape else base
        kernel_error = 0.0 if base.dtype == np.float64 else kernel_error
        return RealCase(key, exact, base, paired, alike, result, roundoff, kernel_error)
    return ExactCase(key, output, exact, (*originals, *shaken), result, RUNTIME if exact is None else FLOAT64)


def _shape_or_type(base: Any, result: Any) -> str | None:
    if not isinstance(result, np.ndarray):
        return f"{type(result).__name__} where the original has an array"
    if result.dtype != base.dtype:
        return f"type {result.dtype} where the original has {base.dtype}"
    if result.shape != base.shape:
        return f"shape {result.shape} where the original has {base.shape}"
    return None


def _failed(reason: str | None) -> Measurement:
    off = 0.0 if reason is None else np.inf
    return Measurement(off, None, 0.0, off, off, off, reason)


def is_tie(runs: Runs, case: ExactCase, sample: int, level: str) -> bool:
    """Whether the indices of an ArgMax, ArgMin or TopK differ only between scores that rounding cannot tell apart."""
    model = runs.model
    if level not in LEVELS:
        return False
    producer = next((node for node in model.graph.node if case.output in node.output), None)
    indices = {"ArgMax": 0, "ArgMin": 0, "TopK": 1}
    if producer is None or producer.op_type not in indices or runs.exact is None or case.exact is None:
        return False
    if producer.output[indices[producer.op_type]] != case.output or np.shape(case.exact) != np.shape(case.result):
        return False
    settings = {a.name: onnx.helper.get_attribute_value(a) for a in producer.attribute}
    axis = settings.get("axis", -1 if producer.op_type == "TopK" else 0)
    scores = producer.input[0]
    feeds = runs.samples[sample]
    try:
        exact = Float64Evaluator(model).run(feeds, [scores])[scores]
        seen = run_all(expose(model, scores), level, [feeds], runs.options)[0][scores]
    except OnnxNormError:
        return False
    if not is_real(seen) or seen.shape != exact.shape:
        return False
    picks = [case.exact, case.result]
    if producer.op_type != "TopK" and not settings.get("keepdims", 1):
        picks = [np.expand_dims(pick, axis) for pick in picks]
    if any(np.any((pick < 0) | (pick >= exact.shape[axis])) for pick in picks):
        return False
    right, chosen = (np.take_along_axis(exact, pick, axis) for pick in picks)
    errors = np.abs(seen.astype(np.float64) - exact)
    noise = np.maximum(np.sqrt(np.mean(errors**2)), unit_roundoff(seen.dtype) * np.abs(right))
    return bool(np.all(np.abs(right - chosen) <= ELEMENT_MARGIN * noise))
