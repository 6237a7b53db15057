"""Operators that draw random numbers: both models are judged with the same draws."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnorm.optimizer.optimize import optimize
from onnxnorm.verification.random_draws import with_same_draws
from onnxnorm.verification.runs import run_all
from onnxnorm.verification.verify import verify
from testing.builder import Builder

BODIES = {
    "RandomNormalLike": "z = RandomNormalLike <scale = 2.0> (h) y = Add (h, z)",
    "RandomUniformLike": "z = RandomUniformLike <low = -1.0, high = 3.0> (h) y = Mul (h, z)",
    "RandomNormal": "z = RandomNormal <shape = [1, 6]> () y = Mul (h, z)",
    "RandomUniform": "z = RandomUniform <shape = [1, 6]> () y = Mul (h, z)",
    "Bernoulli": "p = Sigmoid (h) z = Bernoulli (p) y = Mul (h, z)",
    "Multinomial": "z = Multinomial <sample_size = 50> (h) f = Cast <to = 1> (z) s = ReduceMean (f) y = Mul (h, s)",
    "Dropout": "z, k = Dropout (h, ratio, yes) f = Cast <to = 1> (k) y = Add (z, f)",
}


def _model(body: str, scale: float = 1.5) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 15]> g (float[n, 6] x) => (float[n, 6] y)
        <float c = {{{scale}}}, float ratio = {{0.25}}, bool yes = {{1}}> {{ h = Mul (x, c) {body} }}"""
    )


@pytest.mark.parametrize("op_type", BODIES)
def test_a_model_that_draws_is_compared_with_the_same_draws(op_type: str) -> None:
    original = _model(BODIES[op_type])
    report = verify(original, original)
    assert report, report
    assert report == verify(original, original)
    assert "float64" in report.oracle
    assert not verify(original, _model(BODIES[op_type], scale=1.6))
    renamed = onnx.ModelProto.FromString(original.SerializeToString())
    for node in renamed.graph.node:
        node.input[:] = ["other" if name == "z" else name for name in node.input]
        node.output[:] = ["other" if name == "z" else name for name in node.output]
    assert verify(original, renamed)


@pytest.mark.parametrize(
    ("op_type", "change", "said"),
    [
        ("RandomNormalLike", ("scale = 2.0", "scale = 1.0"), "attributes differ"),
        ("RandomUniformLike", ("high = 3.0", "high = 2.0"), "attributes differ"),
        (
            "RandomNormal",
            ("y = Mul (h, z)", "w = RandomNormal <shape = [1, 6]> () v = Add (w, z) y = Mul (h, v)"),
            "not",
        ),
    ],
)
def test_a_result_that_draws_otherwise_fails(op_type: str, change: tuple[str, str], said: str) -> None:
    report = verify(_model(BODIES[op_type]), _model(BODIES[op_type].replace(*change)))
    assert not report
    assert said in str(report.reason)


def test_a_result_without_the_draws_fails() -> None:
    assert not verify(_model(BODIES["Dropout"]), _model("z = Identity (h) y = Identity (z)"))


def _many(body: str, out: str) -> tuple[np.ndarray, np.ndarray]:
    """The output with draws of ours, and with onnxruntime's own, over many rows."""
    original = _model(body)
    original.graph.output[0].CopyFrom(onnx.helper.make_empty_tensor_value_info(out))
    rows = np.random.default_rng(5).standard_normal((1, 6)).astype("f")
    feeds = {"x": np.tile(rows, (20000, 1))}
    from onnxnorm.runtime.random_samples import Draw, Ways

    same = with_same_draws(original, original, [Ways(lambda: [Draw(feeds)])], seed=1)
    (draw,) = same.candidates[0].draws()
    ours = run_all(same.original, "off", [draw.feeds])[0][out]
    return ours, run_all(original, "off", [feeds])[0][out]


