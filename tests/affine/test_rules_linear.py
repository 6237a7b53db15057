"""Conv, ConvTranspose, Gemm and MatMul: what goes into their constants, what crosses, what is declined."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testing.builder import QUICK
from tests.affine.around import Case, Surroundings, check_around


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


def _deform_conv(net: Surroundings, x: str) -> str:
    batch, channels, *space = net.shape(x)
    if min(space) < 2:
        # The evaluator that ONNX has divides by the extent less one.
        return _conv(net, x)
    group = net.pick(*[g for g in (1, 2, 3, channels) if channels % g == 0])
    kernel = [net.pick(1, min(2, n)) for n in space]
    outputs, results = group * net.pick(1, 2), [n - k + 1 for n, k in zip(space, kernel, strict=True)]
    taps = kernel[0] * kernel[1]
    bias = net.constant(net.normal(outputs)) if net.coin() else ""
    inputs = [x, net.constant(net.normal(outputs, channels // group, *kernel)),
              net.constant(net.normal(batch, 2 * taps, *results)), bias]  # fmt: skip
    inputs += [net.constant(net.normal(batch, taps, *results))] if net.coin() else []
    return net.node("DeformConv", *inputs, group=group, kernel_shape=kernel)


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


def _turned(net: Surroundings, x: str) -> str:
    rank = len(net.shape(x))
    return net.node("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])


def _matmul(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    if net.pick(0, 0, 0, 1) and len(shape) > 2:
        vector = net.constant(net.normal(shape[-1]))
        if net.coin():
            return net.node("MatMul", x, vector)
        return net.node("MatMul", vector, net.node("Relu", _turned(net, x)))
    leading = [1] * net.pick(0, 0, 1, len(shape) - 2)
    if net.coin():
        return net.node("MatMul", x, net.constant(net.normal(*leading, shape[-1], 3)))
    return net.node("MatMul", net.constant(net.normal(*leading, 3, shape[-2])), x)


def _batched_matmul(net: Surroundings, x: str) -> str:
    """A constant that is no plain matrix."""
    shape = net.shape(x)
    return net.node("MatMul", x, net.constant(net.normal(net.pick(1, 2), *shape[:-2], shape[-1], 3)))


def _attention(net: Surroundings, x: str) -> str:
    """Queries and keys of the same value, scaled on any side."""
    shape = net.shape(x)

    def scaled(y: str) -> str:
        return net.node("Mul", y, net.constant(net.vector(1, net.kind()))) if net.coin() else y

    queries = scaled(net.node("MatMul", x, net.constant(net.normal(shape[-1], 3))) if net.coin() else x)
    width = net.shape(queries)[-1]
    keys = net.node("MatMul", x, net.constant(net.normal(shape[-1], width))) if net.coin() or width == 3 else x
    scores = scaled(net.node("MatMul", queries, _turned(net, scaled(keys))))
    return net.node("Softmax", scores) if net.coin() else scores


def _gemm_from_the_left(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    trans_a, trans_b = net.pick(0, 1), net.pick(0, 0, 1)
    inner, columns = shape[::-1] if trans_b else shape
    first = net.constant(net.normal(*((inner, 4) if trans_a else (4, inner))))
    added = net.pick(None, (columns,), (4, 1), (4, columns), ())
    inputs = [first, x] + ([] if added is None else [net.constant(net.normal(*added))])
    return net.node("Gemm", *inputs, transA=trans_a, transB=trans_b, alpha=net.pick(1.0, -0.5), beta=net.pick(1.0, 2.0))


def _gemm_that_adds(net: Surroundings, x: str) -> str:
    """C depends on the input as well."""
    rows, inner = net.shape(x)
    outputs = net.pick(2, 3)
    added = net.node("MatMul", x, net.constant(net.normal(inner, outputs)))
    added = net.pick(lambda y: y, net.norm, lambda y: net.node("Relu", y))(added)
    if net.pick(0, 0, 1):
        added = net.input(net.pick((outputs,), (rows, 1), (1, outputs)), name="added")
    return net.node("Gemm", x, net.constant(net.normal(inner, outputs)), added, beta=net.pick(1.0, 0.5, 0.0))


def _gemm_of_values(net: Surroundings, x: str) -> str:
    rows, _ = net.shape(x)
    return net.node("Gemm", x, net.norm(x), net.constant(net.normal(rows, 1)), transB=1, alpha=net.pick(1.0, 0.5))


def _of_itself(net: Surroundings, x: str) -> str:
    """One value in both places."""
    y = net.node("ReduceMean", x, net.ints(0), keepdims=0) if len(net.shape(x)) > 3 else x
    if net.coin() and net.shape(y)[-1] == net.shape(y)[-2]:
        return net.node("MatMul", y, y)
    letters = "abcd"[: len(net.shape(y))]
    return net.node("Einsum", y, y, equation=f"{letters},{letters}->{letters[1:]}")


def _einsum(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    letters = "abcd"[: len(shape)]
    kind = net.pick("last", "channel", "kept", "two", "itself")
    if kind == "last":
        return net.node(
            "Einsum", x, net.constant(net.normal(shape[-1], 3)), equation=f"{letters},{letters[-1]}z->{letters[:-1]}z"
        )
    if kind == "channel":
        result = letters.replace("b", "z")
        return net.node("Einsum", net.constant(net.normal(3, shape[1])), x, equation=f"zb, {letters} -> {result}")
    if kind == "kept":
        return net.node("Einsum", x, net.constant(net.normal(shape[1])), equation=f"{letters},b->{letters}")
    if kind == "two":
        return net.node("Einsum", x, net.norm(x), equation=f"{letters},{letters[:-1]}z->{letters[:-2]}{letters[-1]}z")
    return net.node("Einsum", x, equation=f"{letters}->{letters[::-1]}")


def _recurrent(operator: str, gates: int) -> Case:
    def case(net: Surroundings, x: str) -> str:
        time, batch, width = net.shape(x)
        directions = net.pick(1, 1, 2)
        inputs = [x, *(net.constant(net.normal(directions, gates * 2, size)) for size in (width, 2))]
        if net.coin():
            inputs.append(net.constant(net.normal(directions, 2 * gates * 2)))
        direction = "bidirectional" if directions == 2 else net.pick("forward", "reverse")
        y = net.node(operator, *inputs, hidden_size=2, direction=direction)
        return net.node("Reshape", y, net.ints(time, batch, 2 * directions)) if directions == 1 else y

    return case


CASES: dict[str, tuple[Case, tuple[int, ...]]] = {
    "Conv": (_conv, (3, 4, 5)),
    "ConvTranspose": (_conv_transpose, (3, 4)),
    "DeformConv": (_deform_conv, (4,)),
    "Gemm": (_gemm, (2,)),
    "MatMul": (_matmul, (2, 3, 4)),
    "MatMul of a batch": (_batched_matmul, (2, 3)),
    "MatMul of two values": (_attention, (2, 3)),
    "Gemm from the left": (_gemm_from_the_left, (2,)),
    "Gemm that adds a value": (_gemm_that_adds, (2,)),
    "Gemm of values": (_gemm_of_values, (2,)),
    "Einsum": (_einsum, (2, 3, 4)),
    "a product with itself": (_of_itself, (3, 4)),
    "LSTM": (_recurrent("LSTM", 4), (3,)),
    "GRU": (_recurrent("GRU", 3), (3,)),
    "RNN": (_recurrent("RNN", 1), (3,)),
}


OPSETS = {"DeformConv": 19}


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_around(name: str, data: st.DataObject) -> None:
    case, ranks = CASES[name]
    check_around(data.draw, case, ranks=ranks, opset=OPSETS.get(name, 18))
