"""Exports in every type are files that ONNX's checker passes and onnxruntime runs, with the module's own results."""

from __future__ import annotations

import re
import warnings

import ml_dtypes
import numpy as np
import onnx
import onnx.checker
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import onnxnorm  # noqa: E402
from onnxnorm import OnnxNormError  # noqa: E402
from onnxnorm.errors import OnnxNormWarning  # noqa: E402
from onnxnorm.exporter import kernels  # noqa: E402
from onnxnorm.exporter.operand_types import settle_types  # noqa: E402
from onnxnorm.layers import InterChannelLRN, IntraChannelLRN  # noqa: E402
from onnxnorm.runtime.unoptimized import PlainSession  # noqa: E402
from testing.randomized import random, randomized  # noqa: E402

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Each(nn.Module):
    """Layers side by side on one input (N, 6, 5, 4)."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        return tuple(layer(x.flatten(2) if isinstance(layer, RANK_3) else x) for layer in self.layers)


class Autocast(nn.Module):
    def __init__(self, module, dtype):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x):
        with torch.autocast("cpu", dtype=self.dtype):
            return self.module(x)


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


RANK_3 = (nn.BatchNorm1d, nn.InstanceNorm1d, nn.Conv1d)


def normalizations():
    return [
        nn.BatchNorm1d(6),
        nn.BatchNorm2d(6, affine=False),
        nn.LayerNorm(4),
        nn.LayerNorm((5, 4), elementwise_affine=False),
        nn.InstanceNorm1d(6, affine=True),
        nn.InstanceNorm2d(6),
        nn.GroupNorm(3, 6),
        nn.GroupNorm(2, 6, affine=False),
        nn.RMSNorm(4),
    ]


def local_normalizations():
    return [InterChannelLRN(3, 0.3), InterChannelLRN(4, 0.3), IntraChannelLRN((3, 2), 0.3)]


def products():
    return [
        nn.Conv1d(6, 4, 3),
        nn.Conv2d(6, 4, 3, padding=1, bias=False),
        nn.ConvTranspose2d(6, 4, 3),
        nn.Linear(4, 3),
        nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.InstanceNorm2d(6), nn.MaxPool2d(2)),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2)),
    ]


def pytorch_lrn():
    return [Call(lambda x: F.local_response_norm(x, 3, 0.3, k=1.5))]


def typed(kind):
    """The module and its input: all in one type, a half input of float weights, or under autocast."""
    how, _, name = kind.partition(" ")
    x = random(2, 6, 5, 4)
    if how == "all":
        dtype = getattr(torch, name)
        layers = normalizations() + local_normalizations() + (products() if dtype is not torch.float64 else [])
        return randomized(Each(layers)).to(dtype), x.to(dtype)
    dtype = HALVES[name]
    if how == "half-input":
        # PyTorch has no instance normalization of bfloat16 with float weights.
        return randomized(Each(normalizations())), x.to(dtype)
    module = randomized(Each([*normalizations(), *local_normalizations(), *products(), *pytorch_lrn()]))
    return Autocast(module, dtype).eval(), x if how == "autocast" else x.to(dtype)


def export(module, x, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", OnnxNormWarning)
        return onnxnorm.export(module, x, **options)


def array(tensor):
    if tensor.dtype is torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def check(model, module, x, eps):
    """The checker passes the model, and onnxruntime computes what PyTorch does but for a few roundings."""
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        want = [array(t) for t in module(x)]
    for i, (a, b) in enumerate(zip(PlainSession(model).run([array(x)]), want, strict=True)):
        assert a.dtype == b.dtype, i
        a, b = a.astype(np.float64), b.astype(np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=16 * eps * np.abs(b).max(), err_msg=str(i))


EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-24}
"""float64 modules keep epsilon and alpha as ONNX does, in float32."""


TORCHSCRIPT = [
    (17, "all bfloat16"),
    (17, "half-input bfloat16"),
    (17, "half-input float16"),
    (17, "autocast bfloat16"),
    (17, "autocast float16"),
    (20, "autocast-of-half bfloat16"),
    (23, "all bfloat16"),
    (23, "all float64"),
    (23, "half-input float16"),
    (23, "autocast bfloat16"),
]


@pytest.mark.parametrize(("opset", "kind"), TORCHSCRIPT)
def test_every_type_by_torchscript(kind, opset):
    module, x = typed(kind)
    check(export(module, x, opset=opset, exporter="torchscript"), module, x, EPS[kind.split()[-1]])


DYNAMO = [(17, "half-input float16"), (18, "autocast bfloat16"), (23, "all bfloat16"), (23, "all float64")]


@pytest.mark.parametrize(("opset", "kind"), DYNAMO)
def test_every_type_by_dynamo(kind, opset):
    module, x = typed(kind)
    check(export(module, x, opset=opset), module, x, EPS[kind.split()[-1]])


# What the step changes, and what it leaves.


def settled(model):
    """The model after the step, and what the step says of it; ONNX's message of it is left as it is."""
    changed = ir.from_proto(model)
    left = settle_types(changed)
    return ir.to_proto(changed), left