@pytest.mark.parametrize("op_type", ["RandomNormalLike", "RandomUniformLike", "Multinomial", "Dropout"])
def test_the_draws_are_distributed_as_the_runtime_draws_them(op_type: str) -> None:
    ours, theirs = (values.astype(np.float64) for values in _many(BODIES[op_type], "z"))
    assert ours.shape == theirs.shape
    for statistic in (np.mean, np.std):
        np.testing.assert_allclose(statistic(ours, axis=0), statistic(theirs, axis=0), atol=0.1)


def test_the_draws_of_bernoulli_have_the_probabilities_given() -> None:
    """onnxruntime runs the body of the operator's schema, which draws 1 with the chance 1 - p."""
    ours, _ = _many(BODIES["Bernoulli"], "z")
    x = np.random.default_rng(5).standard_normal((1, 6)).astype("f")
    np.testing.assert_allclose(ours.mean(axis=0), (1 / (1 + np.exp(-1.5 * x)))[0], atol=0.02)


def _speech(channels: int = 4) -> onnx.ModelProto:
    """A network of the kind of VITS (Kim et al. 2021): encoder, drawn latents, flows of couplings, decoder."""
    b = Builder(seed=3, dtype=np.float32)
    half = channels // 2

    def smooth(x: str, inputs: int, outputs: int) -> str:
        weight = b.constant(b.normal(outputs, inputs, 3) / np.sqrt(3 * inputs))
        return b.node("Conv", x, weight, b.constant(0.1 * b.normal(outputs)), kernel_shape=[3], pads=[1, 1])

    h = b.node("Relu", b.batch_norm(smooth(b.input(("n", channels, "frames")), channels, 8), 8))
    mean, spread = b.nodes_out("Split", smooth(h, 8, 2 * channels), b.ints(channels, channels), outputs=2, axis=1)
    drawn = b.node("Mul", b.node("RandomNormalLike", mean, scale=1.0), b.node("Exp", b.node("Tanh", spread)))
    z = b.node("Add", mean, b.node("Mul", drawn, b.constant(np.float32(0.667))))
    for _ in range(2):
        kept, moved = b.nodes_out("Split", z, b.ints(half, half), outputs=2, axis=1)
        hidden = b.batch_norm(smooth(kept, half, 8), 8)
        tanh, gate = b.nodes_out("Split", hidden, b.ints(4, 4), outputs=2, axis=1)
        gated = b.node("Mul", b.node("Tanh", tanh), b.node("Sigmoid", gate))
        shift, logs = b.nodes_out("Split", smooth(gated, 4, channels), b.ints(half, half), outputs=2, axis=1)
        moved = b.node("Mul", b.node("Sub", moved, shift), b.node("Exp", b.node("Neg", b.node("Tanh", logs))))
        z = b.node("Concat", moved, kept, axis=1)
    weight = b.constant(b.normal(channels, 4, 4) / 4)
    wave = b.node("ConvTranspose", z, weight, kernel_shape=[4], strides=[2], pads=[1, 1])
    wave = b.node("LeakyRelu", b.batch_norm(wave, 4, "positive"), alpha=0.1)
    return b.model(b.node("Tanh", smooth(wave, 4, 1)))


def test_a_speech_network_that_draws_its_latents_is_optimized_and_proved() -> None:
    model = _speech()
    result = optimize(model)
    assert result.report is not None and result.report.passed, result.report
    assert "float64" in result.report.oracle
    assert not any(node.op_type == "BatchNormalization" for node in result.model.graph.node)
    assert sum(node.op_type == "RandomNormalLike" for node in result.model.graph.node) == 1
    broken = onnx.ModelProto.FromString(result.model.SerializeToString())
    wrong = next(node for node in broken.graph.node if node.op_type == "ConvTranspose")
    tensor = next(each for each in broken.graph.initializer if each.name == wrong.input[1])
    values = np.array(numpy_helper.to_array(tensor))
    values.flat[0] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    report = verify(model, broken)
    assert not report and report.place is not None and report.place.node == wrong.name, report
