"""What people export, item by item, by both of PyTorch's exporters: one node each, and the module's own results."""

from __future__ import annotations

import copy
import warnings
from collections import Counter

import numpy as np
import onnx
import onnx.checker
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import onnxnorm  # noqa: E402
from onnxnorm import OnnxNormError  # noqa: E402
from onnxnorm.errors import OnnxNormWarning  # noqa: E402
from onnxnorm.evaluate.evaluator import evaluate_float64  # noqa: E402
from onnxnorm.exporter import torchscript  # noqa: E402
from onnxnorm.layers import IntraChannelLRN  # noqa: E402
from testing.randomized import random, randomized  # noqa: E402

EXPORTERS = ("dynamo", "torchscript")
both = pytest.mark.parametrize("exporter", EXPORTERS)


def ops(model):
    return Counter(node.op_type for node in model.graph.node)


def opset(model):
    return next(entry.version for entry in model.opset_import if not entry.domain)


def check(model, module, *inputs):
    """Equal to the module in float64, but for attributes and folded constants in float32."""
    onnx.checker.check_model(model, full_check=True)
    # A copy of a module under the older hooks has to do without what they have computed.
    memo = {id(t): t.detach() for m in module.modules() for t in vars(m).values() if isinstance(t, torch.Tensor)}
    with torch.no_grad():
        want = copy.deepcopy(module, memo).double()(*(x.double() for x in inputs))
    want = [t.numpy() for t in (want if isinstance(want, tuple) else (want,))]
    names = [value.name for value in model.graph.input]
    got = evaluate_float64(model, {n: x.double().numpy() for n, x in zip(names, inputs, strict=True)})
    for a, b in zip(got.values(), want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())


class Call(nn.Module):
    """A function of the input and of weights for six channels."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.linspace(-0.5, 2, 6))
        self.bias = nn.Parameter(torch.linspace(-1, 1, 6))
        self.register_buffer("mean", torch.linspace(-0.3, 0.3, 6))
        self.register_buffer("var", torch.linspace(0.5, 2, 6))

    def forward(self, x):
        return self.function(self, x)


class FrozenBatchNorm2d(nn.Module):
    """torchvision's, written from its documentation: all four buffers are constants."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("weight", torch.linspace(0.5, 2, size))
        self.register_buffer("bias", torch.linspace(-1, 1, size))
        self.register_buffer("running_mean", torch.linspace(-0.3, 0.3, size))
        self.register_buffer("running_var", torch.linspace(0.5, 2, size))

    def forward(self, x):
        shape = (1, -1, 1, 1)
        scale = self.weight.reshape(shape) * (self.running_var.reshape(shape) + 1e-5).rsqrt()
        return x * scale + (self.bias.reshape(shape) - self.running_mean.reshape(shape) * scale)


class LlamaNorm(nn.Module):
    """The RMSNorm of Hugging Face's llama."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2, size))

    def forward(self, x):
        wide = x.to(torch.float32) if x.dtype == torch.float16 else x
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(x.dtype)


CALLS = [
    (lambda m, x: F.local_response_norm(x, 3, alpha=0.3, k=2.0), {"LRN": 1}),
    (lambda m, x: F.local_response_norm(x, 4, alpha=0.3), {"InterChannelLRN": 1, "Slice": 2}),
    (lambda m, x: F.layer_norm(x, (4,), m.weight[:4]), {"LayerNormalization": 1}),
    (lambda m, x: torch.layer_norm(x, [5, 4]), {"LayerNormalization": 1}),
    (lambda m, x: F.group_norm(x, 2, m.weight, m.bias), {"GroupNormalization": 1}),
    (lambda m, x: F.batch_norm(x, m.mean, m.var, m.weight), {"BatchNormalization": 1}),
    (lambda m, x: F.instance_norm(x, weight=m.weight, bias=m.bias), {"InstanceNormalization": 1}),
    (lambda m, x: F.instance_norm(x, m.mean, m.var, m.weight), {"InstanceNormalization": 1}),
    (lambda m, x: F.instance_norm(x, m.mean, m.var, use_input_stats=False), {"BatchNormalization": 1}),
    (lambda m, x: F.rms_norm(x, (4,), m.weight[:4], 1e-3), {"RMSNormalization": 1}),
    (lambda m, x: torch.rms_norm(x, [4]), {"RMSNormalization": 1}),
    # Its bound under the length is nothing that ONNX's operator knows.
    (lambda m, x: F.normalize(x, dim=1), {"ReduceL2": 1, "Clip": 1, "Expand": 1, "Div": 1}),
]


class Together(nn.Module):
    """Each on an input of its own; an export takes seconds, so that all share one."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        return tuple(part(x * (i + 1)) for i, part in enumerate(self.parts))


