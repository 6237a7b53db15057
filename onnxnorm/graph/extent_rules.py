"""Tells, operator by operator, where the extents of an operator's results come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import onnx_ir as ir

from onnxnorm.graph.extents import Extent, Extents, ints_of, wrapped

__all__ = ["broadcast", "extents_after", "quotient"]

_Origins: TypeAlias = "Sequence[Extent | None]"
_Rule: TypeAlias = Callable[[ir.Node, int, int, Extents], _Origins]

_SAME = frozenset(
    {
        "Abs", "BatchNormalization", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "CumSum", "DequantizeLinear",
        "Dropout", "DynamicQuantizeLinear", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid",
        "HardSwish", "Identity", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax",
        "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu", "QuantizeLinear",
        "RMSNormalization", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus",
        "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip
_BROADCAST = frozenset(
    {
        "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul",
        "Or", "Pow", "Sub", "Sum", "Where", "Xor",
    }
)  # fmt: skip
_BATCH_ALONE = frozenset(
    {
        "AveragePool",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "LpPool",
        "MaxPool",
        "QLinearConv",
    }
)
_REDUCTIONS = frozenset(
    {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
     "ReduceSum", "ReduceSumSquare"}
)  # fmt: skip


def extents_after(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    """Return, for each axis of output number `output`, of that rank, the extent it is; None where that is not known."""
    unknown: _Origins = (None,) * rank
    if not node.inputs:
        return unknown
    if output == 0 and node.op_type in _SAME:
        found: _Origins = extents.of(node.inputs[0]) or unknown
    elif node.op_type in _BROADCAST:
        found = broadcast([extents.of(value) for value in node.inputs], rank)
    elif (rule := _RULES.get(node.op_type)) is not None:
        found = rule(node, output, rank, extents)
    else:
        return unknown
    return found if len(found) == rank else unknown


def broadcast(operands: Sequence[Sequence[Extent] | None], rank: int) -> _Origins:
    """Return the extents of the operands' common shape: along an axis, that of all which are not 1."""
    found: list[Extent | None] = []
    for axis in range(-rank, 0):
        seen: set[Extent | None] = set()
        for dims in operands:
            if dims is None:
                seen.add(None)
            elif len(dims) >= -axis and dims[axis] != 1:
                seen.add(dims[axis])
        found.append(1 if not seen else seen.pop() if len(seen) == 1 else None)
    return found