def same(model):
    return ir.to_proto(ir.from_proto(model)).SerializeToString(deterministic=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_model_that_fits_is_left_bit_for_bit(dtype):
    layers = [*normalizations(), *local_normalizations(), *products()]
    module, x = randomized(Each(layers)).to(dtype), random(2, 6, 5, 4).to(dtype)
    model = export(module, x, opset=23, exporter="torchscript")
    changed, left = settled(model)
    assert left == ()
    assert changed.SerializeToString(deterministic=True) == same(model)
    made = {tensor.data_type for tensor in model.graph.initializer} - {TensorProto.INT64}
    assert made == {{torch.float32: TensorProto.FLOAT, torch.float16: TensorProto.FLOAT16}[dtype]}
    assert "Cast" not in {node.op_type for node in model.graph.node}


def model_of(nodes, inputs, outputs, opset=20, weights=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, element, shape) for name, (element, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, element, shape) for name, (element, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in dict(weights).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def with_types(model, **elements):
    for name, element in elements.items():
        model.graph.value_info.append(helper.make_tensor_value_info(name, element, None))
    return model


MIXED = [
    (TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.FLOAT16),
    (TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.BFLOAT16),
    (TensorProto.BFLOAT16, TensorProto.FLOAT16, TensorProto.FLOAT),
    (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT),
    (TensorProto.BFLOAT16, TensorProto.BFLOAT16, TensorProto.BFLOAT16),
]


@pytest.mark.parametrize("kinds", MIXED, ids=lambda kinds: "-".join(map(TensorProto.DataType.Name, kinds)))
@pytest.mark.parametrize(
    ("op_type", "attributes"), [("Mul", {}), ("MatMul", {}), ("Max", {}), ("Sub", {}), ("Concat", {"axis": 0})]
)
def test_any_operator_with_operands_of_two_types(op_type, attributes, kinds):
    a, b, y = kinds
    nodes = [
        helper.make_node(op_type, ["a", "b"], ["h"], name="part/node", **attributes),
        helper.make_node("Identity", ["h"], ["y"], name="part/end"),
    ]
    model = with_types(model_of(nodes, {"a": (a, (3, 3)), "b": (b, (3, 3))}, {"y": (y, ("rows", 3))}), h=y)
    changed, left = settled(model)
    assert left == ()
    onnx.checker.check_model(changed, full_check=True)
    arrays = [np.linspace(-2, 3, 9).reshape(3, 3).astype(helper.tensor_dtype_to_np_dtype(each)) for each in (a, b)]
    (got,) = PlainSession(changed).run(arrays)
    assert got.dtype == helper.tensor_dtype_to_np_dtype(y)
    first, second = (torch.from_numpy(each.astype(np.float64)) for each in arrays)
    want = {
        "Mul": torch.mul,
        "MatMul": torch.matmul,
        "Max": torch.maximum,
        "Sub": torch.sub,
        "Concat": lambda p, q: torch.cat([p, q]),
    }[op_type](first, second)
    eps = {TensorProto.BFLOAT16: 2.0**-8, TensorProto.FLOAT16: 2.0**-11}.get(y, 2.0**-23)
    np.testing.assert_allclose(got.astype(np.float64), want.numpy(), rtol=eps, atol=eps)


def test_only_what_onnxruntime_lacks_is_cast_and_each_value_once():
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="Transpose"),
        helper.make_node("Relu", ["t"], ["r"], name="m/Relu"),
        helper.make_node("Sigmoid", ["t"], ["s"], name="m/Sigmoid"),
        helper.make_node("Concat", ["r", "s"], ["y"], name="Concat", axis=0),
    ]
    half = TensorProto.BFLOAT16
    model = with_types(model_of(nodes, {"x": (half, (2, 3))}, {"y": (half, ("rows", 2))}), t=half, r=half, s=half)
    changed, left = settled(model)
    assert left == ()
    ops = [node.op_type for node in changed.graph.node]
    assert ops == ["Transpose", "Cast", "Relu", "Cast", "Sigmoid", "Cast", "Concat"]
    assert [node.name for node in changed.graph.node if node.op_type == "Cast"] == ["m/Cast", "m/Cast_1", "m/Cast_2"]
    assert changed.graph.node[-1].output[0] == "y"


