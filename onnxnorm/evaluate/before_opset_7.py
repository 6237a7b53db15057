"""Lets the float64 evaluator align operands as ONNX did before opset 7.

Until then the second operand of arithmetic and comparisons lay along axes of the first that the attributes `broadcast`
and `axis` named (Mul-1, Mul-6), and the slopes of PRelu-1 and PRelu-6 lay along the channels. The reference evaluator
of onnx 1.23 aligns by the last axes whatever the opset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_add import Add
from onnx.reference.ops.op_and import And
from onnx.reference.ops.op_div import Div
from onnx.reference.ops.op_equal import Equal
from onnx.reference.ops.op_greater import Greater
from onnx.reference.ops.op_less import Less
from onnx.reference.ops.op_mul import Mul
from onnx.reference.ops.op_or import Or
from onnx.reference.ops.op_pow import Pow
from onnx.reference.ops.op_prelu import PRelu
from onnx.reference.ops.op_sub import Sub
from onnx.reference.ops.op_xor import Xor

__all__ = ["ALIGNED"]

Array = npt.NDArray[Any]


def _is_old(run: OpRun) -> bool:
    return int(run.run_params["opsets"].get("", 1)) < 7


def _lying_along(y: Array, axis: int, rank: int) -> Array:
    """Give `y` axes of one element behind its own, so that its first lies along `axis` of a tensor of that rank."""
    return y.reshape(y.shape + (1,) * max(rank - axis % max(rank, 1) - y.ndim, 0))


def _aligned(base: type[OpRun]) -> type[OpRun]:
    """Return the operator with its second operand aligned by the node's attributes where the opset is below 7."""

    def _run(self: Any, x: Array, y: Array, **_: Any) -> Any:
        axis = getattr(self, "axis", None)
        if _is_old(self) and getattr(self, "broadcast", None) and axis is not None:
            y = _lying_along(y, axis, x.ndim)
        return base._run(self, x, y)  # type: ignore[no-untyped-call]

    return type(base.__name__, (base,), {"_run": _run})


class _PRelu(PRelu):
    """PRelu; below opset 7 slopes that are not one for all are one for each channel."""

    def _run(self, x: Array, slope: Array) -> tuple[Array, ...]:
        if _is_old(self) and np.size(slope) > 1:
            slope = _lying_along(slope, 1, x.ndim)
        return tuple(PRelu._run(self, x, slope))  # type: ignore[no-untyped-call]


ALIGNED: tuple[type[OpRun], ...] = (
    *(_aligned(base) for base in (Add, And, Div, Equal, Greater, Less, Mul, Or, Pow, Sub, Xor)),
    type("PRelu", (_PRelu,), {}),
)
"""Classes for the `new_ops` of `onnx.reference.ReferenceEvaluator`, named by the operator that they replace."""
