"""The comparison of an export with its module: it sees every mistake, and takes no rounding for one."""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import onnxnorm  # noqa: E402
from onnxnorm import OnnxNormError  # noqa: E402
from onnxnorm.errors import OnnxNormWarning  # noqa: E402
from onnxnorm.exporter import tidy  # noqa: E402
from onnxnorm.exporter.arguments import Arguments  # noqa: E402
from onnxnorm.exporter.compare import verify_export  # noqa: E402


def model_of(nodes, shape=("n", 4), weights=None, element=TensorProto.FLOAT, outputs=("y",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info(o, element, None) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def verify(module, model, x, dynamic_shapes=None):
    verify_export(module.eval(), Arguments(module, (x,), {}, dynamic_shapes), model)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def linear_model(weight, epsilon=1e-5):
    scale = np.ones(3, np.float32)
    return model_of(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("LayerNormalization", ["h", "s"], ["y"], epsilon=epsilon),
        ],
        weights={"w": weight, "s": scale},
    )


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3) * 0.01)

    def forward(self, x):
        return F.layer_norm(x @ self.weight, (3,))


@pytest.mark.usefixtures("silent")
def test_the_same_computation_passes():
    module = Linear()
    verify(module, linear_model(module.weight.detach().numpy()), torch.randn(5, 4), [{0: "n"}])


def test_another_weight_or_epsilon_is_seen():
    module = Linear()
    weight = module.weight.detach().numpy().copy()
    with pytest.raises(OnnxNormError, match=r"computes something else.*on the example inputs: output 0 is"):
        verify(module, linear_model(weight, epsilon=1.1e-5), torch.randn(5, 4))
    weight[1, 2] *= 1.001
    with pytest.raises(OnnxNormError, match="computes something else"):
        verify(module, linear_model(weight), torch.randn(5, 4))


class Cancelling(nn.Module):
    """Rounding is large here: (x + 1000) - 1000, then squared often."""

    def forward(self, x):
        return ((x + 1000) * 3 - 3000).tanh()


def cancelling_model(third):
    return model_of(
        [
            helper.make_node("Add", ["x", "a"], ["s"]),
            helper.make_node("Sub", ["s", "a"], ["d"]),
            helper.make_node("Mul", ["d", "b"], ["m"]),
            helper.make_node("Tanh", ["m"], ["y"]),
        ],
        weights={"a": np.float32(1000), "b": np.float32(third)},
    )


@pytest.mark.usefixtures("silent")
def test_rounding_is_no_mistake():
    x = torch.rand(50, 4)
    model = cancelling_model(3)
    got = onnxnorm.session(model).run(None, {"x": x.numpy()})[0]
    assert np.abs(got - Cancelling()(x).numpy()).max() > 32 * np.finfo(np.float32).eps  # or this test shows nothing
    verify(Cancelling(), model, x)


def test_a_mistake_smaller_than_the_rounding_is_seen():
    with pytest.raises(OnnxNormError, match="computes something else"):
        verify(Cancelling(), cancelling_model(3.00003), torch.rand(50, 4))


class FloatOnly(Cancelling):
    def forward(self, x):
        assert x.dtype == torch.float32
        return super().forward(x)


def test_a_module_that_knows_float32_alone():
    x = torch.rand(50, 4)
    verify(FloatOnly(), cancelling_model(3), x)
    with pytest.raises(OnnxNormError, match="computes something else"):
        verify(FloatOnly(), cancelling_model(3.1), x)


@pytest.mark.parametrize("wrong", ["Relu", "Sqrt"])
def test_nan_and_infinity_count(wrong):
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    log = model_of([helper.make_node("Log", ["x"], ["y"])])
    x = torch.tensor([[1.0, 0.0, -1.0, 2.0]])  # 0, -inf, nan, log 2
    verify(Log(), log, x)
    with pytest.raises(OnnxNormError, match=r"output 0 is .* instead of"):
        verify(Log(), model_of([helper.make_node(wrong, ["x"], ["y"])]), x)


