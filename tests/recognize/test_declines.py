"""What must stay, and what must not be seen: half precision, shared values, overridable constants, borders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxnorm
from onnxnorm.evaluate.evaluator import evaluate_float64
from testing.builder import assert_same, random_feeds, same_in_onnxruntime
from tests.recognize.spellings import Net

PASSES = ("infer_shapes", "recognize", "clean")
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def recognized(model: onnx.ModelProto, **options: Any) -> tuple[Counter[str], list[str], onnx.ModelProto]:
    """The operators after, the reasons given for what is written out, the model; it computes what it did."""
    result = onnxnorm.optimize(model, passes=PASSES, **options, verify=False)
    after = result.model
    assert isinstance(after, onnx.ModelProto)
    onnx.checker.check_model(after, full_check=True)
    feeds = random_feeds(model)
    assert_same(evaluate_float64(model, feeds), evaluate_float64(after, feeds), 1e-6)
    reasons = [decline.reason for decline in result.declined if decline.kind is not None]
    return Counter(node.op_type for node in after.graph.node), reasons, after


def norm(net: Net, x: str, *, rms: bool = False, epsilon: str | None = None) -> str:
    """LayerNorm or RMSNorm over the last axis, without weights."""
    centred = x if rms else net.node("Sub", x, net.mean(x, -1))
    mean = net.mean(net.node("Mul", centred, centred), -1)
    base = net.node("Add", mean, epsilon or net.constant(np.array(1e-3, np.float32), dtype=np.float32))
    return net.node("Div", centred, net.node("Sqrt", base))


# --- half precision ---------------------------------------------------------------------------------------------------


def _half(scale_in_float: bool, weight: float = 0.5) -> onnx.ModelProto:
    """Llama's: statistics in float32, the weight applied after the cast back (or before)."""
    net = Net(opset=23, dtype=np.float16, ir_version=10)
    x = net.input((2, 3, 6))
    y = norm(net, net.cast(x, FLOAT), rms=True)
    if scale_in_float:
        y = net.cast(net.node("Mul", y, net.constant(np.full(6, weight), dtype=np.float32)), HALF)
    else:
        y = net.node("Mul", net.constant(np.full(6, weight)), net.cast(y, HALF))
    return net.model(y)


def test_statistics_in_float32_around_half_precision_become_one_half_node() -> None:
    model = _half(scale_in_float=False)
    ops, _, after = recognized(model)
    assert ops == {"RMSNormalization": 1}
    (stash,) = [a.i for a in after.graph.node[0].attribute if a.name == "stash_type"]
    assert stash == FLOAT
    same_in_onnxruntime(model, after, tolerance=2e-3)


def test_a_float32_weight_that_half_can_hold_goes_along() -> None:
    assert recognized(_half(scale_in_float=True))[0] == {"RMSNormalization": 1}


def test_a_float32_weight_that_half_would_round_stays_in_float32() -> None:
    assert recognized(_half(scale_in_float=True, weight=0.1))[0] == {"RMSNormalization": 1, "Cast": 2}


def test_a_weight_that_would_overflow_half_before_the_bias_stays_in_float32() -> None:
    assert recognized(_half(scale_in_float=True, weight=60000.0))[0] == {"RMSNormalization": 1, "Cast": 2}


def test_an_operator_without_a_type_for_its_statistics_stays_between_the_casts() -> None:
    net = Net(opset=18, dtype=np.float16)
    x = net.cast(net.input((2, 4, 3, 5)), FLOAT)
    centred = net.node("Sub", x, net.mean(x, 2, 3))
    variance = net.mean(net.node("Mul", centred, centred), 2, 3)
    root = net.node("Sqrt", net.node("Add", variance, net.constant(np.array(1e-3), dtype=np.float32)))
    scaled = net.node("Mul", net.node("Div", centred, root), net.constant(net.normal(4, 1, 1), dtype=np.float32))
    ops, _, after = recognized(net.model(net.cast(scaled, HALF)))
    assert ops == {"InstanceNormalization": 1, "Cast": 2}
    assert [i.data_type for i in after.graph.initializer] == [FLOAT, FLOAT]


# --- values read elsewhere, borders -----------------------------------------------------------------------------------


