"""Runs models in onnxruntime, and holds what the runs gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator
from onnxnorm.evaluate.operators import is_real
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.unoptimized import open_session, refusal_of

__all__ = ["ROUNDED", "Opening", "Outputs", "Runs", "expose", "exposing", "run_all", "run_once"]

Outputs: TypeAlias = dict[str, Any]
Opening: TypeAlias = Callable[[onnx.ModelProto, str, Any], Any]
"""Makes a session of a model, a level of onnxruntime's optimizations, and options."""

ROUNDED = "rounded"
"""The level of the run in float64 with every result rounded to its own type, where that is a half."""

_TAKEN = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")


@dataclass
class Runs:
    """Outputs by sample. A run that failed is absent and its first error is in `failures`.

    `model` is the original and `other` the result, with their random draws as inputs.

    `roundoff` is that of the coarsest type to which a node of the original casts, 0 where none does; `kernel_errors`
    are those of the original's values (see `kernel_errors.py`); `unreached` are the parts of the original that no
    sample reaches; `options` are the caller's for sessions, which `opening` makes; `evaluator` is that of the original
    in float64, where it is kept. `shakes` is how many copies of the original with moved weights may still be run, to
    be added to `shaken`; `postponed` are levels at which the original may still be run.
    """

    model: onnx.ModelProto
    other: onnx.ModelProto
    samples: list[Feeds] = field(default_factory=list)
    original: dict[str, list[Outputs]] = field(default_factory=dict)
    result: dict[str, list[Outputs]] = field(default_factory=dict)
    shaken: list[list[Outputs]] = field(default_factory=list)
    shaken_rounded: list[list[Outputs]] = field(default_factory=list)
    exact: list[Outputs] | None = None
    no_exact: str = ""
    failures: dict[tuple[str, str], OnnxNormError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repeatable: bool = True
    roundoff: float = 0.0
    kernel_errors: Mapping[str, float] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)
    options: Any = None
    opening: Opening = open_session
    evaluator: Float64Evaluator | None = None
    shakes: int = 0
    postponed: list[str] = field(default_factory=list)


def run_all(
    model: onnx.ModelProto,
    level: str,
    samples: Sequence[Feeds],
    options: Any = None,
    opening: Opening = open_session,
) -> list[Outputs]:
    """Return the outputs by name for every sample.

    Raises:
        OnnxNormError: onnxruntime refuses the model or one of the samples.
    """
    opened = opening(model, level, options)
    return [run_once(opened, feeds) for feeds in samples]


def expose(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a copy with one more output: the value `name` of the main graph."""
    return exposing(model, [name])


def exposing(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Return a copy with these values of the main graph as further outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    return copy


def run_once(opened: Any, feeds: Mapping[str, Any]) -> Outputs:
    """Run an open session with one sample; return the outputs by name.

    Raises:
        OnnxNormError: onnxruntime refuses the sample.
        MemoryError: there is too little memory.
    """
    names = [output.name for output in opened.get_outputs()]
    known = {value.name: value.type for value in (*opened.get_inputs(), *opened.get_overridable_initializers())}
    try:
        given = {name: _as_taken(value, known[name]) for name, value in feeds.items() if name in known}
        return dict(zip(names, opened.run(names, given), strict=True))
    except Exception as error:
        if any(told in str(error) for told in _NO_MEMORY):
            raise MemoryError("not enough memory") from error
        raise refusal_of(error) from error


def _as_taken(value: Any, kind: str) -> Any:
    """Return an input in the real type that the model takes: a lossy result may take another than the original."""
    wanted = _TAKEN.get(kind)
    return value.astype(wanted) if wanted is not None and is_real(value) and value.dtype != wanted else value