def ops_of(model, part):
    return Counter(node.op_type for node in model.graph.node if node.name.startswith(f"parts.{part}/"))


@both
def test_functional_calls(exporter):
    module, x = Together(Call(function) for function, _ in CALLS).eval(), random(2, 6, 5, 4)
    model = onnxnorm.export(module, x, exporter=exporter)
    for i, (_, expected) in enumerate(CALLS):
        assert ops_of(model, i) == expected
    check(model, module, x)


LAYERS = [
    (nn.BatchNorm2d(6), {"BatchNormalization": 1}),
    (nn.SyncBatchNorm(6), {"BatchNormalization": 1}),
    (FrozenBatchNorm2d(6), {"BatchNormalization": 1}),
    (nn.InstanceNorm2d(6, affine=True), {"InstanceNormalization": 1}),
    # https://github.com/pytorch/pytorch/issues/53887: exporters normalize by the input all the same.
    (nn.InstanceNorm2d(6, affine=True, track_running_stats=True), {"BatchNormalization": 1}),
    (nn.GroupNorm(3, 6), {"GroupNormalization": 1}),
    (nn.LayerNorm((5, 4)), {"LayerNormalization": 1}),
    (nn.RMSNorm(4), {"RMSNormalization": 1}),
    (LlamaNorm(4), {"RMSNormalization": 1}),
    (nn.LocalResponseNorm(5, 0.3), {"LRN": 1}),
    (IntraChannelLRN((3, 2), 0.3), {"IntraChannelLRN": 1}),
]


@both
def test_layers_with_the_batch_open(exporter):
    module, x = randomized(Together(copy.deepcopy(layer) for layer, _ in LAYERS)), random(2, 6, 5, 4)
    model = onnxnorm.export(module, x, dynamic_shapes=[{0: "batch"}], exporter=exporter)
    for i, (layer, expected) in enumerate(LAYERS):
        assert ops_of(model, i) == expected, layer
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert opset(model) == 23
    check(model, module, x)
    check(model, module, random(3, 6, 5, 4))


@both
def test_an_rms_norm_by_hand_asks_for_opset_23_unless_another_is_given(exporter):
    module, x = randomized(LlamaNorm(4)), random(2, 6, 4)
    model = onnxnorm.export(module, x, exporter=exporter)
    assert (ops(model), opset(model)) == ({"RMSNormalization": 1}, 23)
    older = onnxnorm.export(module, x, opset=21, exporter=exporter)
    assert opset(older) == 21
    assert "RMSNormalization" not in ops(older)


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_types(dtype, exporter):
    """Their comparison with the module is part of the export: it warns where it could not be done."""
    module = nn.Sequential(
        nn.BatchNorm2d(6), nn.GroupNorm(2, 6), nn.LayerNorm(4), nn.InstanceNorm2d(6), nn.LocalResponseNorm(3, 0.3)
    )
    module, x = randomized(module).to(dtype), random(2, 6, 5, 4).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OnnxNormWarning)
        model = onnxnorm.export(module, x, exporter=exporter)
    lrn = "LRN" if dtype is torch.float16 else "InterChannelLRN"
    found = ops(model)
    if dtype is torch.bfloat16:
        # Between casts, since onnxruntime has no kernels for it.
        del found["Cast"]
    if dtype is torch.float64:
        # onnxruntime has no InstanceNormalization of doubles: one group a channel is the same.
        found["GroupNormalization"], found["InstanceNormalization"] = found["GroupNormalization"] - 1, 1
    names = ("BatchNormalization", "GroupNormalization", "LayerNormalization", "InstanceNormalization", lrn)
    assert found == dict.fromkeys(names, 1)
    element = {torch.float16: 10, torch.bfloat16: 16, torch.float64: 11}[dtype]
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {element}


@both
def test_a_wrong_epsilon_of_a_half_module_is_seen(exporter, monkeypatch):
    """It is less than a few roundings of the half type: the comparison in double precision has to find it."""
    from onnxnorm.exporter import tidy

    right = tidy.clean

    def wrong(model, *between):
        right(model, *between)
        for node in model.graph:
            if "epsilon" in node.attributes:
                node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 2e-2)

    monkeypatch.setattr(tidy, "clean", wrong)
    module = nn.LayerNorm(4, eps=1e-2).half().eval()
    with pytest.raises(OnnxNormError, match="computes something else"):
        onnxnorm.export(module, random(2, 4).half(), exporter=exporter)


