"""Conv, ConvTranspose, Gemm and MatMul: what goes into their constants, what crosses, what is declined."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.affine.around import Case, Surroundings, check_around
from tests.affine.support import QUICK


def _conv(net: Surroundings, x: str) -> str:
    _, channels, *space = net.shape(x)
    group = net.pick(*[g for g in (1, 2, 3, channels) if channels % g == 0])
    kernel = [net.pick(1, min(2, n), min(3, n)) for n in space]
    attributes: dict[str, Any] = {"strides": [net.pick(1, 1, 2) for _ in space]}
    padding = net.pick("none", "pads", "SAME_UPPER", "SAME_LOWER", "VALID")
    if padding == "pads":
        attributes["pads"] = [net.pick(0, 1) for _ in range(2 * len(space))]
        attributes["dilations"] = [1 if k == n else net.pick(1, 2) if 2 * (k - 1) < n else 1
                                   for k, n in zip(kernel, space, strict=True)]  # fmt: skip
    elif padding != "none":
        attributes["auto_pad"] = padding
    return net.conv(x, channels, group * net.pick(1, 2), kernel, group=group, bias=net.coin(), **attributes)


def _conv_transpose(net: Surroundings, x: str) -> str:
    _, channels, *space = net.shape(x)
    group = net.pick(*[g for g in (1, 2, 3, channels) if channels % g == 0])
    outputs = net.pick(1, 2)
    kernel = [net.pick(1, 2, 3) for _ in space]
    strides = [net.pick(1, 2, 3) for _ in space]
    attributes: dict[str, Any] = {"strides": strides}
    what = net.pick("none", "pads", "output_padding", "dilations", "SAME_UPPER", "output_shape")
    if what == "pads":
        attributes["pads"] = [net.pick(0, (k - 1) // 2) for k in (*kernel, *kernel)]
    elif what == "output_padding":
        attributes["output_padding"] = [net.pick(0, s - 1) for s in strides]
    elif what == "dilations":
        attributes["dilations"] = [net.pick(1, 2) for _ in space]
    elif what == "SAME_UPPER":
        attributes["auto_pad"] = what
    elif what == "output_shape":
        attributes["output_shape"] = [
            (n - 1) * s + k - net.pick(0, 1) * (k > 1) for n, s, k in zip(space, strides, kernel, strict=True)
        ]
    inputs = [x, net.constant(net.normal(channels, outputs, *kernel))]
    if net.coin():
        inputs.append(net.constant(net.normal(outputs * group)))
    return net.node("ConvTranspose", *inputs, group=group, kernel_shape=kernel, **attributes)


def _gemm(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    attributes = {
        "transA": net.pick(0, 0, 1), "transB": net.pick(0, 1), "alpha": net.pick(1.0, 0.5, -2.0),
        "beta": net.pick(1.0, 0.25, 0.0),
    }  # fmt: skip
    rows, inner = shape[::-1] if attributes["transA"] else shape
    outputs = net.pick(2, 3)
    inputs = [x, net.constant(net.normal(*((outputs, inner) if attributes["transB"] else (inner, outputs))))]
    bias = net.pick(None, (outputs,), (1, outputs), (rows, 1), (rows, outputs), (1,), ())
    if bias is not None:
        inputs.append(net.constant(net.normal(*bias)))
    return net.node("Gemm", *inputs, **attributes)


def _matmul(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    leading = [1] * net.pick(0, 0, 1, len(shape) - 2)
    if net.coin():
        return net.node("MatMul", x, net.constant(net.normal(*leading, shape[-1], 3)))
    return net.node("MatMul", net.constant(net.normal(*leading, 3, shape[-2])), x)


def _batched_matmul(net: Surroundings, x: str) -> str:
    """A constant that is no plain matrix."""
    shape = net.shape(x)
    return net.node("MatMul", x, net.constant(net.normal(net.pick(1, 2), *shape[:-2], shape[-1], 3)))


CASES: dict[str, tuple[Case, tuple[int, ...]]] = {
    "Conv": (_conv, (3, 4, 5)),
    "ConvTranspose": (_conv_transpose, (3, 4)),
    "Gemm": (_gemm, (2,)),
    "MatMul": (_matmul, (2, 3, 4)),
    "MatMul of a batch": (_batched_matmul, (2, 3)),
}


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_around(name: str, data: st.DataObject) -> None:
    case, ranks = CASES[name]
    check_around(data.draw, case, ranks=ranks)
