"""Elementwise operators: which affines pass a bend, a bound, a sum, a product, a cast."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from testing.builder import QUICK
from tests.affine.around import Case, Surroundings, check_around


def _plain(operator: str, **attributes: float) -> Case:
    def case(net: Surroundings, x: str) -> str:
        return net.node(operator, x, **attributes)

    return case


def _leaky(net: Surroundings, x: str) -> str:
    return net.node("LeakyRelu", x, alpha=net.pick(0.1, -0.3, 2.0))


def _prelu(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    extents = [net.pick(1, extent) for extent in shape[1:]]
    slope = net.vector(int(np.prod(extents)), net.pick("positive", "mixed", "zero")).reshape(extents)
    while slope.ndim > 1 and slope.shape[0] == 1 and net.coin():
        slope = slope[0]
    return net.node("PRelu", x, net.constant(slope))


def _clip(net: Surroundings, x: str) -> str:
    low, high = np.sort(net.normal(2))
    bounds = net.pick((low, high), (low, None), (None, high), (0.0, 6.0), (high, low), (0.0, np.inf))
    names = ["" if bound is None else net.constant(np.array(bound)) for bound in bounds]
    return net.node("Clip", x, *(names if names[1] else names[:1]))


def _branches(operator: str) -> Case:
    """The operator on x and another branch of it, an input of its own, or x itself."""

    def case(net: Surroundings, x: str) -> str | list[str]:
        shape = net.shape(x)
        other = net.pick("itself", "branch", "branch", "input", "small", "constant")
        made: list[str] = []
        if other == "itself":
            y = x
        elif other == "branch":
            y = net.pick(net.norm, net.arithmetic, lambda x: net.node("Relu", x), lambda x: net.node("Sigmoid", x))(x)
            if net.shape(y) != shape:
                y = x
            if net.coin():
                made.append(y)
        elif other == "input":
            y = net.input(shape, name="other")
            y = net.norm(y) if net.coin() else net.linear_like(y)
        elif other == "small":
            y = net.input([extent if net.coin() else 1 for extent in shape], name="other")
            y = net.norm(y) if net.coin() and net.shape(y)[1] > 1 else net.node("Sigmoid", y)
        else:
            y = net.constant(net.normal(*shape))
        operands = [x, y]
        if net.coin():
            operands.reverse()
        if operator == "Sum" and net.coin():
            operands.append(net.pick(x, y))
        if operator == "Div":
            operands = [operands[0], net.node("Exp", operands[1])] if net.coin() else operands
        return [net.node(operator, *operands), *made]

    return case


def _gate(net: Surroundings, x: str) -> str:
    """Squeeze and excite: x times a gate of every channel, computed from x."""
    shape = net.shape(x)
    gate = net.node("GlobalAveragePool", x)
    ones = [1] * (len(shape) - 2)
    gate = net.conv(gate, shape[1], 2, ones)
    gate = net.norm(gate) if net.coin() else net.node("Relu", gate)
    gate = net.node("Sigmoid", net.conv(gate, 2, shape[1], ones))
    return net.node("Mul", *((x, gate) if net.coin() else (gate, x)))


def _swish(net: Surroundings, x: str) -> str:
    return net.node("Mul", x, net.node("Sigmoid", x))


def _dropout(net: Surroundings, x: str) -> str:
    training = net.pick((), ("", net.constant(np.array(False))))
    return net.node("Dropout", x, *training)


def _casts(net: Surroundings, x: str) -> str:
    y = net.node("Cast", x, name="down", out="down", to=TensorProto.FLOAT)
    return net.node("Cast", y, name="up", out="up", to=TensorProto.DOUBLE)


def _shape_reader(net: Surroundings, x: str) -> str:
    wanted = net.node(net.pick("Shape", "Shape", "Size"), x)
    return (
        net.node("Expand", net.node("Relu", x), wanted)
        if "Shape" in net.nodes[-1].op_type
        else net.node("Add", x, net.node("Cast", wanted, to=TensorProto.DOUBLE))
    )


def _of_positive(operator: str) -> Case:
    """The operator on what is positive, or on anything: NaN and infinities then stand where they stood."""

    def case(net: Surroundings, x: str) -> str:
        if net.coin():
            x = net.node("Exp", net.node("Tanh", x))
            x = (
                net.norm(x)
                if net.coin() and len(net.shape(x)) >= 2
                else net.node("Mul", x, net.constant(net.vector(1)))
            )
        return net.node(operator, x)

    return case


def _pow(net: Surroundings, x: str) -> str:
    if net.coin():
        x = net.node("Exp", net.node("Tanh", x))
        x = net.norm(x) if net.coin() else x
    exponent = net.pick(2.0, 3.0, 1.0, 0.0, 0.5, -1.0, -2.0, 1.5)
    if net.coin():
        return net.node("Pow", x, net.constant(np.full((net.shape(x)[-1],), exponent)))
    return net.node("Pow", x, net.constant(np.array(int(exponent) if exponent % 1 == 0 and net.coin() else exponent)))


def _extrema(operator: str) -> Case:
    """Max or Min with a constant, of branches, of one value alone."""

    def case(net: Surroundings, x: str) -> str:
        shape = net.shape(x)
        operands = [x]
        for _ in range(net.pick(0, 1, 1, 1, 2)):
            what = net.pick("constant", "scalar", "branch", "norm", "input")
            if what == "constant":
                extents = [extent if net.coin() else 1 for extent in shape]
                operands.append(net.constant(net.normal(*extents)))
            elif what == "scalar":
                operands.append(net.constant(net.normal()))
            elif what == "branch":
                operands.append(net.arithmetic(x))
            elif what == "norm":
                operands.append(net.norm(x))
            else:
                operands.append(net.input(shape, name=f"other{len(operands)}"))
        return net.node(operator, *net.draw(st.permutations(operands)))

    return case


def _where(net: Surroundings, x: str) -> str | list[str]:
    shape = net.shape(x)
    extents = [extent if net.coin() else 1 for extent in shape]
    asked = (
        net.input(extents, name="asked", element=TensorProto.BOOL)
        if net.coin()
        else net.constant(net.random.random(extents) < 0.5)
    )
    other = net.pick(
        net.norm,
        net.linear_like,
        net.arithmetic,
        lambda x: net.constant(net.normal(*shape)),
        lambda x: net.constant(net.normal()),
        lambda x: net.input(shape, name="other"),
        lambda x: net.node("Greater", x, net.constant(np.array(0.0))),
    )(x)
    if net.nodes and net.nodes[-1].op_type == "Greater":
        return net.node("Where", other, x, net.norm(x))
    return net.node("Where", asked, *((x, other) if net.coin() else (other, x)))


def _cumsum(net: Surroundings, x: str) -> str:
    rank = len(net.shape(x))
    axis = net.constant(np.array(net.draw(st.integers(-rank, rank - 1)), np.int64))
    return net.node("CumSum", x, axis, exclusive=net.pick(0, 1), reverse=net.pick(0, 1))


CASES: dict[str, tuple[Case, tuple[int, ...]]] = {
    "Relu": (_plain("Relu"), (2, 3, 4)),
    "LeakyRelu": (_leaky, (2, 3, 4)),
    "PRelu": (_prelu, (2, 3, 4)),
    "Clip": (_clip, (2, 3, 4)),
    "Identity": (_plain("Identity"), (2, 3, 4)),
    "Dropout": (_dropout, (2, 3)),
    "Cast": (_casts, (2, 3)),
    "Shape": (_shape_reader, (2, 3)),
    "Size": (_shape_reader, (2, 4)),
    "Add of two values": (_branches("Add"), (2, 3, 4)),
    "Sub of two values": (_branches("Sub"), (2, 3, 4)),
    "Mul of two values": (_branches("Mul"), (2, 3, 4)),
    "Div of two values": (_branches("Div"), (2, 3)),
    "Sum": (_branches("Sum"), (2, 3, 4)),
    "a gate": (_gate, (3, 4)),
    "x times its sigmoid": (_swish, (2, 3, 4)),
    "Abs": (_plain("Abs"), (2, 3, 4)),
    "Sqrt": (_of_positive("Sqrt"), (2, 3)),
    "Reciprocal": (_of_positive("Reciprocal"), (2, 3)),
    "Pow": (_pow, (2, 3)),
    "Max": (_extrema("Max"), (2, 3, 4)),
    "Min": (_extrema("Min"), (2, 3, 4)),
    "Where": (_where, (2, 3, 4)),
    "CumSum": (_cumsum, (2, 3, 4)),
}


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_around(name: str, data: st.DataObject) -> None:
    case, ranks = CASES[name]
    check_around(data.draw, case, ranks=ranks)
