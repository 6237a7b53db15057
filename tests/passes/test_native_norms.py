"""Normalizations that go to this project's kernels for onnxruntime: which, what goes with them, and what stays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm import optimize, session, verify
from onnxnorm.ops.operators import ACTIVATIONS, DOMAIN, NORMS
from onnxnorm.passes.native_costs import COSTS, is_faster

SHAPE = (2, 8, 25, 30)
SMALL = (2, 8, 5, 6)
WEIGHTS = np.linspace(0.5, 1.5, 8, dtype=np.float32)


class Net:
    """A graph under construction, of x to y."""

    def __init__(self, opset: int = 18, shape: Sequence[int | str] = SHAPE, element: int = TensorProto.FLOAT) -> None:
        self.opset, self.shape, self.element = opset, shape, element
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[str] = []

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def weight(self, values: Any, dtype: Any = None) -> str:
        array = np.asarray(values)
        if array.dtype.kind == "f":
            array = array.astype(dtype or helper.tensor_dtype_to_np_dtype(self.element))
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def model(self, *results: str) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info(name, self.element, self.shape) for name in ("x", "z")]
        outputs = [helper.make_tensor_value_info(name, self.element, None) for name in results]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


def group_norm(net: Net, x: str = "x") -> str:
    """As the opset has it: with weights a channel, a group, or written out."""
    if net.opset >= 21:
        stash = TensorProto.DOUBLE if net.element == TensorProto.DOUBLE else TensorProto.FLOAT
        weights = (net.weight(WEIGHTS), net.weight(WEIGHTS - 1))
        return net.node("GroupNormalization", x, *weights, num_groups=4, stash_type=stash)
    if net.opset >= 18:
        return net.node("GroupNormalization", x, net.weight(WEIGHTS[:4]), net.weight(WEIGHTS[:4]), num_groups=4)
    return written_out(net, x)


def written_out(net: Net, x: str = "x") -> str:
    grouped = net.node("Reshape", x, net.weight(np.array([0, 4, -1])))
    normal = net.node("InstanceNormalization", grouped, net.weight(np.ones(4)), net.weight(np.zeros(4)))
    back = net.node("Reshape", normal, net.weight(np.array(SHAPE)))
    column = WEIGHTS[:, None, None]
    return net.node("Add", net.node("Mul", back, net.weight(column)), net.weight(column - 1))


def instance_norm(net: Net, x: str = "x") -> str:
    return net.node("InstanceNormalization", x, net.weight(WEIGHTS), net.weight(WEIGHTS - 1))


def channel_layer_norm(net: Net, x: str = "x") -> str:
    last = net.node("Transpose", x, perm=[0, 2, 3, 1])
    normal = net.node("LayerNormalization", last, net.weight(WEIGHTS), net.weight(WEIGHTS - 1), axis=-1)
    return net.node("Transpose", normal, perm=[0, 3, 1, 2])


def channel_rms_norm(net: Net, x: str = "x") -> str:
    last = net.node("Transpose", x, perm=[0, 2, 3, 1])
    return net.node("Transpose", net.node("RMSNormalization", last, net.weight(WEIGHTS)), perm=[0, 3, 1, 2])


def lp_norm(net: Net, x: str = "x") -> str:
    return net.node("LpNormalization", x, axis=1, p=1)


def mean_variance(net: Net, x: str = "x") -> str:
    return net.node("MeanVarianceNormalization", x, axes=[2, 3])


def response(net: Net, x: str = "x", *, last: bool = False, squared: bool = False, epsilon: float = 1e-6) -> str:
    """As ConvNeXt V2 has it, with the channels last, or second; the lengths by one node, or by squares."""
    places, channels = ([1, 2], [3]) if last else ([2, 3], [1])
    size = 30 if last else 8
    weights = np.linspace(-0.5, 1.5, size).reshape((size,) if last else (size, 1, 1))
    if squared:
        total = net.node("ReduceSum", net.node("Mul", x, x), net.weight(np.array(places)), keepdims=1)
        length = net.node("Sqrt", total)
    else:
        length = net.node("ReduceL2", x, net.weight(np.array(places)), keepdims=1)
    mean = net.node("ReduceMean", length, net.weight(np.array(channels)), keepdims=1)
    share = net.node("Div", length, net.node("Add", mean, net.weight(epsilon)))
    y = net.node("Mul", net.weight(weights), net.node("Mul", x, share))
    return net.node("Add", net.node("Add", y, net.weight(weights - 1)), x)


def batch_norm(net: Net, x: str = "x") -> str:
    weights = (WEIGHTS, WEIGHTS - 1, WEIGHTS - 0.5, WEIGHTS)
    return net.node("Relu", net.node("BatchNormalization", x, *map(net.weight, weights)))


def mul_and_add(net: Net, x: str = "x") -> str:
    column = WEIGHTS[:, None, None]
    return net.node("Add", net.node("Mul", x, net.weight(column)), net.weight(column - 1))


Spelling = Callable[..., str]
SPELLINGS: list[tuple[Spelling, int, str]] = [
    (group_norm, 21, "GroupNorm"),
    (group_norm, 18, "GroupNorm"),
    (written_out, 15, "GroupNorm"),
    (written_out, 13, "GroupNorm"),
    (lambda net: net.node("Relu", instance_norm(net)), 18, "GroupNorm"),
    (channel_layer_norm, 17, "ChannelLayerNorm"),
    (channel_rms_norm, 23, "ChannelRMSNorm"),
    (lp_norm, 18, "ChannelLpNorm"),
    (mean_variance, 18, "MeanVarianceNorm"),
    (response, 18, "GlobalResponseNorm"),
    (lambda net: response(net, last=True), 18, "GlobalResponseNorm"),
    (lambda net: response(net, squared=True, last=True), 18, "GlobalResponseNorm"),
    (lambda net: net.node("Relu", response(net)), 18, "GlobalResponseNorm"),
    (batch_norm, 18, "ChannelAffine"),
    (lambda net: net.node("LeakyRelu", mul_and_add(net)), 18, "ChannelAffine"),
]


def native(model: onnx.ModelProto, *, target: str = "onnxruntime") -> list[onnx.NodeProto]:
    """The nodes of this project in the result, which computes the same, with the kernels and without them."""
    result = optimize(model, target=target)
    assert isinstance(result.model, onnx.ModelProto)
    if target == "onnxruntime":  # the checker knows no GroupNormalization of opset 18
        onnx.checker.check_model(result.model)
    assert verify(model, result.model).passed
    generator = np.random.default_rng(1)
    feeds = {}
    for value in model.graph.input:
        given = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        shape = [extent or other for extent, other in zip(given, SHAPE, strict=True)]
        feeds[value.name] = generator.standard_normal(shape).astype(np.float32)
    own, portable = (session(result.model, portable=flag).run(None, feeds) for flag in (False, True))
    for a, b in zip(own, portable, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    return [node for node in result.model.graph.node if node.domain == DOMAIN]


def attribute(node: onnx.NodeProto, name: str) -> Any:
    return next(helper.get_attribute_value(each) for each in node.attribute if each.name == name)


@pytest.mark.parametrize(("spelling", "opset", "op_type"), SPELLINGS)
def test_every_spelling_is_one_node_for_onnxruntime(spelling: Spelling, opset: int, op_type: str) -> None:
    net = Net(opset)
    model = net.model(spelling(net), net.node("Neg", "z"))
    assert [node.op_type for node in native(model)] == [op_type]
    assert native(model, target="portable") == []


def silu(net: Net, x: str) -> str:
    return net.node("Mul", net.node("Sigmoid", x), x)


def gelu(net: Net, x: str) -> str:
    erf = net.node("Erf", net.node("Div", x, net.weight(np.float32(np.sqrt(2)))))
    return net.node("Mul", net.node("Mul", x, net.node("Add", erf, net.weight(1.0))), net.weight(0.5))


def tanh_gelu(net: Net, x: str) -> str:
    cube = net.node("Mul", net.node("Pow", x, net.weight(3.0)), net.weight(0.044715))
    inner = net.node("Mul", net.node("Add", x, cube), net.weight(np.sqrt(2 / np.pi)))
    half = net.node("Mul", x, net.weight(0.5))
    return net.node("Mul", half, net.node("Add", net.node("Tanh", inner), net.weight(1.0)))


BENDS: dict[str, Callable[[Net, str], str]] = {
    "Relu": lambda net, x: net.node("Relu", x),
    "Silu": silu,
    "Gelu": gelu,
    "GeluTanh": tanh_gelu,
    "LeakyRelu": lambda net, x: net.node("LeakyRelu", x, alpha=0.2),
    "Clip": lambda net, x: net.node("Clip", x, net.weight(0.0), net.weight(6.0)),
    "HardSwish": lambda net, x: net.node("HardSwish", x),
}


@pytest.mark.parametrize("name", BENDS)
@pytest.mark.parametrize("residual", [False, True])
def test_what_follows_goes_with_it(name: str, residual: bool) -> None:
    net = Net(18)
    y = group_norm(net)
    y = net.node("Add", "z", y) if residual else y
    (node,) = native(net.model(BENDS[name](net, y)))
    assert attribute(node, "activation") == ACTIVATIONS.index(name)
    assert (node.input[3] == "z") == residual


def nearly_gelu(net: Net, x: str) -> str:
    erf = net.node("Erf", net.node("Div", x, net.weight(1.41)))
    return net.node("Mul", net.node("Mul", x, net.node("Add", erf, net.weight(1.0))), net.weight(0.5))


@pytest.mark.parametrize(
    "bend",
    [
        nearly_gelu,
        lambda net, x: net.node("Mul", net.node("Sigmoid", net.node("Mul", x, net.weight(1.702))), x),
        lambda net, x: net.node("Tanh", x),
        lambda net, x: net.node("Clip", x, "", net.weight(6.0)),
        lambda net, x: net.node("Add", x, net.weight(np.ones((1, 8, 1, SHAPE[-1])))),
    ],
)
def test_what_resembles_an_activation_stays(bend: Callable[[Net, str], str]) -> None:
    net = Net(18)
    (node,) = native(net.model(bend(net, group_norm(net)), net.node("Neg", "z")))
    assert attribute(node, "activation") == 0


def test_what_is_read_elsewhere_stays() -> None:
    net = Net(18)
    y = group_norm(net)
    s = net.node("Sigmoid", y)
    (node,) = native(net.model(net.node("Mul", s, y), net.node("Add", s, "z")))
    assert attribute(node, "activation") == 0
    net = Net(18)
    y = group_norm(net)
    (node,) = native(net.model(net.node("Relu", y), net.node("Add", y, "z")))
    assert attribute(node, "activation") == 0


def test_a_sum_that_broadcasts_stays() -> None:
    net = Net(18)
    wide = net.node("ReduceSum", "z", net.weight(np.array([2])), keepdims=1)
    (node,) = native(net.model(net.node("Add", group_norm(net), wide)))
    assert node.input[3] != wide


def batch_norm_behind(net: Net, x: str, *, variance: str = "") -> str:
    weights = [net.weight(values) for values in (WEIGHTS, WEIGHTS - 1, WEIGHTS - 0.5)]
    return net.node("BatchNormalization", x, *weights, variance or net.weight(WEIGHTS))


@pytest.mark.parametrize("norm", [group_norm, written_out, channel_layer_norm, lp_norm])
def test_weights_behind_go_with_it(norm: Spelling) -> None:
    net = Net(18)
    (node,) = native(net.model(BENDS["Silu"](net, batch_norm_behind(net, norm(net)))))
    assert attribute(node, "activation") == ACTIVATIONS.index("Silu")


def test_weights_of_what_is_read_elsewhere_stay() -> None:
    net = Net(18)
    y = group_norm(net)
    made = native(net.model(net.node("Tanh", batch_norm_behind(net, y)), net.node("Neg", y)))
    assert [node.op_type for node in made] == ["GroupNorm"]


def other_transpose(net: Net) -> str:
    last = net.node("Transpose", "x", perm=[0, 3, 2, 1])
    normal = net.node("LayerNormalization", last, net.weight(WEIGHTS), axis=-1)
    return net.node("Transpose", normal, perm=[0, 3, 2, 1])


def transposed_read_twice(net: Net) -> str:
    last = net.node("Transpose", "x", perm=[0, 2, 3, 1])
    normal = net.node("LayerNormalization", last, net.weight(WEIGHTS), axis=-1)
    return net.node("Add", net.node("Transpose", normal, perm=[0, 3, 1, 2]), net.node("ReduceMax", normal, keepdims=0))


def response_read_elsewhere(net: Net) -> str:
    y = response(net)
    length = next(node.output[0] for node in net.nodes if node.op_type == "ReduceL2")
    return net.node("Mul", y, length)


def response_without_itself(net: Net) -> str:
    """The last Add, of x, is left out."""
    response(net)
    return net.nodes.pop().input[0]


def response_of_other_axes(net: Net) -> str:
    """The mean of the lengths is over batch and channels."""
    length = net.node("ReduceL2", "x", net.weight(np.array([2, 3])), keepdims=1)
    mean = net.node("ReduceMean", length, net.weight(np.array([0, 1])), keepdims=1)
    share = net.node("Div", length, net.node("Add", mean, net.weight(1e-6)))
    return net.node("Add", net.node("Mul", "x", share), "x")


def response_with_weights_of_places(net: Net) -> str:
    length = net.node("ReduceL2", "x", net.weight(np.array([2, 3])), keepdims=1)
    mean = net.node("ReduceMean", length, net.weight(np.array([1])), keepdims=1)
    share = net.node("Div", length, net.node("Add", mean, net.weight(1e-6)))
    weighted = net.node("Mul", net.node("Mul", "x", share), net.weight(np.linspace(1, 2, SHAPE[-1])))
    return net.node("Add", weighted, "x")


@pytest.mark.parametrize(
    "build",
    [
        other_transpose,
        transposed_read_twice,
        lambda net: net.node("MeanVarianceNormalization", "x", axes=[0, 2, 3]),
        lambda net: net.node("LayerNormalization", "x", net.weight(np.ones(SHAPE[-1])), axis=-1),
    ],
)
def test_what_no_kernel_computes_stays(build: Callable[[Net], str]) -> None:
    net = Net(18)
    assert native(net.model(build(net), net.node("Neg", "z"))) == []


@pytest.mark.parametrize(
    "build",
    [response_read_elsewhere, response_without_itself, response_of_other_axes, response_with_weights_of_places],
)
def test_what_resembles_a_global_response_stays(build: Callable[[Net], str]) -> None:
    net = Net(18)
    made = native(net.model(build(net), net.node("Neg", "z")))
    assert "GlobalResponseNorm" not in [node.op_type for node in made]


@pytest.mark.parametrize("build", [instance_norm, mean_variance])
@pytest.mark.parametrize(("shape", "faster"), [((1, 8, 96, 96), True), (SMALL, False)])
def test_onnxruntime_keeps_what_it_computes_as_fast(
    build: Callable[[Net], str], shape: tuple[int, ...], faster: bool
) -> None:
    """Its own nodes take less for each vector, and more for each element."""
    net = Net(18, shape=shape)
    assert len(native(net.model(build(net), net.node("Neg", "z")))) == faster


@pytest.mark.parametrize(("places", "faster"), [((96, 96), True), ((5, 6), False), (("height", "width"), True)])
def test_an_open_batch_may_be_of_one_item(places: tuple[int | str, ...], faster: bool) -> None:
    """What a kernel gains is counted for one item and for many; open places are taken for large ones."""
    net = Net(18, shape=("batch", 8, *places))
    result = optimize(net.model(instance_norm(net), net.node("Neg", "z")), target="onnxruntime", verify=False)
    assert any(node.domain == DOMAIN for node in result.model.graph.node) == faster  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("parts", [0, 2])
def test_what_is_given_to_a_kernel_takes_clearly_less_at_every_size_it_may_have(kind: str, parts: int) -> None:
    def vectors(extents: Sequence[int]) -> int:
        return extents[0] * extents[1]

    def gain(extents: Sequence[int]) -> float:
        size = vectors(extents), math.prod(extents)
        standard, kernel = (cost.of(*size) for cost in COSTS[kind])
        return (standard + parts * COSTS["Relu"][0].of(*size)) / kernel

    for places in (1, 4, 7, 14, 56, 200):
        for channels in (1, 8, 64, 512):
            one = (1, channels, places, places)
            assert is_faster(kind, one, vectors, parts) == (gain(one) > 1.1) or 1.1 < gain(one) < 1.2
            if is_faster(kind, ("n", channels, places, places), vectors, parts):
                assert all(gain((batch, channels, places, places)) > 1.1 for batch in (1, 2, 7, 64))


def transpose_read_twice(net: Net, *, elsewhere: bool) -> str:
    last = net.node("Transpose", "x", perm=[0, 2, 3, 1])
    normal = net.node("LayerNormalization", last, net.weight(WEIGHTS), net.weight(WEIGHTS - 1), axis=-1)
    back = net.node("Transpose", normal, perm=[0, 3, 1, 2])
    if elsewhere:
        net.outputs.append(net.node("ReduceMax", last, net.weight(np.array([3])), keepdims=1))
    return back


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_transpose_that_stays_for_another_reader_is_no_gain(elsewhere: bool) -> None:
    net = Net(18)
    back = transpose_read_twice(net, elsewhere=elsewhere)
    made = native(net.model(back, net.node("Neg", "z"), *net.outputs))
    assert [node.op_type for node in made] == ([] if elsewhere else ["ChannelLayerNorm"])


def behind_a_convolution(net: Net, norm: Spelling) -> str:
    """Behind a pool of a convolution and another tensor, so that no affine can be moved into the convolution."""
    kernel = net.weight(np.eye(8).reshape(8, 8, 1, 1))
    both = net.node("Add", net.node("Conv", "x", kernel, kernel_shape=[1, 1]), "z")
    return norm(net, net.node("MaxPool", both, kernel_shape=[1, 1]))


@pytest.mark.parametrize(("channels", "places", "among"), [(768, 14, False), (768, 14, True), (64, 28, True)])
def test_transposes_that_reorders_take_in_are_no_gain(channels: int, places: int, among: bool) -> None:
    """Among convolutions the runtime has the channels last for nothing, and is fast where there are many of them."""
    net = Net(18, shape=(1, channels, places, places))
    kernel = net.weight(np.ones((channels, 1, 1, 1)))
    x = net.node("Conv", "x", kernel, kernel_shape=[1, 1], group=channels) if among else "x"
    last = net.node("Transpose", x, perm=[0, 2, 3, 1])
    normal = net.node("LayerNormalization", last, *(net.weight(np.ones(channels)) for _ in range(2)), axis=-1)
    model = net.model(net.node("Transpose", normal, perm=[0, 3, 1, 2]), net.node("Neg", "z"))
    result = optimize(model, target="onnxruntime", verify=False)
    made = [node.op_type for node in result.model.graph.node if node.domain == DOMAIN]  # type: ignore[union-attr]
    assert made == ([] if among and channels > 64 else ["ChannelLayerNorm"])


def behind_a_reshape(net: Net, norm: Spelling) -> str:
    return norm(net, net.node("Reshape", "x", net.weight(np.array([0, 8, 30, 25]))))


@pytest.mark.parametrize("norm", [batch_norm, mul_and_add])
def test_an_affine_among_convolutions_stays_in_their_layout(norm: Spelling) -> None:
    net = Net(18)
    assert native(net.model(behind_a_convolution(net, norm))) == []
    net = Net(18)
    last = net.node("LeakyRelu", behind_a_reshape(net, norm))
    assert [node.op_type for node in native(net.model(last, net.node("Neg", "z")))] == ["ChannelAffine"]


def test_a_normalization_among_convolutions_has_no_blocked_form_to_lose() -> None:
    net = Net(18)
    assert [node.op_type for node in native(net.model(behind_a_convolution(net, group_norm)))] == ["GroupNorm"]


def test_axes_of_one_element_make_no_difference() -> None:
    net = Net(18, shape=(1, 8, 25, 30))
    y = net.node("MeanVarianceNormalization", "x", axes=[0, 2, 3])
    model = net.model(y, net.node("Neg", "z"))
    result = optimize(model, target="onnxruntime", verify=True)
    (node,) = (node for node in result.model.graph.node if node.domain == DOMAIN)  # type: ignore[union-attr]
    assert attribute(node, "axes") == [2, 3]


def test_open_axes_are_no_hindrance() -> None:
    net = Net(18, shape=("batch", 8, "height", "width"))
    model = net.model(BENDS["Silu"](net, net.node("Add", group_norm(net), "z")))
    (node,) = native(model)
    assert node.input[3] == "z"


@pytest.mark.parametrize("element", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_other_types(element: int) -> None:
    net = Net(21, element=element)
    model = net.model(BENDS["Relu"](net, group_norm(net)), net.node("Neg", "z"))
    result = optimize(model, target="onnxruntime", verify=True)
    assert [n.op_type for n in result.model.graph.node if n.domain == DOMAIN] == ["GroupNorm"]  # type: ignore[union-attr]


def test_every_operator_is_made_by_some_pass() -> None:
    assert {op for _, _, op in SPELLINGS} == set(NORMS)