def test_a_statistic_that_is_an_output_too_keeps_the_chain() -> None:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    mean = net.mean(x, -1)
    centred = net.node("Sub", x, mean)
    variance = net.mean(net.node("Mul", centred, centred), -1)
    root = net.node("Sqrt", net.node("Add", variance, net.number(1e-3)))
    ops, reasons, _ = recognized(net.model(net.node("Div", centred, root), mean))
    assert "LayerNormalization" not in ops
    assert any("is read elsewhere too" in reason for reason in reasons)


def test_a_statistic_read_inside_a_subgraph_keeps_the_chain() -> None:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    mean = net.mean(x, -1)
    centred = net.node("Sub", x, mean)
    variance = net.mean(net.node("Mul", centred, centred), -1)
    y = net.node("Div", centred, net.node("Sqrt", net.node("Add", variance, net.number(1e-3))))
    flag = net.node("Greater", net.node("ReduceMax", x, keepdims=0), net.number(0))
    branches = {}
    for name, op_type in (("then_branch", "Neg"), ("else_branch", "Identity")):
        value = helper.make_tensor_value_info(name, FLOAT, (2, 3, 1))
        branches[name] = helper.make_graph([helper.make_node(op_type, [mean], [name])], name, [], [value])
    net.output("z", shape=(2, 3, 1))
    net.node("If", flag, out="z", **branches)
    ops, reasons, _ = recognized(net.model(y))
    assert "LayerNormalization" not in ops
    assert any("is read elsewhere too" in reason for reason in reasons)


def test_a_normalization_inside_a_subgraph_is_raised_there() -> None:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    flag = net.node("Greater", net.node("ReduceMax", x, keepdims=0), net.number(0))
    inner = Net(opset=18, dtype=np.float32, prefix="inner_")
    y = norm(inner, x)
    inner.output(y, shape=(2, 3, 6))
    other = helper.make_graph([helper.make_node("Neg", [x], ["n"])], "else", [],
                              [helper.make_tensor_value_info("n", FLOAT, (2, 3, 6))])  # fmt: skip
    result = net.node("If", flag, then_branch=inner.graph(), else_branch=other)
    net.output(result, shape=(2, 3, 6))
    _, _, after = recognized(net.model())
    branch = next(a.g for a in after.graph.node[-1].attribute if a.name == "then_branch")
    assert [node.op_type for node in branch.node] == ["LayerNormalization"]


def test_the_tensor_itself_may_be_read_elsewhere() -> None:
    net = Net(opset=18, dtype=np.float32)
    x = net.node("Relu", net.input((2, 3, 6)))
    ops, _, _ = recognized(net.model(net.node("Add", x, norm(net, x))))
    assert ops == {"Relu": 1, "LayerNormalization": 1, "Add": 1}


# --- constants --------------------------------------------------------------------------------------------------------


def _overridable(role: str) -> onnx.ModelProto:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    shape: tuple[int, ...] = () if role == "epsilon" else (6,)
    given = net.constant(np.full(shape, 0.5), name="given")
    net.input(shape, name="given")
    y = norm(net, x, epsilon=given) if role == "epsilon" else net.node("Mul", norm(net, x), given)
    return net.model(y)


def test_an_epsilon_that_the_caller_may_give_is_no_constant() -> None:
    ops, reasons, _ = recognized(_overridable("epsilon"))
    assert "LayerNormalization" not in ops
    assert any("'given'" in reason and "is an input of the graph, no constant" in reason for reason in reasons)
    after = onnxnorm.optimize(_overridable("epsilon"), passes=PASSES, freeze_inputs=True, verify=False).model
    assert [node.op_type for node in after.graph.node] == ["LayerNormalization"]


def test_a_weight_that_the_caller_may_give_is_an_operand_that_the_caller_may_give() -> None:
    ops, _, after = recognized(_overridable("weight"))
    assert ops == {"LayerNormalization": 1}
    assert after.graph.node[0].input[1] in {value.name for value in after.graph.input}


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        # It enlarges the result.
        (np.ones((2, 1, 1, 1, 6)), {"LayerNormalization": 1, "Mul": 1}),
        (np.ones((5, 1)), {"LayerNormalization": 1}),
        # Along another axis than that of the statistics.
        (np.linspace(1, 2, 5).reshape(5, 1), {"LayerNormalization": 1, "Mul": 1}),
    ],
)
def test_a_weight_along_another_axis_stays_behind_the_node(weight: np.ndarray, expected: dict[str, int]) -> None:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 5, 6))
    assert recognized(net.model(net.node("Mul", norm(net, x), net.constant(weight))))[0] == expected


