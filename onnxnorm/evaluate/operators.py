"""Computes, in float64, the operators that the ONNX reference evaluator lacks, gets wrong, rounds or walks too slowly.

Each replacement says why it is there; "reference" below is the evaluator of onnx 1.23. The windowed operators are
computed in `onnxnorm.evaluate.windows`, the normalizations in `onnxnorm.evaluate.normalizations`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_cast import cast_to
from onnx.reference.ops.op_resize import Resize as ReferenceResize

from onnxnorm.evaluate import windows as windowed
from onnxnorm.evaluate.grid_sample import grid_sample
from onnxnorm.evaluate.loops import Loop, Scan
from onnxnorm.evaluate.normalizations import NORMALIZATIONS, Node
from onnxnorm.evaluate.resize import resize

__all__ = ["REPLACEMENTS", "is_real", "lift"]

Array = npt.NDArray[Any]

_REAL_TYPES = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
)
_REAL_SCALARS = frozenset({np.float16, ml_dtypes.bfloat16, np.float32, np.float64})
_FLOAT64 = np.dtype(np.float64)


def is_real(value: object) -> bool:
    """Whether `value` is an array of one of the types that are lifted to float64."""
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.type in _REAL_SCALARS


def lift(value: Any) -> Any:
    """Return `value` with every real array in it as float64; integers, booleans, strings and 8-bit floats stay."""
    if type(value) is np.ndarray and value.dtype is _FLOAT64:
        return value
    if is_real(value):
        return np.asarray(value, dtype=np.float64)
    if isinstance(value, list):
        return [lift(item) for item in value]
    return value


def _conv(node: Node, x: Array, w: Array, b: Array | None = None, *, kernel_shape: Any = None, **rest: Any) -> Array:
    """Conv; the reference is slow, since it gathers by index arrays."""
    return windowed.conv(x, w, b, **rest)


def _conv_transpose(
    node: Node, x: Array, w: Array, b: Array | None = None, *, kernel_shape: Any = None, **rest: Any
) -> Array:
    """ConvTranspose; the reference fails with groups, and walks every channel in Python."""
    return windowed.conv_transpose(x, w, b, **rest)


def _max_pool(node: Node, x: Array, **rest: Any) -> tuple[Array, ...]:
    """MaxPool; the reference walks every window in Python."""
    return windowed.max_pool(x, **rest)[: node.outputs]


def _average_pool(node: Node, x: Array, **rest: Any) -> Array:
    """AveragePool; the reference walks every window in Python."""
    return windowed.average_pool(x, **rest)


def _lp_pool(node: Node, x: Array, **rest: Any) -> Array:
    """LpPool; the reference divides by the elements inside the input, then multiplies by the size of the kernel."""
    return windowed.lp_pool(x, **rest)


def _global_max_pool(node: Node, x: Array) -> Array:
    """GlobalMaxPool; the reference reduces the wrong axes unless the rank is 4."""
    return np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True))


def _global_lp_pool(node: Node, x: Array, *, p: float = 2) -> Array:
    """GlobalLpPool; the reference lacks it."""
    return np.asarray((np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1.0 / p))


def _along(function: Callable[[Array, int], Array]) -> Callable[..., Array]:
    """Softmax and its kin, which flatten the input to two axes before opset 13; the reference always takes one axis."""

    def run(node: Node, x: Array, *, axis: int | None = None) -> Array:
        if x.size == 0:
            return x
        if node.opset >= 13:
            return function(x, -1 if axis is None else axis)
        at = 1 if axis is None else axis % x.ndim
        return function(x.reshape(math.prod(x.shape[:at]), -1), 1).reshape(x.shape)

    run.__doc__ = _along.__doc__
    return run


def _softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def _hardmax(x: Array, axis: int) -> Array:
    y = np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis), 1, axis=axis)
    return y


def _cast(node: Node, x: Array, *, to: int, saturate: int = 1, round_mode: str = "up") -> Array:
    """Cast; between real types it is no rounding here, and the reference would leave float64."""
    if to in _REAL_TYPES:
        return x.astype(np.float64)
    return np.asarray(cast_to(x, to, bool(saturate), round_mode))  # type: ignore[arg-type]


def _cast_like(node: Node, x: Array, like: Array, *, saturate: int = 1, round_mode: str = "up") -> Array:
    return _cast(node, x, to=onnx.helper.np_dtype_to_tensor_dtype(like.dtype), saturate=saturate, round_mode=round_mode)


def _pad(
    node: Node,
    x: Array,
    pads: Any = None,
    fill: Any = None,
    axes: Any = None,
    *,
    mode: str = "constant",
    value: float = 0.0,
    paddings: Any = None,
) -> Array:
    """Pad; the reference fails on negative pads, which cut; as in onnxruntime they cut before anything is added."""
    amounts = np.ravel(paddings if pads is None else pads)
    where = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in np.ravel(axes)]
    widths, cuts = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    for axis, before, after in zip(where, amounts[: len(where)], amounts[len(where) :], strict=True):
        widths[axis] = (max(int(before), 0), max(int(after), 0))
        cuts[axis] = slice(max(-int(before), 0), x.shape[axis] - max(-int(after), 0))
    kept = x[tuple(cuts)]
    if mode == "constant":
        filling = np.asarray(value if fill is None else fill, dtype=x.dtype).reshape(())
        return np.pad(kept, widths, constant_values=filling)
    return np.pad(kept, widths, mode=mode)  # type: ignore[call-overload,no-any-return]


def _gather_elements(node: Node, x: Array, places: Array, *, axis: int = 0) -> Array:
    """GatherElements; the reference refuses indices that are shorter than the data along another axis."""
    near = tuple(slice(None) if a == axis % x.ndim else slice(n) for a, n in enumerate(places.shape))
    return np.take_along_axis(x[near], places, axis)


def _grid_sample(node: Node, x: Array, grid: Array, **rest: Any) -> Array:
    """GridSample; the reference rounds places to float32 and walks every element in Python."""
    return grid_sample(x, grid, **rest)


def _optional(node: Node, value: Any = None, **_: Any) -> Any:
    """Optional; the reference wraps the value in a list, which nothing unwraps."""
    return value


def _relu(node: Node, x: Array) -> Array:
    """Relu; what the reference checks takes longer than it."""
    return np.asarray(np.maximum(x, 0), dtype=x.dtype)


def _erf(node: Node, x: Array) -> Array:
    """Erf; the reference rounds to float32."""
    flat = np.ravel(x)
    return np.fromiter(map(math.erf, flat.tolist()), np.float64, flat.size).reshape(x.shape)


def _mean(node: Node, *terms: Array) -> Array:
    """Mean; the reference adds in place and fails where a later term is the larger one."""
    return np.asarray(sum(terms) / len(terms))


def _dequantize_linear(
    node: Node, x: Array, scale: Array, zero: Array | None = None, *, axis: int = 1, block_size: int = 0, **_: Any
) -> Array:
    """DequantizeLinear; the reference goes through float32, which rounds large 32-bit integers."""

    def spread(values: Array) -> Array:
        if values.size == 1:
            return values.astype(np.float64).reshape(())
        if block_size:
            blocks = np.repeat(values.astype(np.float64), block_size, axis=axis)
            return blocks[(slice(None),) * (axis % x.ndim) + (slice(x.shape[axis]),)]
        return values.astype(np.float64).reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])

    return np.asarray((x.astype(np.float64) - (0.0 if zero is None else spread(zero))) * spread(scale))


class _Resize(ReferenceResize):
    """Resize; the reference walks every element in Python.

    The output size is rounded as onnxruntime rounds it: in float32 (0.7 of 10 is 7, in float64 6).

    With align_corners the reference then spreads the fractional size, not the rounded one; before opset 11 there is no
    roi. Refused are two rules in which the two differ: nearest by fractions before opset 11, and one element with
    pytorch_half_pixel.
    """

    def _run(  # type: ignore[override]
        self, x: Array, *inputs: Any, **attributes: Any
    ) -> tuple[Array, ...]:
        old = self.run_params["opsets"][""] < 11
        if old:
            inputs = (None, *inputs)
            attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        roi, scales, sizes = (*inputs, None, None, None)[:3]
        mode = attributes["coordinate_transformation_mode"]
        lengths = np.array([x.shape[a] for a in attributes.get("axes") or range(x.ndim)])
        if sizes is not None and np.size(sizes):
            scales, out = None, np.asarray(sizes)
        else:
            sizes, out = None, np.floor(scales.astype(np.float32) * lengths.astype(np.float32))
            if np.array_equal(out, lengths) and mode != "tf_crop_and_resize":
                return (x,)
            exact = (np.floor(scales * lengths) == out) & (mode != "align_corners")
            scales = np.where(exact, scales, out / np.maximum(lengths, 1))
            if old and attributes["mode"] == "nearest" and np.any(scales % 1):
                raise NotImplementedError("nearest by a fraction before opset 11")
        if mode == "pytorch_half_pixel" and np.any((out == 1) & (lengths != 1)):
            raise NotImplementedError("pytorch_half_pixel to a single element")
        return (resize(x, roi, scales, sizes, **{k: v for k, v in attributes.items() if v is not None}),)


class _Upsample(_Resize):
    """Upsample, which is Resize with asymmetric coordinates; the reference knows whole nearest scales alone."""

    def _run(  # type: ignore[override]
        self, x: Array, scales: Array | None = None, **attributes: Any
    ) -> tuple[Array, ...]:
        given = attributes.get("scales") if scales is None else scales
        mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear"}[attributes.get("mode") or "nearest"]
        return super()._run(x, np.asarray(given, dtype=np.float64), mode=mode)


def _refuse(reason: str) -> Callable[..., Array]:
    def run(node: Node, *inputs: Any, **attributes: Any) -> Array:
        raise NotImplementedError(reason)

    return run


_FLOAT32_INSIDE = "the reference evaluator computes it in float32"
_RANDOM = "its result is random"


def _replacement(domain: str, op_type: str, function: Callable[..., Any]) -> type[OpRun]:
    def _run(self: OpRun, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        result = function(Node(self), *inputs, **{k: v for k, v in attributes.items() if v is not None})
        return result if isinstance(result, tuple) else (result,)

    def run(self: OpRun, *inputs: Any, linked_attributes: Any = None, **rest: Any) -> tuple[Any, ...]:
        # What the reference checks at each call takes longer than most of these functions.
        if self.has_linked_attribute or linked_attributes is not None:
            checked: tuple[Any, ...] = OpRun.run(  # type: ignore[no-untyped-call]
                self, *inputs, linked_attributes=linked_attributes, **rest
            )
            return checked
        known = self.__dict__.get("_known")
        if known is None:
            attributes = {name: getattr(self, name) for name in self.attributes_names_}
            known = Node(self), {name: value for name, value in attributes.items() if value is not None}
            self.__dict__["_known"] = known
        result = function(known[0], *inputs, **known[1])
        results = result if isinstance(result, tuple) else (result,)
        return tuple(
            np.asarray(value) if not isinstance(value, np.ndarray) and np.isscalar(value) else value
            for value in results
        )

    def __init__(self: OpRun, node: onnx.NodeProto, run_params: dict[str, Any]) -> None:  # noqa: N807
        # The schema gives the defaults of the attributes, and those of Softmax changed with opset 13.
        schema = None if domain else onnx.defs.get_schema(op_type, run_params["opsets"][domain], domain)
        OpRun.__init__(self, node, run_params, schema)

    members = {"op_domain": domain, "__init__": __init__, "run": run, "_run": _run, "__doc__": function.__doc__}
    return type(op_type, (OpRun,), members)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "AveragePool": _average_pool,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize_linear,
    "Erf": _erf,
    "GatherElements": _gather_elements,
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _global_max_pool,
    "GridSample": _grid_sample,
    "Hardmax": _along(_hardmax),
    "LogSoftmax": _along(_log_softmax),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "Mean": _mean,
    "Optional": _optional,
    "Pad": _pad,
    "Relu": _relu,
    "Softmax": _along(_softmax),
    **{
        op: _refuse(_FLOAT32_INSIDE)
        for op in ("AffineGrid", "CausalConvWithState", "LinearAttention", "MelWeightMatrix")
    },
    **{
        op: _refuse(_RANDOM)
        for op in ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
    },
}

REPLACEMENTS: tuple[type[OpRun], ...] = (
    *(_replacement("", op_type, function) for op_type, function in _FUNCTIONS.items()),
    *(_replacement(domain, op_type, function) for (domain, op_type), function in NORMALIZATIONS.items()),
    type("Resize", (_Resize,), {}),
    type("Upsample", (_Upsample,), {}),
    type("Loop", (Loop,), {}),
    type("Scan", (Scan,), {}),
)
"""Classes for the `new_ops` of `onnx.reference.ReferenceEvaluator`, named by the operator that they replace."""