@both
@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: F.batch_norm(x, None, None, training=True),
        lambda m, x: F.batch_norm(x, m.mean, m.var, None, m.bias, True),
    ],
    ids=["without", "unused"],
)
def test_statistics_of_the_batch_are_exported_and_said(function, exporter):
    module, x = Call(function).eval(), random(2, 6, 5, 4)
    with pytest.warns(OnnxNormWarning, match=r"normalizing each batch by its own statistics"):
        model = onnxnorm.export(module, x, dynamic_shapes=[{0: "batch"}], exporter=exporter)
    assert ops(model)["InstanceNormalization"] == 1
    torch.testing.assert_close(module.mean, torch.linspace(-0.3, 0.3, 6))
    for batch in (x, random(4, 6, 5, 4)):
        fresh = copy.deepcopy(module)
        check(model, fresh, batch)


@both
def test_the_warning_names_the_layer(exporter):
    module = randomized(nn.Sequential(nn.ReLU(), nn.Sequential(nn.BatchNorm2d(6, track_running_stats=False))))
    with pytest.warns(OnnxNormWarning, match=r"Sequential\.1\.0 keeps no running statistics"):
        onnxnorm.export(module, random(2, 6, 5, 4), exporter=exporter)


# Weights that are computed.


def _hooked():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(
            nn.utils.weight_norm(nn.Conv2d(6, 4, 3)),
            nn.utils.spectral_norm(nn.Conv2d(4, 4, 1, bias=False)),
            nn.utils.weight_norm(nn.ConvTranspose2d(4, 2, 1), dim=None),
        )


def _parametrized():
    p = nn.utils.parametrizations
    return nn.Sequential(
        p.weight_norm(nn.Conv2d(6, 4, 3)),
        p.spectral_norm(p.weight_norm(nn.Conv2d(4, 4, 1, bias=False))),
        p.orthogonal(nn.Linear(2, 2, bias=False)),
    )


@both
@pytest.mark.parametrize("make", [_hooked, _parametrized])
def test_computed_weights_are_plain_and_the_module_keeps_its_own(make, exporter):
    module = make()
    module(random(2, 6, 5, 4))  # a power iteration of the spectral norm
    module.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    kinds = [type(part) for part in module.modules()]
    x = random(2, 6, 5, 4)
    model = onnxnorm.export(module, x, exporter=exporter)
    assert not {"Sqrt", "ReduceL2", "ReduceSum", "Div", "Mul"} & set(ops(model))
    names = {tensor.name for tensor in model.graph.initializer}
    assert {"0.weight", "0.bias", "1.weight"} <= names
    assert not any("weight_g" in name or "original" in name for name in names)
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [type(part) for part in module.modules()] == kinds
    check(model, module, x)


@both
def test_lazy_layers_once_they_have_a_shape(exporter):
    module = nn.Sequential(nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.LazyInstanceNorm2d(affine=True)).eval()
    x = random(2, 3, 5, 4)
    with pytest.raises(OnnxNormError, match=r"Sequential\.0\.weight has no shape yet .*run the module once"):
        onnxnorm.export(module, x, exporter=exporter)
    with torch.no_grad():
        module(x)
    model = onnxnorm.export(randomized(module), x, exporter=exporter)
    # A LazyInstanceNorm keeps running statistics once it has been initialized.
    assert ops(model) == {"Conv": 1, "BatchNormalization": 2}
    check(model, module, x)


# Several inputs, shared modules, nested results.


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(6)
        self.again = self.norm
        self.deep = nn.Sequential(nn.ReLU(), nn.Sequential(self.norm, nn.GroupNorm(2, 6)))

    def forward(self, x, pair, *, gain=None, flag=True):
        total = self.norm(x) + self.again(pair[0])
        return {"sum": total if flag else x, "rest": [self.deep(pair[1]), gain * 2]}


@both
def test_several_inputs_shared_modules_and_nested_results(exporter):
    module = randomized(Shared())
    args = {"x": random(2, 6, 5, 4), "pair": (random(2, 6, 5, 4), random(2, 6, 5, 4)), "gain": random(3)}
    batch = {0: "batch"}
    shapes = {"x": batch, "pair": (batch, batch)}
    model = onnxnorm.export(module, args, dynamic_shapes=shapes, exporter=exporter)
    assert [value.name for value in model.graph.input] == ["x", "pair_0", "pair_1", "gain"]
    assert len(model.graph.output) == 3
    assert ops(model)["GroupNormalization"] == 1
    weights = {node.input[1] for node in model.graph.node if node.op_type == "BatchNormalization"}
    assert weights == {"norm.weight"}
    feeds = [args["x"], *args["pair"], args["gain"]]
    with torch.no_grad():
        want = module.double()(args["x"].double(), tuple(t.double() for t in args["pair"]), gain=args["gain"].double())
    names = [value.name for value in model.graph.input]
    got = evaluate_float64(model, {n: t.double().numpy() for n, t in zip(names, feeds, strict=True)})
    for a, b in zip(got.values(), (want["sum"], *want["rest"]), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-6, atol=1e-6)