def test_an_axis_of_unknown_extent_is_declined() -> None:
    net = Net(opset=18, dtype=np.float32)
    ops, reasons, _ = recognized(net.model(norm(net, net.input((2, "channels", "width")))))
    assert "LayerNormalization" not in ops
    assert any("the extent of axis 2 is not known" in reason for reason in reasons)


# --- other formulas ---------------------------------------------------------------------------------------------------


def _chain(change: Callable[[Net, str, str], str]) -> onnx.ModelProto:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    centred = net.node("Sub", x, net.mean(x, -1))
    variance = net.mean(net.node("Mul", centred, centred), -1)
    return net.model(net.node("Div", centred, change(net, x, variance)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda net, x, v: net.node("Sqrt", net.node("Relu", net.node("Sub", v, net.number(1e-3)))), "Relu"),
        (lambda net, x, v: net.node("Add", v, net.number(1e-3)), "under the power -1 in place of -0.5"),
        (lambda net, x, v: net.node("Sqrt", net.node("Max", v, net.number(1e-3))), "held above 0.0316"),
        (lambda net, x, v: net.node("Sqrt", net.node("Sub", v, net.number(1e-3))), "its epsilon is -0.001"),
        (lambda net, x, v: net.node("Sqrt", net.node("Add", v, x)), ""),
    ],
)  # fmt: skip
def test_an_operator_too_many_is_named(change: Callable[[Net, str, str], str], says: str) -> None:
    ops, reasons, _ = recognized(_chain(change))
    assert "LayerNormalization" not in ops
    assert not says or any("looks like a LayerNormalization, but" in r and says in r for r in reasons), reasons


_INFINITY = np.array(np.inf, np.float32)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("after_epsilon", [False, True])
@pytest.mark.parametrize(
    "bound",
    [
        lambda net, v: net.node("Max", v, net.number(0)),
        lambda net, v: net.node("Max", net.number(0), net.node("Min", v, net.constant(_INFINITY))),
        lambda net, v: net.node("Clip", v, net.number(0), net.constant(_INFINITY)),
        lambda net, v: net.node("Clip", v, net.number(0)),
        lambda net, v: net.node("Clip", v, "", net.constant(_INFINITY)),
        lambda net, v: net.node("Relu", v),
        lambda net, v: net.node("Abs", v),
    ],
)
def test_a_bound_that_a_variance_never_reaches_is_none(
    bound: Callable[[Net, str], str], after_epsilon: bool, raw: bool
) -> None:
    """Keras bounds what it takes roots of by 0 and infinity, Flax holds E[x^2] - E[x]^2 above 0."""
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    mean = net.mean(x, -1)
    centred = net.node("Sub", x, mean)
    if raw:
        variance = net.node("Sub", net.mean(net.node("Mul", x, x), -1), net.node("Mul", mean, mean))
    else:
        variance = net.mean(net.node("Mul", centred, centred), -1)
    if after_epsilon:
        variance = bound(net, net.node("Add", variance, net.number(1e-3)))
    else:
        variance = net.node("Add", bound(net, variance), net.number(1e-3))
    model = net.model(net.node("Div", centred, net.node("Sqrt", variance)))
    assert recognized(model)[0] == {"LayerNormalization": 1}


def test_the_variance_of_a_sample_takes_its_factor_into_scale_and_epsilon() -> None:
    """torch.var divides by n - 1: variance_n1 = n / (n - 1) * variance, which is exact in the scale."""
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    centred = net.node("Sub", x, net.mean(x, -1))
    variance = net.node("Mul", net.sum(net.node("Mul", centred, centred), -1), net.number(1 / 5))
    root = net.node("Sqrt", net.node("Add", variance, net.number(1e-3)))
    assert recognized(net.model(net.node("Div", centred, root)))[0] == {"LayerNormalization": 1}


def test_the_deviation_of_a_sample_with_epsilon_outside_is_left() -> None:
    """The Annotated Transformer's LayerNorm: a * (x - mean) / (std + eps) + b."""
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    centred = net.node("Sub", x, net.mean(x, -1))
    variance = net.node("Mul", net.sum(net.node("Mul", centred, centred), -1), net.number(1 / 5))
    root = net.node("Add", net.node("Sqrt", variance), net.number(1e-3))
    ops, reasons, _ = recognized(net.model(net.node("Div", centred, root)))
    assert "LayerNormalization" not in ops
    assert any("added to the deviation, not under the root" in reason for reason in reasons)


