"""Decisions that rounding alone takes are followed; mistakes around them, and decisions that are no ties, are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.verification.verify import verify

Array = np.ndarray
Weights = dict[str, Array]

_RNG = np.random.default_rng(0)
_CONV: Weights = {
    "w": (_RNG.standard_normal((16, 3, 3, 3)) * 0.2).astype("f"),
    "b": (_RNG.standard_normal(16) * 0.1).astype("f"),
    "s": _RNG.uniform(0.5, 1.5, 16).astype("f"),
    "t": (_RNG.standard_normal(16) * 0.1).astype("f"),
    "m": (_RNG.standard_normal(16) * 0.1).astype("f"),
    "v": _RNG.uniform(0.5, 1.5, 16).astype("f"),
    "w1": (_RNG.standard_normal((1, 16, 1, 1)) * 0.3).astype("f"),
}


def _folded() -> Weights:
    wide = {name: value.astype(np.float64) for name, value in _CONV.items()}
    scale = wide["s"] / np.sqrt(wide["v"] + np.float32(1e-5))
    weights = wide["w"] * scale.reshape(-1, 1, 1, 1)
    return {"w": weights.astype("f"), "b": ((wide["b"] - wide["m"]) * scale + wide["t"]).astype("f"), "w1": _CONV["w1"]}


def _model(weights: Weights, tail: list[onnx.NodeProto], constants: Weights) -> onnx.ModelProto:
    """A convolution with its normalization, if the weights have one, before the tail, which reads `r`."""
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4)]
    if "s" in weights:
        nodes.append(helper.make_node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]))
    nodes.append(helper.make_node("Relu", ["n" if "s" in weights else "c"], ["r"]))
    graph = helper.make_graph(
        [*nodes, *tail],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 48, 48])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in {**weights, **constants}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _peaks(weights: Weights, factor: float = 1.0) -> onnx.ModelProto:
    """scores * (scores == maxpool(scores)), of neighbours that are nearly alike."""
    tail = [
        helper.make_node("Conv", ["r", "w1"], ["c1"]),
        helper.make_node("Resize", ["c1", "", "scales"], ["u"], mode="linear"),
        helper.make_node("Mul", ["u", "factor"], ["f"]),
        helper.make_node("Sigmoid", ["f"], ["g"]),
        helper.make_node("MaxPool", ["g"], ["p"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Equal", ["g", "p"], ["e"]),
        helper.make_node("Cast", ["e"], ["k"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["g", "k"], ["y"]),
    ]
    return _model(weights, tail, {"scales": np.array([1, 1, 8, 8], "f"), "factor": np.array(factor, "f")})


def _quantized(weights: Weights, step: float = 0.02) -> onnx.ModelProto:
    """An activation rounded to eight bits twice, with a convolution behind each."""
    tail = []
    for number, name in enumerate(("r", "c1")):
        scale = ["step", "zero"]
        tail.append(helper.make_node("QuantizeLinear", [name, *scale], [f"q{number}"]))
        tail.append(helper.make_node("DequantizeLinear", [f"q{number}", *scale], [f"d{number}"]))
        weight, out = ("w1", "c1") if number == 0 else ("w2", "y")
        tail.append(helper.make_node("Conv", [f"d{number}", weight], [out]))
    w2 = np.array([[[[1.3]]], [[[-0.7]]]], "f")
    return _model(weights, tail, {"step": np.array(step, "f"), "zero": np.array(100, np.uint8), "w2": w2})


BUILD: dict[str, Callable[[Weights], onnx.ModelProto]] = {"peaks": _peaks, "quantized": _quantized}


def _changed(**changes: Callable[[Array], None]) -> Weights:
    weights = {name: value.copy() for name, value in _folded().items()}
    for name, change in changes.items():
        change(weights[name])
    return weights


MISTAKES = {
    "a bias dropped": _changed(b=lambda b: b.__setitem__(3, 0.0)),
    "two channels swapped": _changed(w=lambda w: w.__setitem__([3, 5], w[[5, 3]])),
    "a scale off by 1e-3": _changed(w=lambda w: w.__imul__(np.float32(1.001))),
    "a weight negated": _changed(w1=lambda w: w.__setitem__((0, 2), -w[0, 2])),
    "a bias off by 1e-3": _changed(b=lambda b: b.__iadd__(np.float32(1e-3))),
}


@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize("seed", range(3))
def test_what_rounding_decides_is_no_mistake(kind: str, seed: int) -> None:
    build = BUILD[kind]
    report = verify(build(_CONV), build(_folded()), seed=seed)
    assert report, report


@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_before_a_decision_is_caught(kind: str, mistake: str) -> None:
    build = BUILD[kind]
    assert not verify(build(_CONV), build(MISTAKES[mistake]))


def test_another_step_of_quantization_and_other_scores_are_caught() -> None:
    assert not verify(_quantized(_CONV), _quantized(_folded(), step=0.0201))
    assert not verify(_peaks(_CONV), _peaks(_folded(), factor=1.001))


def test_decisions_that_are_no_ties_are_not_followed() -> None:
    """A comparison with another bound, and one the other way round."""

    def build(op_type: str, bound: float) -> onnx.ModelProto:
        tail = [
            helper.make_node("Conv", ["r", "w1"], ["g"]),
            helper.make_node(op_type, ["g", "bound"], ["e"]),
            helper.make_node("Cast", ["e"], ["k"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["g", "k"], ["y"]),
        ]
        return _model(_CONV, tail, {"bound": np.array(bound, "f")})

    assert verify(build("Less", 0.1), build("Less", 0.1))
    assert not verify(build("Less", 0.1), build("Less", 0.101))
    assert not verify(build("Less", 0.1), build("Greater", 0.1))


@pytest.mark.parametrize("operator", ["Floor", "Ceil", "Round", "Greater", "Less", "Equal"])
@pytest.mark.parametrize("shift", [-1.0, 1.0, -0.25])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_operands_on_a_boundary_do_not_hide_a_shift(operator: str, shift: float, factor: float) -> None:
    """Whole inputs lie on boundaries, where the other decision of the original is no rounding of the result's."""

    def decided(bias: float, times: float) -> onnx.ModelProto:
        bound = "t = Identity (three)" if operator in ("Floor", "Ceil", "Round") else "t = Mul (three, times)"
        step = f"d = {operator} (r)" if "Identity" in bound else f"e = {operator} (m, t) d = Cast <to = 1> (e)"
        return onnx.parser.parse_model(
            f"""<ir_version: 8, opset_import: ["": 17]> g (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y)
            <float bias = {{{bias}}}, float times = {{{times}}}, float three = {{3.0}}, float k = {{0.37}}>
            {{ c = Add (x, bias) r = Abs (c) m = Mul (r, times) {bound} {step} y = Mul (d, k) }}"""
        )

    offset = 0.5 if operator == "Round" else 0.0
    x = np.random.default_rng(0).integers(-6, 7, (1, 4, 6, 6)).astype("f") + np.float32(offset)
    right = decided(0.0, 1.0)
    assert verify(right, decided(0.0, factor), inputs={"x": x})
    assert not verify(right, decided(shift, factor), inputs={"x": x})