# Refusals, by either exporter the same.


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_compiled_and_quantized_modules_get_one_clear_error():
    from torch.ao import quantization
    from torch.ao.quantization import quantize_fx

    x = random(2, 6, 5, 4)
    plain = nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)).eval()
    mapping = quantization.get_default_qconfig_mapping()
    prepared = quantize_fx.prepare_fx(copy.deepcopy(plain), mapping, (x,))
    prepared(x)
    dynamic = quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
    trained = nn.Sequential(nn.Conv2d(6, 6, 3))
    trained.qconfig = quantization.get_default_qat_qconfig()
    cases = [
        (torch.compile(plain), "compiled by torch.compile"),
        (prepared, "is prepared for quantization"),
        (quantization.prepare_qat(trained.train()).eval(), "is prepared for quantization"),
        (quantize_fx.convert_fx(prepared), "is quantized, and ONNX has no form"),
        (dynamic, "is quantized, and ONNX has no form"),
    ]
    for module, message in cases:
        with pytest.raises(OnnxNormError, match=message):
            onnxnorm.export(module, x)


def test_an_unknown_exporter():
    with pytest.raises(OnnxNormError, match=r"exporter must be one of dynamo, torchscript, not 'jit'"):
        onnxnorm.export(nn.ReLU(), random(2), exporter="jit")


# What the older exporter alone can do.


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(x) if x.sum() > 0 else x


def test_a_branch_on_a_tensor_is_fixed_by_torchscript_and_refused_by_dynamo():
    module, x = Branching().eval(), random(2, 4).abs()
    with pytest.raises(OnnxNormError, match=r'cannot trace Branching: .*exporter="torchscript"\) takes it'):
        onnxnorm.export(module, x)
    assert ops(onnxnorm.export(module, x, exporter="torchscript")) == {"LayerNormalization": 1}


def test_old_opsets_by_torchscript():
    module, x = randomized(nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm(2))), random(2, 6, 5, 4)
    model = onnxnorm.export(module, x, opset=11, exporter="torchscript")
    assert opset(model) == 11
    assert ops(model)["BatchNormalization"] == 1
    assert ops(model)["ReduceMean"] == 2
    check(model, module, x)
    with pytest.raises(OnnxNormError, match="whole number from 9"):
        onnxnorm.export(module, x, opset=8, exporter="torchscript")


def test_nodes_and_values_bear_the_names_of_the_module():
    module = randomized(nn.Sequential(nn.Conv2d(6, 6, 1, bias=False), nn.Sequential(nn.BatchNorm2d(6))))
    model = onnxnorm.export(module, random(2, 6, 5, 4), exporter="torchscript")
    assert [node.name for node in model.graph.node] == ["0/Conv", "1.0/BatchNormalization"]
    assert {tensor.name for tensor in model.graph.initializer} == {
        "0.weight", "1.0.weight", "1.0.bias", "1.0.running_mean", "1.0.running_var"
    }  # fmt: skip
    assert [a.name for a in model.graph.node[1].attribute] == ["epsilon"]


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def forward(self, x):
        self.calls.add_(1)
        self.last = x.sum()
        return x * 2


def test_the_buffers_of_a_traced_module_are_kept():
    module = Counting().eval()
    last = module.last
    onnxnorm.export(module, random(2, 4), exporter="torchscript")
    assert module.calls == 0
    assert module.last is last
    assert last == 0


def test_torchscript_keeps_quiet(capfd):
    class NoForm(nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x)[1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onnxnorm.export(nn.LocalResponseNorm(4).eval(), random(2, 4, 5, 5), exporter="torchscript")
        with pytest.raises(OnnxNormError, match="NoForm has no ONNX form for the TorchScript exporter"):
            onnxnorm.export(NoForm().eval(), random(2, 2), exporter="torchscript")
    assert capfd.readouterr() == ("", "")


def test_a_pytorch_without_the_older_exporter(monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", lambda *args, f=None: None)
    with pytest.raises(OnnxNormError, match="has one exporter alone"):
        onnxnorm.export(nn.ReLU().eval(), random(2), exporter="torchscript")
    assert torchscript.OLDEST_OPSET == 9
