"""Pools and reductions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testing.builder import QUICK
from tests.affine.around import Case, Surroundings, check_around


def _pool(operator: str) -> Case:
    def case(net: Surroundings, x: str) -> str | list[str]:
        space = net.shape(x)[2:]
        kernel = [net.pick(1, min(2, n), min(3, n)) for n in space]
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [net.pick(1, 2) for _ in space]}
        attributes["ceil_mode"] = net.pick(0, 1)
        padding = net.pick("none", "pads", "SAME_UPPER", "SAME_LOWER", "VALID")
        if padding == "pads":
            attributes["pads"] = [min(net.pick(0, 1), k - 1) for k in (*kernel, *kernel)]
        elif padding != "none":
            attributes |= {"auto_pad": padding, "ceil_mode": 0}
        if operator == "AveragePool":
            attributes["count_include_pad"] = net.pick(0, 1)
            return net.node(operator, x, **attributes)
        if net.pick(0, 0, 0, 1):
            value, indices = net.nodes_out(operator, x, outputs=2, **attributes)
            return [value, net.node("Cast", indices, to=11)]
        return net.node(operator, x, **attributes)

    return case


def _whole(operator: str) -> Case:
    def case(net: Surroundings, x: str) -> str:
        return net.node(operator, x)

    return case


def _reduction(operator: str) -> Case:
    def case(net: Surroundings, x: str) -> str:
        rank = len(net.shape(x))
        axes = net.draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=2, unique=True))
        axes = [axis - rank if net.coin() else axis for axis in axes]
        keep = net.pick(0, 1)
        if rank - len(axes) < 1:
            keep = 1
        what = net.pick("some", "some", "some", "all", "none")
        if what == "all":
            return net.node(operator, x, keepdims=1)
        if what == "none":
            return net.node(operator, x, keepdims=keep, noop_with_empty_axes=1)
        return net.node(operator, x, net.ints(*axes), keepdims=keep)

    return case


def _lp_pool(net: Surroundings, x: str) -> str:
    kernel = [min(2, n) for n in net.shape(x)[2:]]
    pads = [net.pick(0, k - 1) for k in (*kernel, *kernel)]
    return net.node("LpPool", x, kernel_shape=kernel, p=net.pick(1, 2, 3), pads=pads)


def _global_lp_pool(net: Surroundings, x: str) -> str:
    return net.node("GlobalLpPool", x, p=net.pick(1, 2, 3))


CASES: dict[str, tuple[Case, tuple[int, ...]]] = {
    "MaxPool": (_pool("MaxPool"), (3, 4)),
    "AveragePool": (_pool("AveragePool"), (3, 4)),
    "GlobalAveragePool": (_whole("GlobalAveragePool"), (3, 4, 5)),
    "GlobalMaxPool": (_whole("GlobalMaxPool"), (3, 4, 5)),
    **{operator: (_reduction(operator), (2, 3, 4)) for operator in
       ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd")},
    "LpPool": (_lp_pool, (3, 4)),
    "GlobalLpPool": (_global_lp_pool, (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_around(name: str, data: st.DataObject) -> None:
    case, ranks = CASES[name]
    check_around(data.draw, case, ranks=ranks)
