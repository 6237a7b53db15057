"""Sees the values inside a model as it runs: in float64, in onnxruntime, or rounded at every operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator, Hook
from onnxnorm.evaluate.rounded import RoundedEvaluator
from onnxnorm.model.protobuf import graphs_of_node
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.verification.runs import ROUNDED, Outputs, exposing, run_all

__all__ = ["FLOAT64_RUN", "Inside", "Sketch", "names_inside", "portions", "rms"]

FLOAT64_RUN = "float64"
"""The way to run a model in the float64 evaluator, beside the levels of onnxruntime's optimizations and `ROUNDED`."""

_SEEN = 512
"""Number of elements of a value that its sketch keeps."""
_BYTES = 1 << 28
"""Bytes (256 MiB) of values, counted in float64, that are held at a time."""
_UNKNOWN = 1 << 22
"""Bytes that a value of unknown size is taken to have."""


@dataclass(frozen=True)
class Sketch:
    """The shape of a value, and some of its elements: always the same ones for its shape."""

    shape: tuple[int, ...]
    seen: npt.NDArray[np.float64]

    @classmethod
    def of(cls, value: Any) -> Sketch | None:
        """Return the sketch of an array of numbers; None for all else."""
        if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind in "OUS":
            return None
        flat = np.ravel(np.asarray(value))
        if flat.size > _SEEN:
            flat = flat[np.random.default_rng(flat.size).integers(0, flat.size, _SEEN)]
        return cls(np.shape(value), flat.astype(np.float64))

    @cached_property
    def size(self) -> float:
        """The root mean square of the elements seen, as far as they are finite."""
        return rms(self.seen)

    def distance(self, other: Sketch) -> float:
        """Return how far the other is from this one, in proportion to the size of this one."""
        if self.shape != other.shape or not np.array_equal(np.isnan(self.seen), np.isnan(other.seen)):
            return np.inf
        finite = np.isfinite(self.seen) & np.isfinite(other.seen)
        if not finite.any():
            return 0.0 if np.array_equal(self.seen, other.seen, equal_nan=True) else np.inf
        apart = rms(self.seen[finite] - other.seen[finite])
        return apart / self.size if self.size else (0.0 if apart == 0 else np.inf)


class Inside:
    """A view into runs of one model with one sample.

    Args:
        model: the model, whose main graph is looked into.
        feeds: the sample.
        level: of onnxruntime's optimizations, `ROUNDED`, or `FLOAT64_RUN`. What is shown cannot be fused away.
        options: the caller's options for sessions, or None.
    """

    def __init__(self, model: onnx.ModelProto, feeds: Feeds, level: str, options: Any = None) -> None:
        self.model = model
        self.names = names_inside(model)
        self._feeds = feeds
        self._level = level
        self._options = options

    def values(self, names: Iterable[str]) -> Outputs:
        """Return values by name, without those that cannot be shown.

        Raises:
            OnnxNormError: the model does not run so.
        """
        wanted = [name for name in names if name not in self._feeds]
        if self._level in (FLOAT64_RUN, ROUNDED):
            catch = _Catch(frozenset(wanted))
            self._evaluate(catch)
            return catch.found
        return self._shown(wanted)

    def sketches(self, like: Mapping[str, Sketch] | None = None) -> dict[str, Sketch]:
        """Return the sketch of every value inside; `like` tells the sizes of some in advance.

        Raises:
            OnnxNormError: the model does not run so.
        """
        if self._level in (FLOAT64_RUN, ROUNDED):
            sketcher = _Sketcher(frozenset(self.names))
            self._evaluate(sketcher)
            return sketcher.found
        found: dict[str, Sketch] = {}
        for names in portions(self.names, like or {}):
            for name, value in self.values(names).items():
                sketch = Sketch.of(value)
                if sketch is not None:
                    found[name] = sketch
        return found

    def _evaluate(self, hook: Hook) -> None:
        if self._level == ROUNDED:
            RoundedEvaluator(self.model, hook).evaluate(self._feeds)
        else:
            Float64Evaluator(self.model, hook).run(self._feeds)

    def _shown(self, names: Sequence[str]) -> Outputs:
        if not names:
            return {}
        try:
            outputs = run_all(exposing(self.model, names), self._level, [self._feeds], self._options)[0]
        except OnnxNormError:
            if len(names) == 1:
                # A value of a type that cannot be shown; or the model does not run at all, which its outputs tell.
                return {}
            half = len(names) // 2
            return {**self._shown(names[:half]), **self._shown(names[half:])}
        return {name: outputs[name] for name in names if name in outputs}


def rms(values: npt.NDArray[np.float64]) -> float:
    """Return the root mean square of the finite values, of any size; 0 where there are none."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max(initial=0.0))
    return largest * float(np.sqrt(np.mean((finite / largest) ** 2))) if largest else 0.0


def names_inside(model: onnx.ModelProto) -> list[str]:
    """Return the values that the nodes of the main graph make of anything but constants, in their order."""
    listed = {value.name for value in model.graph.input}
    constant = {tensor.name for tensor in model.graph.initializer if tensor.name not in listed} | {""}
    names = []
    for node in model.graph.node:
        if constant.issuperset(node.input) and (node.op_type == "Constant" or node.input) and not _inner(node):
            constant.update(node.output)
        else:
            names += [name for name in node.output if name]
    return names


def _inner(node: onnx.NodeProto) -> bool:
    return next(graphs_of_node(node), None) is not None


def portions(names: Sequence[str], sketches: Mapping[str, Sketch]) -> Iterator[list[str]]:
    """Yield the names in portions whose values fit into a bounded part of memory."""
    portion, held = list[str](), 0
    for name in names:
        size = 8 * int(np.prod(sketches[name].shape)) if name in sketches else _UNKNOWN
        if portion and held + size > _BYTES:
            yield portion
            portion, held = [], 0
        portion.append(name)
        held += size
    if portion:
        yield portion


class _Catch:
    """A hook that keeps the values of these names."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self.found: Outputs = {}

    def after(
        self, node: onnx.NodeProto, inputs: Sequence[Any], outputs: tuple[Any, ...], *, constant: bool
    ) -> tuple[Any, ...]:
        self.found.update(
            (name, value) for name, value in zip(node.output, outputs, strict=False) if name in self._names
        )
        return outputs


class _Sketcher:
    """A hook that keeps sketches of the values of these names."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self.found: dict[str, Sketch] = {}

    def after(
        self, node: onnx.NodeProto, inputs: Sequence[Any], outputs: tuple[Any, ...], *, constant: bool
    ) -> tuple[Any, ...]:
        for name, value in zip(node.output, outputs, strict=False):
            sketch = Sketch.of(value) if name in self._names else None
            if sketch is not None:
                self.found[name] = sketch
        return outputs