def test_global_response_norm_is_named() -> None:
    """timm's GlobalResponseNorm, channels last."""
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 5, 4))
    length = net.mean(x, 1, 2, op="ReduceL2")
    share = net.node("Div", length, net.node("Add", net.mean(length, -1), net.number(1e-6)))
    y = net.node("Mul", net.node("Mul", x, share), net.constant(np.linspace(0.5, 2, 4)))
    y = net.node("Add", net.node("Add", y, net.constant(np.linspace(-1, 1, 4))), x)
    (record,) = onnxnorm.inspect(net.model(y))
    assert record.kind == "GlobalResponseNorm (written out)"


@pytest.mark.parametrize("op_type", ["Mul", "Add"])
def test_a_gate_or_a_bias_is_no_batch_norm(op_type: str) -> None:
    net = Net(opset=18, dtype=np.float32)
    y = net.node(op_type, net.input((2, 4, 3, 5)), net.constant(np.linspace(1, 2, 4).reshape(4, 1, 1)))
    model = net.model(net.node("Relu", y))
    assert recognized(model)[0] == {op_type: 1, "Relu": 1}
    assert onnxnorm.inspect(model) == ()


def test_a_long_chain_takes_time_in_proportion() -> None:
    """Every node is read a bounded number of times: 40 times the normalizations, 40 times the nodes read."""
    from onnxnorm.recognize.readers import arithmetic

    def reads(count: int) -> int:
        net = Net(opset=18, dtype=np.float32)
        x = net.input((2, 3, 6))
        for _ in range(count):
            x = net.node("Relu", norm(net, x))
        model, calls = net.model(x), 0
        readers = dict(arithmetic.READERS)

        def counted(reader: Any) -> Any:
            def call(site: Any) -> Any:
                nonlocal calls
                calls += 1
                return reader(site)

            return call

        from onnxnorm.recognize import reading

        present = reading.READERS
        reading.READERS = {name: counted(reader) for name, reader in readers.items()}  # type: ignore[misc]
        try:
            onnxnorm.optimize(model, passes=PASSES, verify=False)
        finally:
            reading.READERS = present  # type: ignore[misc]
        return calls

    assert reads(40) <= 1.2 * 40 * reads(1)


def test_integers_are_no_normalization() -> None:
    """ReduceMean of integers rounds."""
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6), element=TensorProto.INT32)
    centred = net.node("Sub", x, net.mean(x, -1))
    variance = net.mean(net.node("Mul", centred, centred), -1)
    model = net.model()
    net.output(variance, element=TensorProto.INT32)
    one = net.constant(np.array(1, np.int32))
    net.output(net.node("Div", centred, net.node("Add", variance, one)), element=TensorProto.INT32)
    net.outputs.pop(0)
    model = net.model()
    after = onnxnorm.optimize(model, passes=PASSES, verify=False).model
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in model.graph.node]


# --- reasons ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("rms", "opset", "operator"), [(False, 17, "LayerNormalization"), (True, 23, "RMSNormalization")]
)
def test_the_opset_is_named_and_its_remedy_works(rms: bool, opset: int, operator: str, half: bool) -> None:
    net = Net(opset=15, dtype=np.float16 if half else np.float32)
    x = net.input((2, 3, 6))
    y = norm(net, net.cast(x, FLOAT) if half else x, rms=rms)
    model = net.model(net.cast(y, HALF) if half else y)
    _, reasons, _ = recognized(model)
    assert len(reasons) == 1 and f"with opset={opset} it becomes one node" in reasons[0]
    after = onnxnorm.optimize(model, opset=opset, verify=True).model
    assert [node.op_type for node in after.graph.node] == [operator]


@pytest.mark.parametrize(
    ("domain", "operator"),
    [
        ("", "SimplifiedLayerNormalization"),
        ("com.microsoft", "SkipLayerNormalization"),
        ("com.microsoft", "EmbedLayerNormalization"),
    ],
)
def test_norms_of_a_runtime_have_the_same_reason_everywhere(domain: str, operator: str) -> None:
    net = Net(opset=17, dtype=np.float32, opsets={"com.microsoft": 1})
    names = [net.input((2, 3, 6), name) for name in ("x", "a", "b")]
    model = net.model(net.node("Relu", net.node(operator, *names, domain=domain)))
    (decline,) = onnxnorm.optimize(model, verify=False).declined
    (record,) = onnxnorm.inspect(model)
    assert decline.reason == record.reason and "no fixed affine" in record.reason
