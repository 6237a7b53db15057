"""Evaluates a model with every operator's result rounded to its own type, as a device with half arithmetic does it.

onnxruntime's kernels for processors compute float16 in float32, and fused operators round once: what overflows or
cancels in half precision is not seen there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.inliner

from onnxnorm.evaluate.evaluator import Float64Evaluator, Hook
from onnxnorm.evaluate.operators import is_real
from onnxnorm.model.protobuf import graphs_in
from onnxnorm.validate.shape_inference import infer_shapes

__all__ = ["RoundedEvaluator", "has_halves"]

_HALVES: dict[int, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}


def has_halves(model: onnx.ModelProto) -> bool:
    """Whether a value of the model is float16 or bfloat16."""
    typed = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    casts = [
        a.i for g in graphs_in(model) for n in g.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"
    ]
    return any(kind in _HALVES for kind in (*typed, *casts, *(t.data_type for t in model.graph.initializer)))


class RoundedEvaluator:
    """An evaluator of a model in float64 that rounds each result that is float16 or bfloat16 in the model.

    Args:
        model: the message, with every weight in it.
        hook: sees every node with its rounded outputs.
        singles: round to float32 too.

    Raises:
        NoFloat64Error: the model has an operator that cannot be computed so.
    """

    def __init__(self, model: onnx.ModelProto, hook: Hook | None = None, *, singles: bool = False) -> None:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        self._inputs = {value.name for value in model.graph.input}
        rounded = {**_HALVES, onnx.TensorProto.FLOAT: np.dtype(np.float32)} if singles else _HALVES
        self._evaluator = Float64Evaluator(model, _Rounding(_types(model), rounded, hook))

    def run(self, feeds: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the outputs by name, in the types of `kinds`, which are outputs of the same model."""
        with np.errstate(all="ignore"):
            return {name: _like(value, kinds[name]) for name, value in self.evaluate(feeds).items()}

    def evaluate(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the outputs by name, in float64."""
        return self._evaluator.run({name: value for name, value in feeds.items() if name in self._inputs})


def _like(value: Any, kind: Any) -> Any:
    if isinstance(value, list) and isinstance(kind, list):
        return [_like(*pair) for pair in zip(value, kind, strict=False)]
    return value.astype(kind.dtype) if is_real(value) and is_real(kind) else value


class _Rounding:
    """A hook that rounds; where the type of a value is not known, it is that of the node's first real input."""

    def __init__(self, types: Mapping[str, int], rounded: Mapping[int, np.dtype[Any]], hook: Hook | None) -> None:
        self._types = dict(types)
        self._rounded = rounded
        self._hook = hook

    def after(
        self, node: onnx.NodeProto, inputs: Sequence[Any], outputs: tuple[Any, ...], *, constant: bool
    ) -> tuple[Any, ...]:
        known = [self._types[name] for name in node.input if self._types.get(name) in _REAL]
        rounded = []
        for name, value in zip((*node.output, *[""] * len(outputs)), outputs, strict=False):
            kind = self._types.get(name)
            if kind is None and known and name:
                kind = self._types[name] = known[0]
            to = self._rounded.get(kind or 0)
            rounded.append(value if to is None or not is_real(value) else value.astype(to).astype(np.float64))
        if self._hook is not None:
            return self._hook.after(node, inputs, tuple(rounded), constant=constant)
        return tuple(rounded)


_REAL = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, *_HALVES})


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element types of the values, as far as they are known."""
    with contextlib.suppress(Exception):
        model = infer_shapes(model)
    types: dict[str, int] = {}
    for graph in graphs_in(model):
        if isinstance(graph, onnx.GraphProto):
            for value in (*graph.input, *graph.output, *graph.value_info):
                if value.type.tensor_type.elem_type:
                    types[value.name] = value.type.tensor_type.elem_type
            types.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    return types