def test_branches_are_settled_too():
    half = TensorProto.BFLOAT16
    inner = [helper.make_node("Mul", ["x", "w"], ["m"], name="Mul")]
    branch = helper.make_graph(inner, "b", [], [helper.make_tensor_value_info("m", half, (2,))])
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["i"], name="Identity")],
        "c",
        [],
        [helper.make_tensor_value_info("i", half, (2,))],
    )
    nodes = [helper.make_node("If", ["c"], ["y"], name="If", then_branch=branch, else_branch=other)]
    model = model_of(
        nodes,
        {"c": (TensorProto.BOOL, ()), "x": (half, (2,))},
        {"y": (half, (2,))},
        weights={"w": np.array([2.0, 0.5], np.float32)},
    )
    changed, left = settled(model)
    assert left == ()
    onnx.checker.check_model(changed, full_check=True)
    x = np.array([3, 4], ml_dtypes.bfloat16)
    for taken, want in ((True, [6, 2]), (False, [3, 4])):
        np.testing.assert_array_equal(PlainSession(changed).run([np.array(taken), x])[0].astype(float), want)


UNMENDED = [
    ("Mul", TensorProto.INT64, TensorProto.FLOAT, r"Mul 'here' on float: its definition takes operands of one type"),
    ("Mul", TensorProto.BOOL, TensorProto.BOOL, r"Mul 'here'.*: no type of its definition at opset 20"),
    ("Conv", TensorProto.DOUBLE, TensorProto.DOUBLE, r"Conv 'here' on double: onnxruntime has no kernel for it"),
    ("Conv", TensorProto.FLOAT, TensorProto.FLOAT, None),
]


@pytest.mark.parametrize(("op_type", "a", "b", "reason"), UNMENDED)
def test_what_casts_cannot_mend_is_left_and_named(op_type, a, b, reason):
    model = model_of(
        [helper.make_node(op_type, ["a", "b"], ["y"], name="here")],
        {"a": (a, (1, 1, 2, 2)), "b": (b, (1, 1, 2, 2))},
        {"y": (a, (1, 1, 2, 2))},
    )
    changed, left = settled(model)
    assert changed.SerializeToString(deterministic=True) == same(model)
    assert len(left) == (reason is not None)
    for text in left:
        assert re.fullmatch(reason, text)


