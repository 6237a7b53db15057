"""Compares outputs of results that lose accuracy on purpose: by tolerances that a caller chooses, not by proof."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.operators import is_real
from onnxnorm.model.names import fresh_name
from onnxnorm.validate.arguments import check_number
from onnxnorm.verification.report import OutputError
from onnxnorm.verification.runs import ROUNDED, Runs
from onnxnorm.verification.smallest import rename

__all__ = ["Tolerance", "outputs_within", "with_outputs_named"]


@dataclass(frozen=True)
class Tolerance:
    """The tolerance for a result; what is None is not asked for.

    Attributes:
        atol, rtol: each element may be off by atol + rtol * |exact value|; one of the two alone leaves the other 0.
        cosine: the least cosine similarity of each output with the exact one.
        snr: the least signal-to-noise ratio of each output in decibels.
    """

    atol: float | None = None
    rtol: float | None = None
    cosine: float | None = None
    snr: float | None = None

    def __post_init__(self) -> None:
        for name in ("atol", "rtol"):
            value = check_number(name, getattr(self, name))
            if value is not None and not 0 <= value < math.inf:
                raise OnnxNormError(f"{name} must be 0 or more, not {value}")
        check_number("cosine", self.cosine)
        check_number("snr", self.snr)
        if self.cosine is not None and not -1 <= self.cosine <= 1:
            raise OnnxNormError(f"cosine must be between -1 and 1, not {self.cosine}")
        if self.snr is not None and math.isnan(self.snr):
            raise OnnxNormError("snr must be a number of decibels, not NaN")

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.atol, self.rtol, self.cosine, self.snr))

    @property
    def is_by_element(self) -> bool:
        """Whether every element is asked about."""
        return self.atol is not None or self.rtol is not None

    def shares(self, errors: Any, right: Any) -> Any:
        """Return the error of each element as a part of what is allowed there; 0 where there is none."""
        with np.errstate(all="ignore"):
            shares = errors / ((self.atol or 0.0) + (self.rtol or 0.0) * np.abs(right))
        return np.where(errors == 0, 0.0, shares)

    def reasons(self, cosine: float, snr: float) -> Iterator[str]:
        """Yield what an output of this cosine similarity and signal-to-noise ratio falls short of."""
        if self.cosine is not None and cosine < self.cosine:
            yield f"its cosine similarity is {cosine:.6g}, below {self.cosine:g}"
        if self.snr is not None and snr < self.snr:
            yield f"its signal-to-noise ratio is {snr:.4g} dB, below {self.snr:g}"


def outputs_within(runs: Runs, tolerance: Tolerance, shapes: Sequence[dict[str, tuple[int, ...]]]) -> list[OutputError]:
    """Compare every output of the result with the exact one: a record for each, with the worst sample and run."""
    records = []
    base = next(iter(runs.original))
    for name in [output.name for output in runs.model.graph.output]:
        found = []
        for level in [level for level in runs.result if level != ROUNDED]:
            for sample in range(len(runs.samples)):
                original = runs.original[base][sample][name]
                exact = original if runs.exact is None else runs.exact[sample][name]
                found.append(
                    _compared(name, exact, original, runs.result[level][sample][name], tolerance, sample, level)
                )
        worst = max(found, key=lambda each: (not each.passed, each.excess))
        records.append(replace(worst, shapes=shapes[worst.sample]))
    return records


def _compared(
    name: str, exact: Any, original: Any, result: Any, tolerance: Tolerance, sample: int, level: str
) -> OutputError:
    def record(reason: str | None, excess: float = math.inf, **more: Any) -> OutputError:
        known = {"index": None, "error_original": 0.0, "error_result": 0.0 if reason is None else math.inf, **more}
        least = known["error_result"]
        return OutputError(
            name=name,
            passed=reason is None,
            sample=sample,
            shapes={},
            optimizations=level,
            excess=excess,
            least_absolute_tolerance=known.pop("least_absolute", least),
            least_relative_tolerance=known.pop("least_relative", least),
            yardstick="the tolerance given, against the original in float64",
            reason=reason,
            **known,
        )

    if not isinstance(result, np.ndarray) or not isinstance(exact, np.ndarray) or exact.dtype.kind in "OUSb":
        return record(None, 0.0) if np.array_equal(result, exact) else record("it is not what the original has")
    if result.shape != exact.shape:
        return record(f"shape {result.shape} where the original has {exact.shape}")
    if not exact.size:
        return record(None, 0.0)
    right, got = exact.astype(np.float64), result.astype(np.float64)
    finite = np.isfinite(right) & np.isfinite(got)
    same_kind = finite | (right == got) | (np.isnan(right) & np.isnan(got))
    errors = np.where(finite, np.abs(got - right), np.where(same_kind, 0.0, np.inf))
    own = np.where(finite & np.isfinite(original), np.abs(original.astype(np.float64) - right), 0.0)
    with np.errstate(all="ignore"):
        relative = np.where(errors == 0, 0.0, errors / np.abs(right))
    by_element = tolerance.is_by_element or not is_real(exact)
    judged = tolerance.shares(errors, right) if by_element else np.where(same_kind, 0.0, np.inf)
    place = np.unravel_index(int(np.argmax(judged)), judged.shape)
    cosine, snr = _cosine(right[finite], got[finite]), _snr(right[finite], errors[finite])
    worst = float(judged[place])
    reasons = [f"off by {errors[place]:.3g}, {worst:.3g} times the tolerance"] if worst > 1 else []
    if is_real(exact):
        reasons += tolerance.reasons(cosine, snr)
    return record(
        "; ".join(reasons) or None,
        worst if not reasons else max(worst, 1.0),
        index=tuple(int(i) for i in place),
        error_original=float(own.max()),
        error_result=float(errors.max()),
        least_absolute=float(errors.max()),
        least_relative=float(relative.max()),
        cosine=cosine,
        snr=snr,
    )


def _cosine(right: Any, got: Any) -> float:
    if np.array_equal(right, got):
        return 1.0
    scale, other = np.abs(right).max(initial=0.0), np.abs(got).max(initial=0.0)
    if not scale or not other:
        return 0.0
    one, two = right / scale, got / other
    return float(np.dot(one, two) / math.sqrt(float(np.dot(one, one)) * float(np.dot(two, two))))


def _snr(right: Any, errors: Any) -> float:
    largest = float(errors.max(initial=0.0))
    if not largest:
        return math.inf
    size = float(np.abs(right).max(initial=0.0))
    if not size:
        return -math.inf
    signal, noise = np.sqrt(np.mean((right / size) ** 2)), np.sqrt(np.mean((errors / largest) ** 2))
    return float(20 * (np.log10(signal) - np.log10(noise) + math.log10(size) - math.log10(largest)))


def with_outputs_named(
    original: onnx.ModelProto, result: onnx.ModelProto, renamed: Mapping[str, str]
) -> onnx.ModelProto:
    """Return the result with outputs under the names, and in the order, that the original has.

    Args:
        original, result: the models.
        renamed: the names of outputs in the result, by their names in the original.

    Raises:
        OnnxNormError: a model has no such output.
    """
    ours, theirs = ([output.name for output in model.graph.output] for model in (original, result))
    for old, new in renamed.items():
        for name, known, which in ((old, ours, "original"), (new, theirs, "result")):
            if name not in known:
                raise OnnxNormError(f"the {which} has no output {name!r}, its outputs are {known}")
    copy = onnx.ModelProto()
    copy.CopyFrom(result)
    graph = copy.graph
    taken = {name for node in graph.node for name in (*node.output, *node.input)} | set(ours) | set(theirs)
    names = {new: old for old, new in renamed.items()}
    names |= {old: fresh_name(f"{old} (inside)", taken) for old in renamed if old not in names and old not in theirs}
    for node in graph.node:
        rename(node, names)
    for value in (*graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    if any(tensor.name in names for tensor in graph.initializer) or any(each.name in names for each in graph.input):
        raise OnnxNormError("an output that is an input or a constant of the result cannot be renamed")
    if sorted(output.name for output in graph.output) == sorted(ours):
        ordered = sorted(graph.output, key=lambda output: ours.index(output.name))
        del graph.output[:]
        graph.output.extend(ordered)
    return copy
