"""Normalizations by statistics of their input, and Softmax."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testing.builder import QUICK
from tests.affine.around import Case, Surroundings, check_around


def _instance_norm(net: Surroundings, x: str) -> str:
    channels = net.shape(x)[1]
    return net.node("InstanceNormalization", x, net.constant(net.vector(channels)), net.constant(net.normal(channels)))


def _dynamic_scale(operator: str) -> Case:
    """The scale depends on an input, and is an affine of it."""

    def case(net: Surroundings, x: str) -> str:
        shape = net.shape(x)
        extent = shape[-1] if operator in ("LayerNormalization", "RMSNormalization") else shape[1]
        scale = net.node("Mul", net.input((extent,), name="gain"), net.constant(net.vector(extent)))
        scale = net.node("Add", scale, net.constant(net.normal(extent)))
        inputs = [x, scale]
        if operator != "RMSNormalization":
            inputs.append(net.pick(net.constant(net.normal(extent)), scale))
        return net.node(operator, *inputs, **({"num_groups": 1} if operator == "GroupNormalization" else {}))

    return case


def _group_norm(net: Surroundings, x: str) -> str:
    channels = net.shape(x)[1]
    groups = net.pick(*[g for g in range(1, channels + 1) if channels % g == 0])
    extent = channels if net.opsets[""] >= 21 else groups
    return net.node(
        "GroupNormalization", x, net.constant(net.vector(extent)), net.constant(net.normal(extent)), num_groups=groups
    )


def _layer_norm(operator: str) -> Case:
    def case(net: Surroundings, x: str) -> str:
        shape = net.shape(x)
        axis = net.draw(st.integers(1, len(shape) - 1))
        inputs = [x, net.constant(net.normal(*shape[axis:]))]
        if operator == "LayerNormalization" and net.coin():
            inputs.append(net.constant(net.normal(*shape[axis:])))
        return net.node(operator, *inputs, axis=net.pick(axis, axis - len(shape)))

    return case


def _softmax(operator: str) -> Case:
    def case(net: Surroundings, x: str) -> str:
        rank = len(net.shape(x))
        axis = net.draw(st.integers(-rank, rank - 1))
        return net.node(operator, x, **({"axis": axis} if net.coin() else {}))

    return case


CASES: dict[str, tuple[Case, tuple[int, ...], int]] = {
    "InstanceNormalization": (_instance_norm, (3, 4), 18),
    "GroupNormalization": (_group_norm, (3, 4), 18),
    "GroupNormalization 21": (_group_norm, (3, 4), 21),
    "LayerNormalization": (_layer_norm("LayerNormalization"), (2, 3, 4), 18),
    "RMSNormalization": (_layer_norm("RMSNormalization"), (2, 3, 4), 23),
    "Softmax": (_softmax("Softmax"), (2, 3), 18),
    "LogSoftmax": (_softmax("LogSoftmax"), (2, 3), 18),
    "Softmax 11": (_softmax("Softmax"), (2, 3, 4), 11),
    "InstanceNormalization of a gain": (_dynamic_scale("InstanceNormalization"), (3, 4), 18),
    "LayerNormalization of a gain": (_dynamic_scale("LayerNormalization"), (2, 3), 18),
    "RMSNormalization of a gain": (_dynamic_scale("RMSNormalization"), (2, 3), 23),
    "GroupNormalization of a gain": (_dynamic_scale("GroupNormalization"), (3, 4), 21),
}


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_around(name: str, data: st.DataObject) -> None:
    case, ranks, opset = CASES[name]
    # The checker of the package onnx refuses GroupNormalization 18 as deprecated.
    check_around(data.draw, case, ranks=ranks, opset=opset, check=name != "GroupNormalization")
