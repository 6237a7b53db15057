"""What a plan merges, what it leaves and what it saves, on graphs small enough to count by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxnorm.graph.facts import Facts
from onnxnorm.linear.cost import Cost
from onnxnorm.linear.plan import Plan, plans_for
from onnxnorm.linear.reader import Reader
from onnxnorm.linear.step import Family
from testing.builder import Builder

CHANNELS, EXTENT = 4, 6
ELEMENTS = CHANNELS * EXTENT**2


def conv(b: Builder, x: str, name: str, kernel: int = 1, channels: int = CHANNELS, outputs: int = CHANNELS) -> str:
    kernels, pads = (kernel, kernel), [kernel // 2] * 4
    return b.conv(x, channels, outputs, kernels, name=name, out=name, pads=pads, bias=False)


def added(b: Builder, op_type: str, name: str, *terms: str) -> str:
    return b.node(op_type, *terms, name=name, out=name)


def plans(build: Callable[[Builder, str], list[str]], root: str = "root") -> tuple[list[Plan], dict[str, np.ndarray]]:
    """Return the plans with this root in what `build` makes of x, and the weights by their convolutions' names."""
    b = Builder(dtype=np.float32)
    outputs = build(b, b.input((1, CHANNELS, EXTENT, EXTENT)))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(b.model(*outputs)))
    (node,) = (node for node in model.graph if node.name == root)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in b.constants}
    weights = {each.name: constants[each.input[1]] for each in b.nodes if each.op_type == "Conv"}
    return plans_for(node, Reader(Facts(model), Family.CONVOLUTION)), weights


def names(nodes: tuple[ir.Node, ...]) -> list[str | None]:
    return [node.name for node in nodes]


def weight(plan: Plan) -> np.ndarray:
    return np.concatenate([block for _, block in plan.convolution.blocks()])


@pytest.mark.parametrize(("op_type", "sign"), [("Add", 1.0), ("Sum", 1.0), ("Sub", -1.0)])
def test_terms_of_one_source_merge_by_their_signs(op_type: str, sign: float) -> None:
    (plan,), weights = plans(lambda b, x: [added(b, op_type, "root", conv(b, x, "p"), conv(b, x, "q"))])
    assert plan.source.name == "x"
    assert {(term.value.name, term.sign) for term in plan.merged} == {("p", 1.0), ("q", sign)}
    assert plan.left == () and names(plan.sums) == ["root"] and set(names(plan.gone)) == {"p", "q"}
    np.testing.assert_allclose(weight(plan), weights["p"].astype(np.float64) + sign * weights["q"], rtol=1e-12)
    # One convolution and one addition less: each reads and writes what it does, and the convolution reads its weight.
    size = CHANNELS * CHANNELS
    assert plan.saves == Cost(ELEMENTS * CHANNELS + ELEMENTS, (2 * ELEMENTS + size) + 3 * ELEMENTS)


def test_sums_that_feed_only_a_sum_are_taken_with_it() -> None:
    def build(b: Builder, x: str) -> list[str]:
        inner = added(b, "Sub", "inner", conv(b, x, "p"), conv(b, x, "q"))
        return [added(b, "Sub", "root", conv(b, x, "r"), inner)]

    found, weights = plans(build)
    assert plans(build, "inner")[0] == []
    assert names(found[0].sums) == ["root", "inner"] and len(found[0].merged) == 3
    np.testing.assert_allclose(
        weight(found[0]), weights["r"].astype(np.float64) - weights["p"] + weights["q"], rtol=1e-9
    )
    assert [plan.saves.total for plan in found] == sorted((plan.saves.total for plan in found), reverse=True)


def test_a_sum_that_others_read_is_a_root_of_its_own() -> None:
    def build(b: Builder, x: str) -> list[str]:
        inner = added(b, "Add", "inner", conv(b, x, "p"), conv(b, x, "q"))
        return [inner, added(b, "Add", "root", b.node("Relu", inner), conv(b, x, "r"))]

    assert [names(plan.sums) for plan in plans(build, "inner")[0]] == [["inner"]]
    assert plans(build)[0] == []


def test_a_term_that_is_no_linear_map_stays() -> None:
    def build(b: Builder, x: str) -> list[str]:
        active = b.node("Relu", conv(b, x, "r"), out="active")
        return [added(b, "Sum", "root", conv(b, x, "p"), active, conv(b, x, "q"))]

    (plan,), _ = plans(build)
    assert {term.value.name for term in plan.merged} == {"p", "q"}
    assert [(term.value.name, term.sign) for term in plan.left] == [("active", 1.0)]
    assert set(names(plan.gone)) == {"p", "q"}


def test_a_branch_with_another_reader_is_computed_still() -> None:
    """The plan saves the addition and the other branch, less the new convolution, which costs as much as that one."""
    (plan,), _ = plans(lambda b, x: [added(b, "Add", "root", conv(b, x, "p"), conv(b, x, "q")), "p"])
    assert names(plan.gone) == ["q"]
    assert plan.saves == Cost(ELEMENTS, 3 * ELEMENTS)


def test_a_smaller_kernel_goes_into_a_larger_one_unless_the_larger_one_is_computed_still() -> None:
    def build(b: Builder, x: str) -> list[str]:
        return [added(b, "Add", "root", conv(b, x, "small"), conv(b, x, "large", 3))]

    (plan,), weights = plans(build)
    wanted = weights["large"].astype(np.float64)
    wanted[:, :, 1:2, 1:2] += weights["small"]
    np.testing.assert_allclose(weight(plan), wanted, rtol=1e-9)
    assert len(plans(lambda b, x: [*build(b, x), "small"])[0]) == 1
    assert plans(lambda b, x: [*build(b, x), "large"])[0] == []


@pytest.mark.parametrize(("middle", "merges"), [(CHANNELS, True), (16, True), (1, False)])
def test_a_row_of_convolutions_becomes_one_where_that_is_less_work(middle: int, merges: bool) -> None:
    def build(b: Builder, x: str) -> list[str]:
        return [conv(b, conv(b, x, "first", outputs=middle), "root", channels=middle)]

    found, weights = plans(build)
    assert len(found) == merges
    for plan in found:
        assert plan.source.name == "x" and plan.sums == () and names(plan.gone) == ["first"]
        product = weights["root"][:, :, 0, 0].astype(np.float64) @ weights["first"][:, :, 0, 0]
        np.testing.assert_allclose(weight(plan)[:, :, 0, 0], product, rtol=1e-9)


def other_sources(b: Builder, x: str) -> list[str]:
    z = b.input((1, CHANNELS, EXTENT, EXTENT), "z")
    return [added(b, "Add", "root", conv(b, x, "p"), conv(b, z, "q"))]


@pytest.mark.parametrize(
    "build",
    [
        lambda b, x: [conv(b, x, "root")],
        lambda b, x: [added(b, "Add", "root", x, x)],
        lambda b, x: [added(b, "Add", "root", conv(b, x, "p"), b.node("Relu", conv(b, x, "q")))],
        lambda b, x: [conv(b, b.node("Relu", conv(b, x, "p")), "root")],
        lambda b, x: [added(b, "Mul", "root", conv(b, x, "p"), conv(b, x, "q"))],
        other_sources,
    ],
    ids=["one convolution", "no convolution", "one linear term", "an activation between", "a product", "two sources"],
)
def test_nothing_is_planned_where_nothing_merges(build: Callable[[Builder, str], list[str]]) -> None:
    assert plans(build)[0] == []
