"""BatchNormalization and affine arithmetic: composed, moved on, made cheaper, removed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testing.builder import QUICK
from tests.affine.around import Case, Surroundings, check_around


def _batch_norm(net: Surroundings, x: str) -> str:
    return net.norm(net.norm(x) if net.coin() else x)


def _per_activation(net: Surroundings, x: str) -> str:
    shape = net.shape(x)[1:]
    statistics = [net.vector(int(np.prod(shape)), net.kind()).reshape(shape) for _ in range(3)]
    statistics.append(net.random.uniform(0.2, 2.0, shape))
    return net.node("BatchNormalization", x, *map(net.constant, statistics), spatial=0)


def _arithmetic(operator: str) -> Case:
    def case(net: Surroundings, x: str) -> str:
        shape = net.shape(x)
        extents = [extent if net.coin() else 1 for extent in shape]
        raised = net.pick(0, 0, 0, 0, 1)
        if net.pick(0, 0, 0, 1):
            # A vector as long as the channels, on whatever axis is last.
            extents = [shape[min(1, len(shape) - 1)]]
            if extents[0] not in (shape[-1], 1) and shape[-1] != 1:
                extents = [1]
        extents = [1] * raised + extents
        array = net.vector(int(np.prod(extents)), net.kind()).reshape(extents)
        if operator == "Div":
            array = np.where(np.abs(array) < 0.05, 0.6, array)
        while not raised and array.ndim and array.shape[0] == 1 and net.coin():
            array = array[0]
        operands = [x, net.constant(array)]
        if net.coin():
            operands.reverse()
        return net.node(operator, *operands)

    return case


def _neg(net: Surroundings, x: str) -> str:
    return net.node("Neg", x)


CASES: dict[str, tuple[Case, tuple[int, ...]]] = {
    "BatchNormalization": (_batch_norm, (2, 3, 4, 5)),
    **{operator: (_arithmetic(operator), (2, 3, 4)) for operator in ("Add", "Sub", "Mul", "Div")},
    "Neg": (_neg, (2, 3, 4)),
}


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_around(name: str, data: st.DataObject) -> None:
    case, ranks = CASES[name]
    check_around(data.draw, case, ranks=ranks)


@pytest.mark.parametrize("opset", [7, 8, 9, 13, 14, 15])
@QUICK
@given(data=st.data())
def test_batch_norm_of_every_version(opset: int, data: st.DataObject) -> None:
    check_around(data.draw, _batch_norm, ranks=(2, 3, 4, 5), opset=opset)


@pytest.mark.parametrize("opset", [7, 8])
@QUICK
@given(data=st.data())
def test_per_activation_statistics(opset: int, data: st.DataObject) -> None:
    check_around(data.draw, _per_activation, ranks=(2, 3, 4), opset=opset)