def _batch(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims = extents.of(node.inputs[0])
    return (None if not dims or output else dims[0], *[None] * (rank - 1))


def _transpose(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, order = extents.of(node.inputs[0]), ints_of(node, 1, "perm", extents.facts)
    order = order or tuple(range(rank))[::-1]
    return () if dims is None or sorted(order) != list(range(len(dims))) else [dims[axis] for axis in order]


def _squeeze(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, axes = extents.of(node.inputs[0]), ints_of(node, 1, "axes", extents.facts)
    if dims is None or not axes:
        return ()
    gone = wrapped(axes, len(dims))
    return [dim for axis, dim in enumerate(dims) if axis not in gone]


def _unsqueeze(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, axes = extents.of(node.inputs[0]), ints_of(node, 1, "axes", extents.facts)
    if dims is None or not axes:
        return ()
    new, left = wrapped(axes, rank), list(dims)
    return [1 if axis in new or not left else left.pop(0) for axis in range(rank)]


def _reshape(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, request = extents.of(node.inputs[0]), extents.request(node)
    if dims is None or request is None:
        return ()
    copies = not node.attributes.get_int("allowzero", 0)
    found: list[Extent | None] = []
    for axis, item in enumerate(request):
        if item == 0 and copies:
            found.append(dims[axis] if axis < len(dims) else None)
        else:
            found.append(None if item == -1 else item)
    open_axes = [axis for axis, item in enumerate(found) if item is None]
    if len(open_axes) == 1:
        found[open_axes[0]] = quotient(dims, [item for item in found if item is not None])
    return found


def _flatten(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims = extents.of(node.inputs[0])
    if dims is None:
        return ()
    axis = node.attributes.get_int("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis
    return [quotient(dims[:axis], ()), quotient(dims[axis:], ())]


def quotient(dims: Sequence[Extent], others: Sequence[Extent]) -> Extent | None:
    """Divide the product of `dims` by that of `others`, where the result is one extent."""
    left = [dim for dim in dims if not isinstance(dim, int)]
    whole = 1
    for dim in dims:
        whole *= dim if isinstance(dim, int) else 1
    divisor = 1
    for other in others:
        if isinstance(other, int):
            divisor *= other
        elif other in left:
            left.remove(other)
        else:
            return None
    if divisor <= 0 or whole % divisor or whole == 0:
        return None
    if not left:
        return whole // divisor
    return left[0] if len(left) == 1 and whole == divisor else None


def _matmul(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    a, b = extents.of(node.inputs[0]), extents.of(node.inputs[1])
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return ()
    return [*broadcast([a[:-2], b[:-2]], rank - 2), a[-2], b[-1]]


def _gemm(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    a = extents.of(node.inputs[0])
    if a is None or len(a) != 2:
        return ()
    return [a[1 if node.attributes.get_int("transA", 0) else 0], None]


def _join(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    axis = wrapped([node.attributes.get_int("axis", 1)], rank)[0]
    operands = [extents.of(value) for value in node.inputs]
    known = [dims for dims in operands if dims is not None and len(dims) == rank]
    return [None if each == axis or not known else known[0][each] for each in range(rank)]


def _one_axis(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    """Split: the extent along the node's axis is not known, all others stay."""
    dims, axis = extents.of(node.inputs[0]), wrapped([node.attributes.get_int("axis", 0)], rank)[0]
    return () if dims is None else [None if each == axis else dim for each, dim in enumerate(dims)]


def _slice(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, axes = extents.of(node.inputs[0]), ints_of(node, 3, "axes", extents.facts)
    starts = ints_of(node, 1, "starts", extents.facts)
    if dims is None or axes is None or (not axes and starts is None):
        return ()
    cut = wrapped(axes or range(len(starts or ())), rank)
    return [None if axis in cut else dim for axis, dim in enumerate(dims)]


def _gather(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, indices = extents.of(node.inputs[0]), extents.of(node.inputs[1])
    if dims is None or indices is None:
        return ()
    axis = wrapped([node.attributes.get_int("axis", 0)], len(dims))[0]
    return [*dims[:axis], *indices, *dims[axis + 1 :]]


def _pad(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, pads = extents.of(node.inputs[0]), ints_of(node, 1, "pads", extents.facts)
    if dims is None or pads is None or len(pads) != 2 * rank or (len(node.inputs) > 3 and node.inputs[3] is not None):
        return ()
    return [dim if pads[axis] == pads[axis + rank] == 0 else None for axis, dim in enumerate(dims)]


def _reduce(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims, axes = extents.of(node.inputs[0]), ints_of(node, 1, "axes", extents.facts)
    if dims is None or not axes:
        return ()
    gone = wrapped(axes, len(dims))
    if node.attributes.get_int("keepdims", True):
        return [1 if axis in gone else dim for axis, dim in enumerate(dims)]
    return [dim for axis, dim in enumerate(dims) if axis not in gone]


def _recurrent(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    dims = extents.of(node.inputs[0])
    if dims is None or len(dims) != 3 or node.attributes.get_int("layout", False):
        return ()
    return [dims[0], None, dims[1], None] if output == 0 else [None, dims[1], None]


def _asked_for(node: ir.Node, output: int, rank: int, extents: Extents) -> _Origins:
    found = extents.elements(node.inputs[0])
    return () if found is None else found.items


_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(_BATCH_ALONE, _batch),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Concat": _join,
    "ConstantOfShape": _asked_for,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _one_axis,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
