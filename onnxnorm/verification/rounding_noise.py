"""Makes copies of a model whose weights are moved by one rounding: what rounding of constants alone may do to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from onnxnorm.model.held import array_of, is_held, size_of, store_of

__all__ = ["WEIGHTS", "shake", "shaken_weights"]

WEIGHTS: dict[str, frozenset[int]] = {
    "Add": frozenset({0, 1}),
    "BatchNormalization": frozenset({1, 2, 3, 4}),
    "Conv": frozenset({1, 2}),
    "ConvTranspose": frozenset({1, 2}),
    "Div": frozenset({0, 1}),
    "Gemm": frozenset({0, 1, 2}),
    "GroupNormalization": frozenset({1, 2}),
    "InstanceNormalization": frozenset({1, 2}),
    "LayerNormalization": frozenset({1, 2}),
    "MatMul": frozenset({0, 1}),
    "Mul": frozenset({0, 1}),
    "PRelu": frozenset({1}),
    "RMSNormalization": frozenset({1}),
    "Sub": frozenset({0, 1}),
}
"""The inputs at which a real constant is a weight: moving it a little moves the result a little."""

_ELEMENTWISE = frozenset({"Add", "Div", "Mul", "Sub"})
_FEW = 8
"""Number of elements up to which an elementwise constant may be arithmetic with shapes.

The least change of such a constant is a jump.
"""

_MOVES = frozenset({"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Tile", "Transpose", "Unsqueeze"})
_BITS = {"float16": np.int16, "bfloat16": np.int16, "float32": np.int32, "float64": np.int64}
_LIMIT = 1 << 30
"""Bytes of weights (1 GiB) beyond which they stay as they are: copies of such a model would not fit beside it."""


def shaken_weights(model: onnx.ModelProto, *, few: int = _FEW) -> tuple[str, ...]:
    """Return the initializers and Constant outputs of the main graph that are weights wherever they are used.

    Elementwise constants of at most `few` elements are taken for arithmetic with shapes.
    """
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            readers[name].append((node, position))
        for name in _captured(node):
            readers[name].append((node, -1))
    public = {value.name for value in (*model.graph.output, *model.graph.input)}

    def is_weight(name: str, is_small: bool, depth: int = 0) -> bool:
        if not readers[name] or name in public or depth > 8:
            return False
        for node, position in readers[name]:
            if node.op_type in _MOVES and position == 0:
                if not is_weight(node.output[0], is_small, depth + 1):
                    return False
            elif position not in WEIGHTS.get(node.op_type, ()) or (is_small and node.op_type in _ELEMENTWISE):
                return False
        return True

    return tuple(
        name
        for name, tensor in _constants(model.graph)
        if onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name in _BITS
        and is_weight(name, int(np.prod(tensor.dims)) <= few)
    )


def shake(model: onnx.ModelProto, names: tuple[str, ...], rng: np.random.Generator) -> onnx.ModelProto | None:
    """Return a copy in which each element of the named weights goes up or down by one unit in the last place, or stays.

    None where there is nothing to move, or too much.
    """
    if not names or size_of(model) > _LIMIT:
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = frozenset(names)
    for name, tensor in _constants(copy.graph):
        if name in wanted:
            moved = _moved(array_of(tensor), rng)
            held = store_of(tensor).reference(tensor, moved) if is_held(tensor) else None
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name) if held is None else held)
    return copy


def _moved(values: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    # Unlike `ascontiguousarray` this leaves a scalar one.
    bits = np.asarray(values, order="C").view(_BITS[values.dtype.name])
    steps = rng.integers(-1, 2, bits.shape, dtype=np.int8)
    # A sum of scalars is a number, no array.
    moved = np.asarray(bits + steps).view(values.dtype)
    # Zero, the largest number, infinities and NaN have no neighbour of their own kind on both sides.
    stays = ~np.isfinite(moved)
    stays |= values == 0
    stays |= ~np.isfinite(values)
    if stays.any():
        np.copyto(moved, values, where=stays)
    return moved


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant" and node.domain == "":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
            for inner in graph.node:
                yield from inner.input
                yield from _captured(inner)
            yield from (output.name for output in graph.output)
