"""Each normalization becomes one node that computes what the module computes, whatever the lengths of open axes."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import onnx
import onnx.checker
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import onnxnorm  # noqa: E402
from onnxnorm import OnnxNormError  # noqa: E402
from onnxnorm.errors import OnnxNormWarning  # noqa: E402
from onnxnorm.evaluate.evaluator import evaluate_float64  # noqa: E402
from onnxnorm.exporter import preconditions  # noqa: E402
from onnxnorm.layers import InterChannelLRN, IntraChannelLRN, PerActivationBatchNorm  # noqa: E402
from testing.randomized import random, randomized  # noqa: E402

NORMALIZATIONS = {
    "BatchNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "InterChannelLRN",
    "IntraChannelLRN",
    "LRN",
    "LayerNormalization",
    "RMSNormalization",
}


class Parallel(nn.Module):
    """Layers side by side: one input, one output each."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        return tuple(layer(x) for layer in self.layers)


def ops(model, prefix=""):
    return Counter(node.op_type for node in model.graph.node if node.name.startswith(prefix))


def normalizations(model, prefix=""):
    return [op for op in ops(model, prefix).elements() if op in NORMALIZATIONS]


def run(model, *inputs):
    """In onnxruntime, with its optimizations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs, strict=True)})


def check(model, module, *inputs):
    """Equal to the module in float64 but for float32 attributes, and in onnxruntime but for float32 rounding."""
    onnx.checker.check_model(model, full_check=True)
    exact_module = copy.deepcopy(module).double()
    with torch.no_grad():
        want = exact_module(*(x.double() for x in inputs))
    want = [t.numpy() for t in (want if isinstance(want, tuple) else (want,))]
    names = [i.name for i in model.graph.input]
    exact = evaluate_float64(model, {n: x.double().numpy() for n, x in zip(names, inputs, strict=True)})
    for expected, in_float64, in_float32 in zip(want, exact.values(), run(model, *inputs), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(in_float64, expected, rtol=1e-6, atol=1e-7 * scale)
        np.testing.assert_allclose(in_float32, expected, rtol=1e-4, atol=1e-5 * scale)


def layers_for(spatial):
    """(layer, its one node, what may stand beside it) for inputs (N, 6, *spatial)."""
    rank = len(spatial) + 2
    batch_norm = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[rank]
    instance_norm = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}[rank]
    odd_lrn = "LRN" if rank == 4 else "InterChannelLRN"
    flips = {"Slice": 2}
    return [
        (batch_norm(6), "BatchNormalization", {}),
        (batch_norm(6, affine=False, eps=1e-3), "BatchNormalization", {}),
        (instance_norm(6), "InstanceNormalization", {}),
        (instance_norm(6, affine=True), "InstanceNormalization", {}),
        (instance_norm(6, affine=True, track_running_stats=True), "BatchNormalization", {}),
        (nn.GroupNorm(3, 6), "GroupNormalization", {}),
        (nn.GroupNorm(2, 6, affine=False), "GroupNormalization", {}),
        (nn.LayerNorm(spatial[-1]), "LayerNormalization", {}),
        (nn.LayerNorm((6, *spatial), bias=False), "LayerNormalization", {}),
        (nn.LayerNorm(spatial[-1:], elementwise_affine=False), "LayerNormalization", {}),
        (nn.LocalResponseNorm(5, 0.3, 0.75, 2.0), odd_lrn, {}),
        (nn.LocalResponseNorm(4, 0.3), "InterChannelLRN", flips),
        (InterChannelLRN(3, 0.3, 0.5), odd_lrn, {}),
        (InterChannelLRN(4, 0.3), "InterChannelLRN", {}),
        (InterChannelLRN.from_torch(2, 0.3), "InterChannelLRN", flips),
        (InterChannelLRN(9, 0.3), odd_lrn, {}),
        (IntraChannelLRN((3, 2, 5)[: len(spatial)], 0.3), "IntraChannelLRN", {}),
        (PerActivationBatchNorm((6, *spatial)), "BatchNormalization", {"Reshape": 2}),
    ]


@pytest.mark.parametrize("spatial", [(5,), (5, 4), (3, 5, 4)])
def test_every_layer_becomes_one_node(spatial):
    cases = layers_for(spatial)
    module = randomized(Parallel(*(layer for layer, _, _ in cases)))
    x = random(2, 6, *spatial)
    model = onnxnorm.export(module, x, dynamic_shapes=[{0: "batch"}])
    for i, (layer, op, beside) in enumerate(cases):
        assert ops(model, f"layers.{i}/") == {op: 1, **beside}, layer
    assert [i.version for i in model.opset_import if not i.domain] == [21]
    check(model, module, x)
    check(model, module, random(1, 6, *spatial))


def test_rms_norm_is_one_node_at_opset_23_and_written_out_before():
    module = randomized(Parallel(nn.RMSNorm(5), nn.RMSNorm((4, 5), eps=1e-2), nn.RMSNorm(5, elementwise_affine=False)))
    x = random(2, 3, 4, 5)
    model = onnxnorm.export(module, x, dynamic_shapes=[{0: "batch", 1: "rows"}])
    assert ops(model) == {"RMSNormalization": 3}
    assert [i.version for i in model.opset_import if not i.domain] == [23]
    check(model, module, x)
    check(model, module, random(3, 1, 4, 5))
    older = onnxnorm.export(module, x, opset=21)
    assert "RMSNormalization" not in ops(older)
    assert ops(older)["ReduceMean"] == 3
    check(older, module, x)


def test_spatial_axes_may_be_open():
    layers = (
        nn.BatchNorm2d(6),
        nn.InstanceNorm2d(6),
        nn.GroupNorm(2, 6),
        nn.LocalResponseNorm(3, 0.3),
        nn.LocalResponseNorm(4, 0.3),
        IntraChannelLRN((3, 2), 0.3),
    )
    module = randomized(Parallel(*layers))
    x = random(2, 6, 5, 4)
    model = onnxnorm.export(module, x, dynamic_shapes={"x": {0: "batch", 2: "height", 3: "width"}})
    dims = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 6, "height", "width"]
    assert len(normalizations(model)) == len(layers)
    for shape in ((2, 6, 5, 4), (1, 6, 9, 3), (3, 6, 2, 11)):
        check(model, module, random(*shape))


def test_functional_calls_become_one_node_too():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))
            self.register_buffer("running_var", torch.ones(6))

        def forward(self, x):
            w = self.weight
            return (
                F.local_response_norm(x, 3, alpha=0.3, k=2.0),
                F.batch_norm(x, w, self.running_var, bias=w),
                torch.layer_norm(x, [4], self.weight[:4]),
                F.group_norm(x, 2, w),
                F.instance_norm(x, weight=w, bias=w),
                F.layer_norm(x, x.shape[2:]),
            )

    module = randomized(Functional())
    x = random(2, 6, 5, 4)
    model = onnxnorm.export(module, x)
    assert sorted(normalizations(model)) == [
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "LayerNormalization",
    ]
    check(model, module, x)


def test_group_norm_before_opset_21():
    module = randomized(Parallel(nn.GroupNorm(3, 6), nn.GroupNorm(2, 6, affine=False)))
    x = random(2, 6, 5, 4)
    model = onnxnorm.export(module, x, opset=18, dynamic_shapes=[{0: "batch", 3: "width"}])
    assert normalizations(model) == ["InstanceNormalization"] * 2
    check(model, module, x)
    check(model, module, random(1, 6, 5, 7))


def test_older_opsets_by_conversion():
    module = randomized(nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.LocalResponseNorm(3)))
    x = random(2, 6, 5, 4)
    model = onnxnorm.export(module, x, opset=13)
    assert [i.version for i in model.opset_import if not i.domain] == [13]
    assert ops(model) == {"Conv": 1, "BatchNormalization": 1, "LRN": 1}
    check(model, module, x)
    # What the older opset has not is written out.
    model = onnxnorm.export(randomized(nn.LayerNorm(4)), x, opset=16)
    assert ops(model)["ReduceMean"] == 2
    # What ONNX defines by older operators becomes those.
    model = onnxnorm.export(nn.Hardswish().eval(), x, opset=13)
    assert "HardSwish" not in ops(model)
    check(model, nn.Hardswish().eval(), x)
    with pytest.raises(
        OnnxNormError, match=r'GridSample .* no form at opset 13 .*; --exporter torchscript .*exporter="torchscript"'
    ):
        onnxnorm.export(Sampled().eval(), x, opset=13)


class Sampled(nn.Module):
    def forward(self, x):
        return F.grid_sample(x, torch.tanh(x[:, :2, :, :2]).permute(0, 2, 1, 3), align_corners=False)


# Convolutions and their BatchNormalizations.


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv1d(4, 6, 3, bias=False, padding=1), nn.BatchNorm1d(6))
        self.two = nn.Sequential(nn.Conv2d(4, 6, 3, bias=False, groups=2, stride=2, padding=(1, 2)), nn.BatchNorm2d(6))
        self.three = nn.Sequential(nn.Conv3d(4, 6, 3, bias=False, dilation=2, padding=2), nn.BatchNorm3d(6))
        self.same = nn.Sequential(nn.Conv2d(4, 6, 4, padding="same"), nn.BatchNorm2d(6))
        self.transposed = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, bias=False, groups=2), nn.BatchNorm2d(6))
        self.linear = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Dropout(), nn.LayerNorm(6))

    def forward(self, x):
        return (
            self.one(x.flatten(2)),
            self.two(x),
            self.three(x.unsqueeze(-1)),
            self.same(x),
            self.transposed(x),
            self.linear(x.transpose(1, 3)),
        )


@pytest.fixture(scope="module")
def blocks():
    module = randomized(Blocks())
    return module, onnxnorm.export(module, random(2, 4, 5, 6), dynamic_shapes=[{0: "batch"}])


def test_batch_norms_stay_and_missing_biases_stay_missing(blocks):
    module, model = blocks
    assert ops(model)["BatchNormalization"] == 5
    convolutions = {n.name: n for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose")}
    assert {name: len(n.input) for name, n in convolutions.items()} == {
        "one.0/Conv": 2,
        "two.0/Conv": 2,
        "three.0/Conv": 2,
        "same.0/Conv": 3,
        "transposed.0/ConvTranspose": 2,
    }
    check(model, module, random(2, 4, 5, 6))
    check(model, module, random(1, 4, 5, 6))


def test_nothing_constant_is_left_to_compute(blocks):
    _, model = blocks
    known = {t.name for t in model.graph.initializer}
    assert not any(known.issuperset(filter(None, node.input)) for node in model.graph.node)
    assert not {"Constant", "Identity", "Dropout", "Shape", "CastLike"} & set(ops(model))


def test_parameters_keep_their_names_and_batch_norm_is_in_inference_form(blocks):
    module, model = blocks
    names = {t.name for t in model.graph.initializer}
    assert {n for n, _ in module.named_parameters()} <= names
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            path = node.name.removesuffix("/BatchNormalization")
            assert list(node.input)[1:] == [f"{path}.{n}" for n in ("weight", "bias", "running_mean", "running_var")]
            assert [a.name for a in node.attribute] == ["epsilon"]
            assert len(node.output) == 1
    assert not any(name.endswith("num_batches_tracked") for name in names)
    assert not any("stack_trace" in prop.key for node in model.graph.node for prop in node.metadata_props)


def test_fold_moves_the_batch_norms_into_the_convolutions(blocks):
    module, model = blocks
    x = random(2, 4, 5, 6)
    folded = onnxnorm.export(module, x, fold=True)
    assert "BatchNormalization" not in ops(folded)
    for got, want in zip(run(folded, x), run(model, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_reparametrized_weights_are_constants():
    from torch.nn.utils import parametrizations

    module = nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(16, 64, 5)),
        nn.BatchNorm2d(64),
        parametrizations.spectral_norm(nn.Conv2d(64, 8, 3)),
    )
    module = randomized(module)
    x = random(2, 16, 8, 8)
    model = onnxnorm.export(module, x)
    assert ops(model) == {"Conv": 2, "BatchNormalization": 1}
    assert model.ByteSize() < 1.1 * 4 * (64 * 16 * 25 + 8 * 64 * 9 + 6 * 64)
    check(model, module, x)


# Statistics of the batch.


@pytest.mark.parametrize("shape", [(5, 6), (3, 6, 4), (3, 6, 4, 2)])
def test_batch_norm_without_running_statistics_is_exported_as_it_is_and_says_so(shape):
    layer = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](6, track_running_stats=False)
    module = randomized(nn.Sequential(nn.ReLU(), layer))
    with pytest.warns(OnnxNormWarning, match=r"Sequential\.1 keeps no running statistics"):
        model = onnxnorm.export(module, random(*shape), dynamic_shapes=[{0: "batch"}])
    assert normalizations(model) == ["InstanceNormalization"]
    check(model, module, random(*shape))
    check(model, module, random(7, *shape[1:]))


def test_sync_batch_norm_is_a_batch_norm():
    module = randomized(nn.SyncBatchNorm(6))
    model = onnxnorm.export(module, random(2, 6, 3, 3))
    assert ops(model) == {"BatchNormalization": 1}
    check(model, module, random(2, 6, 3, 3))


# Types.


def test_double_modules_keep_their_digits():
    module = randomized(Parallel(nn.GroupNorm(2, 4), nn.LayerNorm(5), nn.RMSNorm(5), nn.BatchNorm2d(4))).double()
    x = random(2, 4, 3, 5).double() + 1000
    model = onnxnorm.export(module, x)
    assert {i.type.tensor_type.elem_type for i in model.graph.input} == {onnx.TensorProto.DOUBLE}
    with torch.no_grad():
        want = [y.numpy() for y in module(x)]
    for got, expected in zip(run(model, x), want, strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_half_modules_stay_half():
    module = randomized(Parallel(nn.BatchNorm2d(4), nn.LocalResponseNorm(3, 0.3), nn.LayerNorm(5), nn.GroupNorm(2, 4)))
    exact = copy.deepcopy(module).double()
    x = random(2, 4, 3, 5).half()
    model = onnxnorm.export(module.half(), x)
    assert normalizations(model) == ["BatchNormalization", "LRN", "LayerNormalization", "GroupNormalization"]
    exact.load_state_dict(module.state_dict())
    with torch.no_grad():
        want = [y.numpy() for y in exact(x.double())]
    for got, expected in zip(run(model, x), want, strict=True):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got, expected, rtol=4e-3, atol=4e-3 * np.abs(expected).max())


# Inputs, outputs and files.


class Calls(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x, y=None, *, scale=2.0):
        return self.norm(x) * scale if y is None else {"a": self.norm(x), "b": y, "c": y}


def test_arguments_in_every_form():
    module = randomized(Calls())
    x = random(2, 4)
    assert [preconditions.normalized_args(args) for args in (x, (x,), [x], {"x": x})] == [((x,), {})] * 3 + [
        ((), {"x": x})
    ]
    named = onnxnorm.export(module, {"x": x, "scale": 3.0})
    assert ([i.name for i in named.graph.input], [o.name for o in named.graph.output]) == (["x"], ["output"])
    np.testing.assert_allclose(run(named, x)[0], 3 * module.norm(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    dims = {"y": {0: torch.export.Dim("m", min=1, max=9)}, "x": ("n", None)}
    two = onnxnorm.export(module, (x, random(3, 4)), dynamic_shapes=dims)
    shapes = {v.name: v.type.tensor_type.shape.dim[0].dim_param for v in (*two.graph.input, *two.graph.output)}
    assert shapes == {"x": "n", "y": "m", "output_0": "n", "output_1": "m", "output_2": "m"}
    y = random(5, 4)
    for got in run(two, x, y)[1:]:
        np.testing.assert_array_equal(got, y.numpy())


def test_an_open_axis_may_have_length_one_in_the_example():
    module = randomized(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(24, 3)))
    model = onnxnorm.export(module, random(1, 4, 4, 4), dynamic_shapes=[{0: torch.export.Dim("batch")}])
    check(model, module, random(5, 4, 4, 4))


def test_the_file_is_the_model(tmp_path):
    path = tmp_path / "norm.onnx"
    model = onnxnorm.export(nn.LayerNorm(4).eval(), random(2, 4), path)
    assert onnx.load(path) == model
    assert model.graph.name == "LayerNorm"
    assert list(tmp_path.iterdir()) == [path]


def test_the_module_is_not_changed():
    module = randomized(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), InterChannelLRN(3)))
    module[0].weight.requires_grad_(False)
    before = {k: (v.clone(), v.data_ptr()) for k, v in module.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in module.parameters()]
    random_state = torch.get_rng_state()
    onnxnorm.export(module, random(2, 4, 5, 5))
    assert {k: v.data_ptr() for k, v in module.state_dict().items()} == {k: p for k, (_, p) in before.items()}
    assert all(torch.equal(v, before[k][0]) for k, v in module.state_dict().items())
    assert [(p.requires_grad, p.grad) for p in module.parameters()] == flags
    assert not any(m.training for m in module.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    with torch.no_grad():  # the calls go to PyTorch again
        assert module(random(2, 4, 5, 5)).shape == (2, 6, 3, 3)


def test_exporters_keep_quiet(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onnxnorm.export(nn.LocalResponseNorm(3).eval(), random(2, 4, 5, 5), opset=17)
    assert capfd.readouterr() == ("", "")


# Refusals.


def test_a_module_in_training_mode_is_refused_by_name():
    module = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    with pytest.raises(OnnxNormError, match=r"training mode \(Sequential, 0, 1 and 1 more\).*\.eval\(\)"):
        onnxnorm.export(module, random(2, 4, 5, 5))
    module.eval()[1].train()
    with pytest.raises(OnnxNormError, match=r"the module is in training mode \(1\)"):
        onnxnorm.export(module, random(2, 4, 5, 5))
    assert module[1].training


class DataDependent(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else x * 2


class NoOnnxForm(nn.Module):
    def forward(self, x):
        return torch.linalg.svd(x)[1]


class FixedBatch(nn.Module):
    def forward(self, x):
        return x.reshape(2, -1) + torch.zeros(2, 4)


X = random(2, 4)


@pytest.mark.parametrize(
    ("module", "args", "options", "message"),
    [
        (None, X, {}, "takes a torch.nn.Module, not a NoneType"),
        (nn.ReLU, X, {}, r"ReLU is a class: export an instance"),
        (lambda: nn.LazyLinear(3), X, {}, "lazy module.*run the module once"),
        (lambda: nn.DataParallel(nn.ReLU()), X, {}, r"export DataParallel\.module"),
        (lambda: nn.Linear(4, 4, device="meta"), X, {}, "meta device.*load the weights"),
        (lambda: nn.Sequential(torch.compile(nn.ReLU())), X, {}, r"Sequential\.0 is compiled by torch.compile"),
        (lambda: nn.Sequential(torch.ao.quantization.FakeQuantize()), X, {}, "prepared for quantization"),
        (nn.ReLU(), 3, {}, "a tensor or a tuple of them, not a int"),
        (nn.ReLU(), (), {}, "ReLU does not take these args: missing a required argument: 'input'"),
        (nn.Linear(5, 4), X, {}, "Linear does not run on these inputs: .*(2x4|2, 4).*"),
        (DataDependent(), X, {}, "cannot trace DataDependent: .*data-dependent"),
        (NoOnnxForm(), X, {}, "NoOnnxForm has no ONNX form: .*svd"),
        (FixedBatch(), X, {"dynamic_shapes": [{0: "batch"}]}, "cannot trace FixedBatch: .*specialized"),
        (nn.ReLU(), X, {"dynamic_shapes": {"x": {0: "batch"}}}, "names x, but the inputs are input"),
        (nn.ReLU(), X, {"dynamic_shapes": [{2: "batch"}]}, r"opens axis 2 of input, which has shape \(2, 4\)"),
        (nn.ReLU(), X, {"dynamic_shapes": ["batch"]}, "'batch' where a dictionary"),
        (nn.ReLU(), X, {"dynamic_shapes": "batch"}, "dictionary by input name or a sequence"),
        (nn.ReLU(), X, {"dynamic_shapes": [None, None]}, "2 entries for 1 inputs"),
        (nn.ReLU(), X, {"opset": 12}, "whole number from 13 to"),
        (nn.ReLU(), X, {"opset": 999}, "whole number from 13 to"),
        (nn.ReLU(), X, {"opset": "21"}, "whole number from 13 to"),
        (nn.ReLU(), X, {"path": "/no/such/folder/model.onnx"}, "cannot write the model"),
    ],
)
def test_refusals(module, args, options, message):
    if callable(module) and not isinstance(module, (nn.Module, type)):
        module = module()
    if isinstance(module, nn.Module):
        module.eval()
    with pytest.raises(OnnxNormError, match=message):
        onnxnorm.export(module, args, **options)


def test_a_scripted_module_is_refused():
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.script(nn.ReLU())
    with pytest.raises(OnnxNormError, match="compiled by TorchScript"):
        onnxnorm.export(scripted, X)


def test_a_bad_window_is_refused_by_the_layers_own_message():
    with pytest.raises(OnnxNormError, match="size must be at least 1"):
        onnxnorm.export(nn.LocalResponseNorm(0).eval(), random(2, 4, 5, 5))
    with pytest.raises(OnnxNormError, match="takes tensors of rank 4"):
        onnxnorm.export(IntraChannelLRN((3, 3)).eval(), random(2, 4, 5))


def test_without_torch_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import onnxnorm\n"
        "try: onnxnorm.export(None, None)\n"
        "except onnxnorm.OnnxNormError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "onnxnorm[torch]"' in done.stdout
