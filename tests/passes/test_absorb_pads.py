"""Pads go into the windows behind them where the operator pads with the same number."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from testing.builder import Builder, count, same_in_onnxruntime

PASSES = ("infer_shapes", "absorb_pads", "clean")


def _model(
    operator: str,
    attributes: dict[str, Any],
    *,
    pads: tuple[int, ...] = (0, 0, 1, 0, 0, 0, 2, 1),
    value: float | None = None,
    before: str = "Tanh",
    opset: int = 17,
    axes: tuple[int, ...] | None = None,
    mode: str = "constant",
    dtype: Any = np.float32,
) -> onnx.ModelProto:
    b = Builder(opset=opset, dtype=dtype)
    x = b.node(before, b.input((2, 3, 8, 9)))
    if opset < 11:
        x = b.node("Pad", x, pads=pads, mode=mode, value=0.0 if value is None else value)
    else:
        operands = [b.ints(*pads)]
        if value is not None or axes is not None:
            operands.append("" if value is None else b.constant(np.array(value)))
        if axes is not None:
            operands.append(b.ints(*axes))
        x = b.node("Pad", x, *operands, mode=mode)
    weights = [b.input((4, 3, 3, 3), "w")] if operator == "Conv" else []
    return b.model(b.node(operator, x, *weights, **attributes))


POOL = {"kernel_shape": [3, 3], "strides": [2, 1]}
ABSORBED: dict[str, dict[str, Any]] = {
    "a convolution by a computed weight": {"operator": "Conv", "attributes": {}},
    "its own pads": {"operator": "Conv", "attributes": {"pads": [1, 2, 0, 1], "strides": [2, 2], "dilations": [2, 1]}},
    "VALID": {"operator": "Conv", "attributes": {"auto_pad": "VALID"}},
    "pads by attribute": {"operator": "Conv", "attributes": {}, "opset": 10},
    "pads of some axes": {"operator": "Conv", "attributes": {}, "opset": 18, "axes": (-1, 2), "pads": (1, 0, 3, 1)},
    "an average": {"operator": "AveragePool", "attributes": POOL},
    "an average that counts": {
        "operator": "AveragePool",
        "attributes": {"kernel_shape": [4, 4], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    },
    "a maximum of minus infinity": {"operator": "MaxPool", "attributes": POOL, "value": -np.inf},
    "a maximum of zeros and no negative numbers": {"operator": "MaxPool", "attributes": POOL, "before": "Relu"},
}
LEFT: dict[str, dict[str, Any]] = {
    "another number": {"operator": "Conv", "attributes": {}, "value": 0.5},
    "SAME": {"operator": "Conv", "attributes": {"auto_pad": "SAME_UPPER"}},
    "reflected": {"operator": "Conv", "attributes": {}, "mode": "reflect"},
    "cut": {"operator": "Conv", "attributes": {}, "pads": (0, 0, -1, 0, 0, 0, 2, 1)},
    "channels": {"operator": "AveragePool", "attributes": POOL, "pads": (0, 1, 1, 0, 0, 0, 1, 1)},
    "an average that does not count": {
        "operator": "AveragePool",
        "attributes": {"kernel_shape": [4, 4], "pads": [1, 1, 1, 1]},
    },
    "an average rounded up": {"operator": "AveragePool", "attributes": {**POOL, "ceil_mode": 1}},
    "an average of opset 19": {"operator": "AveragePool", "attributes": POOL, "opset": 19},
    "pads as large as the window": {
        "operator": "AveragePool",
        "attributes": {"kernel_shape": [2, 2]},
    },
    "a maximum of zeros": {"operator": "MaxPool", "attributes": POOL},
    "a maximum of zeros with pads of its own": {
        "operator": "MaxPool",
        "attributes": {"kernel_shape": [4, 4], "pads": [1, 1, 1, 1]},
        "before": "Relu",
    },
}


@pytest.mark.parametrize("name", ABSORBED)
def test_a_pad_is_absorbed(name: str) -> None:
    model = _model(**ABSORBED[name])
    after = onnxnorm.optimize(model, passes=PASSES, verify=True).model
    assert count(after, "Pad") == 0
    same_in_onnxruntime(model, after, tolerance=0.0)


@pytest.mark.parametrize("name", LEFT)
def test_a_pad_stays(name: str) -> None:
    model = _model(**LEFT[name])
    assert count(onnxnorm.optimize(model, passes=PASSES, verify=True).model, "Pad") == 1


def test_a_pad_that_others_read_stays_for_them() -> None:
    b = Builder(dtype=np.float32, opset=17)
    padded = b.node("Pad", b.input((2, 3, 8, 9)), b.ints(0, 0, 1, 0, 0, 0, 2, 1))
    pooled = b.node("AveragePool", padded, kernel_shape=[3, 3])
    model = b.model(pooled, b.node("Abs", padded))
    after = onnxnorm.optimize(model, passes=PASSES, verify=True).model
    assert count(after, "Pad") == 1


@pytest.mark.parametrize(("outer", "left"), [(0.0, 0), (0.5, 1)])
def test_a_pad_behind_another_goes_in_the_same_run(outer: float, left: int) -> None:
    b = Builder(opset=13, dtype=np.float32)
    x = b.node("Tanh", b.input((2, 3, 8, 9)))
    x = b.node("Pad", x, b.ints(0, 0, 1, 0, 0, 0, 2, 1), b.constant(np.array(outer)))
    x = b.node("Pad", x, b.ints(0, 0, 0, 2, 0, 0, 1, 0))
    model = b.model(b.node("Conv", x, b.input((4, 3, 3, 3), "w")))
    after = onnxnorm.optimize(model, passes=PASSES, verify=False).model
    assert count(after, "Pad") == left
    same_in_onnxruntime(model, after)


@pytest.mark.parametrize("pads", [(0, 1, 2, 0, 0, 0, 1, 0), (0, 1, 2, 1, 0, 0, 1, 0), (1, 1, 2, 0, 0, 0, 1, 0)])
@pytest.mark.parametrize("shared", [False, True])
def test_a_pad_with_the_channels_last_goes_through_the_transpose(pads: tuple[int, ...], shared: bool) -> None:
    b = Builder(opset=17, dtype=np.float32)
    x = b.node("Pad", b.input((2, 8, 9, 3)), b.ints(*pads))
    channels_first = b.node("Transpose", x, perm=[0, 3, 1, 2])
    y = b.node("Conv", channels_first, b.input((4, 3 + pads[3], 3, 3), "w"), strides=[2, 1])
    model = b.model(y, *([b.node("Relu", channels_first)] if shared else []))
    result = onnxnorm.optimize(model, passes=PASSES, verify=False).model
    # Only height and width are axes of the window, and what else reads the transposed tensor reads the zeros too.
    moves = not pads[0] and not pads[3] and not shared
    assert count(result, "Pad") == (0 if moves else 1)
    same_in_onnxruntime(model, result)