def test_a_large_weight_stays_in_its_type_and_is_cast_at_run_time():
    module = nn.Linear(256, 128, bias=False).to(torch.bfloat16).eval()
    model = export(module, random(2, 256).to(torch.bfloat16), exporter="torchscript")
    assert [tensor.data_type for tensor in model.graph.initializer] == [TensorProto.BFLOAT16]
    small = export(
        nn.BatchNorm1d(6).to(torch.bfloat16).eval(), random(2, 6, 3).to(torch.bfloat16), exporter="torchscript"
    )
    assert {tensor.name for tensor in small.graph.initializer} == {"weight", "bias", "running_mean", "running_var"}
    assert {tensor.data_type for tensor in small.graph.initializer} == {TensorProto.FLOAT}


@pytest.mark.parametrize("opset", [20, 23])
def test_batch_norms_of_a_half_module_fold_and_the_rest_has_its_casts(opset):
    layers = (nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.InstanceNorm2d(4))
    module, x = randomized(nn.Sequential(*layers)).to(torch.bfloat16), random(2, 6, 5, 4).to(torch.bfloat16)
    model = export(module, x, opset=opset, fold=True, exporter="torchscript")
    found = [node.op_type for node in model.graph.node if node.op_type != "Cast"]
    assert found == ["Conv", "Relu", "InstanceNormalization"]
    onnx.checker.check_model(model, full_check=True)
    (got,) = PlainSession(model).run([array(x)])
    want = array(module(x).detach()).astype(np.float64)
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=0, atol=16 * EPS["bfloat16"] * np.abs(want).max())


# What cannot be mended is said.


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(("layer", "op_type"), [(nn.Conv2d(6, 4, 3), "Conv"), (nn.GELU(), "Gelu")])
def test_doubles_without_a_kernel_are_one_warning_that_names_node_and_type(layer, op_type, verify):
    module = nn.Sequential(nn.ReLU(), layer).double().eval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = onnxnorm.export(module, random(2, 6, 5, 4).double(), verify=verify, exporter="torchscript")
    messages = [str(each.message) for each in caught if issubclass(each.category, OnnxNormWarning)]
    assert len(messages) == 1
    assert re.search(rf"onnxruntime does not run the exported model: {op_type} '1/{op_type}' on double", messages[0])
    onnx.checker.check_model(model, full_check=True)


def test_a_kernel_is_asked_for_by_types():
    node = ir.node("Relu", [ir.Value(name="x")])
    assert kernels.refusal(node, [ir.DataType.FLOAT], 20) is None
    reason = kernels.refusal(node, [ir.DataType.STRING], 20)
    assert reason
    assert not kernels.is_missing_kernel(reason)
    conv = ir.node("Conv", [ir.Value(name="x"), ir.Value(name="w")])
    assert kernels.is_missing_kernel(kernels.refusal(conv, [ir.DataType.DOUBLE] * 2, 20) or "")
    assert kernels.refusal(conv, [ir.DataType.FLOAT] * 2, 20) is None


# The comparison with the module under autocast.


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(2, channels)
        self.second, self.batch = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.batch(self.second(torch.relu(self.norm(self.first(x)))))


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("seed", range(2))
def test_a_network_under_autocast_is_no_mistake_and_another_epsilon_is(name, seed, monkeypatch):
    """Its float weights are rounded constants of the model, which a float64 evaluation takes for other weights."""
    from onnxnorm.exporter import tidy

    network = nn.Sequential(Block(8), Block(8), nn.Flatten(2), nn.Linear(49, 5), nn.LayerNorm(5))
    module = Autocast(randomized(network, seed=seed), HALVES[name]).eval()
    x = random(2, 8, 7, 7, seed=seed)
    export(module, x, exporter="torchscript")
    right = tidy.clean

    def wrong(model, *between):
        right(model, *between)
        for node in model.graph:
            if node.op_type == "LayerNormalization":
                node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 50.0)

    monkeypatch.setattr(tidy, "clean", wrong)
    with pytest.raises(OnnxNormError, match="computes something else"):
        onnxnorm.export(module, x, exporter="torchscript")