class Reshaped(nn.Module):
    def forward(self, x):
        return x.flatten()


def test_a_length_that_was_fixed_by_mistake_is_a_warning_that_names_it():
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    fixed = model_of(nodes, weights={"shape": np.array([8], np.int64)})
    x = torch.randn(2, 4)
    verify(Reshaped(), fixed, x)
    with pytest.warns(OnnxNormWarning, match=r"with n = 3: onnxruntime stops with"):
        verify(Reshaped(), fixed, x, [{0: "n"}])


@pytest.mark.usefixtures("silent")
def test_lengths_that_the_module_does_not_take_are_not_tried():
    class Even(Reshaped):
        def forward(self, x):
            if len(x) % 2:
                raise ValueError("even batches only")
            return super().forward(x)

    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    verify(Even(), model_of(nodes, weights={"shape": np.array([8], np.int64)}), torch.randn(2, 4), [{0: "n"}])


def test_a_random_module_is_not_compared():
    class Random(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    x = torch.randn(2, 4)
    state = torch.get_rng_state()
    with pytest.warns(OnnxNormWarning, match="Random is random"):
        verify(Random(), model_of([helper.make_node("Relu", ["x"], ["y"])]), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_output_of_another_type_is_said():
    class Half(nn.Module):
        def forward(self, x):
            return x.relu().half()

    x = torch.randn(2, 4)
    with pytest.warns(OnnxNormWarning, match="output 0 of the exported model is float32, that of the module float16"):
        verify(Half(), model_of([helper.make_node("Relu", ["x"], ["y"])]), x)


def test_the_buffers_of_the_module_are_kept():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            return x.relu()

    module = Counting()
    verify(module, model_of([helper.make_node("Relu", ["x"], ["y"])]), torch.randn(2, 4))
    assert module.calls == 0


def test_types_that_onnxruntime_does_not_run_are_said_and_compared_in_float64():
    class Pool(nn.Module):
        def forward(self, x):
            return F.avg_pool1d(x, 2)

    def model(**attributes):
        node = helper.make_node("AveragePool", ["x"], ["y"], strides=[2], **attributes)
        return model_of([node], shape=(1, 2, 8), element=TensorProto.DOUBLE)

    x = torch.randn(1, 2, 8, dtype=torch.float64)
    with pytest.warns(OnnxNormWarning, match=r"onnxruntime does not run .*AveragePool.* in float64 instead"):
        verify(Pool(), model(kernel_shape=[2]), x)
    with pytest.raises(OnnxNormError, match="computes something else"):
        verify(Pool(), model(kernel_shape=[3], auto_pad="SAME_UPPER"), x)


@pytest.mark.usefixtures("silent")
def test_a_module_that_runs_in_double_alone_is_compared_there():
    class NoHalf(nn.Module):
        def forward(self, x):
            if x.dtype == torch.float16:
                raise NotImplementedError("not for Half")
            return x.relu()

    x = torch.randn(2, 4, dtype=torch.float16)
    verify(NoHalf(), model_of([helper.make_node("Relu", ["x"], ["y"])], element=TensorProto.FLOAT16), x)
    with pytest.raises(OnnxNormError, match="computes something else"):
        verify(NoHalf(), model_of([helper.make_node("Abs", ["x"], ["y"])], element=TensorProto.FLOAT16), x)


def test_export_refuses_a_wrong_model_and_writes_nothing(tmp_path, monkeypatch):
    right = tidy.clean

    def wrong(model, *between):
        right(model, *between)
        for node in model.graph:
            node.attributes.add(ir.AttrFloat32("epsilon", 2e-5))

    monkeypatch.setattr(tidy, "clean", wrong)
    path = tmp_path / "model.onnx"
    module, x = nn.LayerNorm(4).eval(), torch.randn(2, 4) * 0.01
    with pytest.raises(OnnxNormError, match="computes something else"):
        onnxnorm.export(module, x, path)
    assert not path.exists()
    onnxnorm.export(module, x, path, verify=False)
    assert path.exists()
