"""What PyTorch's two exporters and hand-written modules make of normalizations, and that each becomes one node."""

from __future__ import annotations

import io
import logging
import warnings
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import onnxnorm  # noqa: E402
from onnxnorm.evaluate.evaluator import evaluate_float64  # noqa: E402
from onnxnorm.passes import DEFAULT  # noqa: E402


class LlamaNorm(nn.Module):
    """The RMSNorm of Hugging Face's llama: statistics in float32, the weight behind the cast."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2, size))

    def forward(self, x: Any) -> Any:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(x.dtype)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W), as in ConvNeXt and Segment Anything."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2, size))
        self.bias = nn.Parameter(torch.linspace(-1, 1, size))

    def forward(self, x: Any) -> Any:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class FastLayerNorm2d(nn.Module):
    """timm's LayerNorm2d: a permutation to channels last and back around F.layer_norm."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Any) -> Any:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Unit(nn.Module):
    def forward(self, x: Any) -> Any:
        return x / x.norm(dim=1, keepdim=True)


class Bounded(nn.Module):
    def forward(self, x: Any) -> Any:
        return F.normalize(x, dim=1)


class VarianceNorm(nn.Module):
    """torch.var_mean, as many write a LayerNorm by hand."""

    def forward(self, x: Any) -> Any:
        variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
        return (x - mean) * torch.rsqrt(variance + 1e-5)


class FrozenBatchNorm2d(nn.Module):
    """torchvision's, written from its documentation: all four buffers are constants."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.linspace(0.5, 2, size))
        self.register_buffer("bias", torch.linspace(-1, 1, size))
        self.register_buffer("running_mean", torch.linspace(-0.3, 0.3, size))
        self.register_buffer("running_var", torch.linspace(0.5, 2, size))

    def forward(self, x: Any) -> Any:
        shape = (1, -1, 1, 1)
        scale = self.weight.reshape(shape) * (self.running_var.reshape(shape) + 1e-5).rsqrt()
        return x * scale + (self.bias.reshape(shape) - self.running_mean.reshape(shape) * scale)


def _dynamo(module: nn.Module, x: Any, opset: int, open_batch: bool) -> onnx.ModelProto:
    shapes = [{0: torch.export.Dim.DYNAMIC}] if open_batch else None
    program = torch.onnx.export(
        module, (x,), opset_version=opset, dynamo=True, optimize=False, verbose=False, dynamic_shapes=shapes
    )
    return program.model_proto


def _torchscript(module: nn.Module, x: Any, opset: int, open_batch: bool) -> onnx.ModelProto:
    file = io.BytesIO()
    axes = {"x": {0: "batch"}} if open_batch else None
    torch.onnx.export(module, (x,), file, opset_version=opset, dynamo=False, dynamic_axes=axes, input_names=["x"])
    return onnx.load_model_from_string(file.getvalue())


EXPORTERS = {"dynamo": _dynamo, "torchscript": _torchscript}
LRN, INTER = {"LRN": 1}, {"InterChannelLRN": 1}
FLIPPED = {"InterChannelLRN": 1, "Slice": 2}
CASES = [
    ("LocalResponseNorm", nn.LocalResponseNorm(3, 0.3, 0.75, 2.0), (2, 6, 4, 3), LRN, LRN),
    ("LocalResponseNorm, rank 3", nn.LocalResponseNorm(3, 0.3), (2, 6, 4), INTER, INTER),
    ("LocalResponseNorm, rank 5", nn.LocalResponseNorm(5, 0.3), (2, 6, 4, 3, 2), INTER, INTER),
    ("LocalResponseNorm, even", nn.LocalResponseNorm(4, 0.3), (2, 6, 4, 3), FLIPPED, FLIPPED),
    ("LayerNorm", nn.LayerNorm(6), (2, 3, 6), {"LayerNormalization": 1}, {"LayerNormalization": 1}),
    ("ChannelNorm", ChannelNorm(6), (2, 6, 4, 3), {"LayerNormalization": 1, "Transpose": 2},
     {"LayerNormalization": 1, "Transpose": 2}),
    ("FastLayerNorm2d", FastLayerNorm2d(6), (2, 6, 4, 3), {"LayerNormalization": 1, "Transpose": 2},
     {"LayerNormalization": 1, "Transpose": 2}),
    ("VarianceNorm", VarianceNorm(), (2, 3, 6), {"LayerNormalization": 1}, {"LayerNormalization": 1}),
    ("InstanceNorm", nn.InstanceNorm2d(6, affine=True), (2, 6, 4, 3), {"InstanceNormalization": 1},
     {"InstanceNormalization": 1}),
    ("GroupNorm", nn.GroupNorm(2, 6), (2, 6, 4, 3), {"GroupNormalization": 1}, None),
    ("FrozenBatchNorm2d", FrozenBatchNorm2d(6), (2, 6, 4, 3), {"BatchNormalization": 1}, None),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(disabled)


def _optimized(model: onnx.ModelProto, x: Any) -> tuple[Counter[str], Any]:
    # Without the passes that may write an LRN out again, in the form of the target.
    result = onnxnorm.optimize(
        model,
        passes=[name for name in DEFAULT if name not in ("accelerate", "lower")],
        target="tensorrt",
        verify=False,
    )
    after = result.model
    onnx.checker.check_model(after, full_check=True)
    feeds = {model.graph.input[0].name: x.numpy()}
    (got,), (want,) = (evaluate_float64(m, feeds).values() for m in (after, model))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())
    return Counter(node.op_type for node in after.graph.node), result


# An export takes seconds: by the dynamo exporter what it writes in a way of its own, with the batch open what then has
# shapes computed at run time.
DYNAMO = {
    "LocalResponseNorm",
    "LocalResponseNorm, even",
    "ChannelNorm",
    "VarianceNorm",
    "GroupNorm",
    "FrozenBatchNorm2d",
}
OPEN = {"LocalResponseNorm", "LocalResponseNorm, rank 5", "VarianceNorm"}
EXPORTS = [
    *((case, "dynamo", 21, True) for case in CASES if case[0] in DYNAMO),
    *((case, "torchscript", 17, False) for case in CASES if case[4] is not None),
    *((case, "torchscript", 17, True) for case in CASES if case[0] in OPEN),
]


@pytest.mark.parametrize(
    ("case", "exporter", "opset", "open_batch"), EXPORTS, ids=lambda value: value[0] if type(value) is tuple else value
)
def test_an_export_becomes_one_node(case: Any, exporter: str, opset: int, open_batch: bool) -> None:
    _, module, shape, by_dynamo, by_torchscript = case
    expected = by_dynamo if exporter == "dynamo" else by_torchscript
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    ops, _ = _optimized(EXPORTERS[exporter](module.eval(), x, opset, open_batch), x)
    assert ops == expected


def test_llama_in_half_precision() -> None:
    x = torch.randn(2, 3, 6).half()
    model = _dynamo(LlamaNorm(6).half().eval(), x, 23, True)
    assert _optimized(model, x)[0] == {"RMSNormalization": 1}


def test_older_opsets_keep_the_chain_and_name_it() -> None:
    x = torch.randn(2, 3, 6)
    (record,) = onnxnorm.inspect(_torchscript(nn.LayerNorm(6).eval(), x, 13, False))
    assert record.kind == "LayerNormalization (written out)"
    (record,) = onnxnorm.inspect(_torchscript(nn.GroupNorm(2, 6).eval(), torch.randn(2, 6, 4, 3), 17, False))
    assert record.kind == "GroupNormalization (written out)"


def test_the_dynamo_exporter_of_old_opsets_hides_no_group_norm() -> None:
    """Below opset 21, not optimized: shapes and weights are put together by a dozen nodes of constants."""
    for open_batch in (False, True):
        (record,) = onnxnorm.inspect(_dynamo(nn.GroupNorm(2, 6).eval(), torch.randn(2, 6, 4, 3), 18, open_batch))
        assert record.kind == "GroupNormalization (written out)"
        assert "may be run by onnxruntime, which takes nearly twice as long" in record.reason


def test_a_length_of_what_may_be_zero_is_named() -> None:
    """x / x.norm() is no number at zero, where the operator gives 0."""
    (record,) = onnxnorm.inspect(_torchscript(Unit().eval(), torch.randn(2, 6, 4), 17, False))
    assert record.kind == "LpNormalization (written out)"
    assert "0/0" in record.reason


def test_a_bound_under_the_length_is_named() -> None:
    (record,) = onnxnorm.inspect(_torchscript(Bounded().eval(), torch.randn(2, 6, 4), 17, False))
    assert "held above 1e-12" in record.reason


def test_a_frozen_batch_norm_behind_a_convolution_is_absorbed() -> None:
    module = nn.Sequential(nn.Conv2d(3, 6, 3), FrozenBatchNorm2d(6), nn.ReLU()).eval()
    x = torch.randn(2, 3, 8, 8)
    ops, _ = _optimized(_dynamo(module, x, 21, True), x)
    assert ops == {"Conv": 1, "Relu": 1}
