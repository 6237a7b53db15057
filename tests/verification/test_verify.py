"""`verify` on models built here by hand: right rewrites pass over many seeds, every injected mistake fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.verification.verify import VerifyReport, verify

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

Array = np.ndarray
seeds = st.integers(0, 2**32 - 1)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, Sequence[int | str | None] | None]],
    outputs: dict[str, int],
    constants: dict[str, Array] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


FLOAT = TensorProto.FLOAT
IMAGE = {"x": (FLOAT, ("n", 3, "h", "w"))}


class ConvNet:
    """Convolutions, each with a BatchNormalization and a Relu behind it, as they are or folded by a given rule."""

    def __init__(self, seed: int, *, depth: int = 3, channels: int = 8, kernel: int = 3, group: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.pads = [kernel // 2] * 4
        self.layers = []
        before = 3
        for _ in range(depth):
            groups = group if before == channels else 1
            weights = rng.standard_normal((channels, before // groups, kernel, kernel)) / kernel / before**0.5
            statistics = {
                "scale": rng.uniform(0.3, 2, channels) * rng.choice([-1, 1], channels),
                "bias": rng.standard_normal(channels),
                "mean": rng.standard_normal(channels),
                "var": rng.uniform(0.1, 3, channels),
            }
            parts = {"w": weights, "b": rng.standard_normal(channels), **statistics}
            self.layers.append(({k: v.astype(np.float32) for k, v in parts.items()}, groups))
            before = channels

    def original(self, dtype: type = np.float32) -> onnx.ModelProto:
        nodes, constants, value = [], {}, "x"
        for i, (parts, group) in enumerate(self.layers):
            constants |= {f"{name}{i}": array.astype(dtype) for name, array in parts.items()}
            nodes.append(helper.make_node("Conv", [value, f"w{i}", f"b{i}"], [f"c{i}"], pads=self.pads, group=group))
            statistics = [f"{name}{i}" for name in ("scale", "bias", "mean", "var")]
            nodes.append(helper.make_node("BatchNormalization", [f"c{i}", *statistics], [f"n{i}"]))
            value = self._activate(nodes, i)
        return self._model(nodes, constants, dtype)

    def folded(
        self, mistake: Callable[[int, Array, Array], tuple[Array, Array]] | None = None, dtype: type = np.float32
    ) -> onnx.ModelProto:
        """Folded in float64 and rounded once, after `mistake` had its way with the weights and biases of each layer."""
        nodes, constants, value = [], {}, "x"
        for i, (rounded, group) in enumerate(self.layers):
            parts = {name: array.astype(dtype).astype(np.float64) for name, array in rounded.items()}
            scale = parts["scale"] / np.sqrt(parts["var"] + np.float32(1e-5))
            weights = parts["w"] * scale.reshape(-1, 1, 1, 1)
            bias = (parts["b"] - parts["mean"]) * scale + parts["bias"]
            if mistake is not None:
                weights, bias = mistake(i, weights, bias)
            constants |= {f"w{i}": weights.astype(dtype), f"b{i}": bias.astype(dtype)}
            nodes.append(helper.make_node("Conv", [value, f"w{i}", f"b{i}"], [f"n{i}"], pads=self.pads, group=group))
            value = self._activate(nodes, i)
        return self._model(nodes, constants, dtype)

    def multiplied(self) -> onnx.ModelProto:
        """BatchNormalization as Mul and Add."""
        nodes, constants, value = [], {}, "x"
        for i, (parts, group) in enumerate(self.layers):
            wide = {name: array.astype(np.float64) for name, array in parts.items()}
            scale = wide["scale"] / np.sqrt(wide["var"] + np.float32(1e-5))
            shift = wide["bias"] - wide["mean"] * scale
            constants |= {f"w{i}": parts["w"], f"b{i}": parts["b"]}
            constants |= {f"s{i}": scale.astype("f").reshape(-1, 1, 1), f"t{i}": shift.astype("f").reshape(-1, 1, 1)}
            nodes.append(helper.make_node("Conv", [value, f"w{i}", f"b{i}"], [f"c{i}"], pads=self.pads, group=group))
            nodes.append(helper.make_node("Mul", [f"c{i}", f"s{i}"], [f"m{i}"]))
            nodes.append(helper.make_node("Add", [f"m{i}", f"t{i}"], [f"n{i}"]))
            value = self._activate(nodes, i)
        return self._model(nodes, constants, np.float32)

    def _activate(self, nodes: list[onnx.NodeProto], i: int) -> str:
        last = i == len(self.layers) - 1
        nodes.append(helper.make_node("Identity" if last else "Relu", [f"n{i}"], ["y" if last else f"a{i}"]))
        return f"a{i}"

    @staticmethod
    def _model(nodes: list[onnx.NodeProto], constants: dict[str, Array], dtype: type) -> onnx.ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return model(nodes, {"x": (kind, ("n", 3, "h", "w"))}, {"y": kind}, constants)


SMALL = {"x": (2, 3, 17, 14)}


def in_layer(layer: int, change: Callable[[Array, Array], None]) -> Callable[[int, Array, Array], tuple[Array, Array]]:
    def mistake(i: int, weights: Array, bias: Array) -> tuple[Array, Array]:
        weights, bias = weights.copy(), bias.copy()
        if i == layer:
            change(weights, bias)
        return weights, bias

    return mistake


# --- right rewrites


@settings(max_examples=12, deadline=None)
@given(seeds, st.integers(1, 5), st.sampled_from([1, 3]), st.sampled_from([1, 4]))
def test_a_right_fold_passes(seed: int, depth: int, kernel: int, group: int) -> None:
    net = ConvNet(seed, depth=depth, kernel=kernel, group=group)
    for result in (net.folded(), net.multiplied()):
        report = verify(net.original(), result, shapes=SMALL, seed=seed % 1000)
        assert report.passed, report
        assert report.oracle == "a float64 run of the original"


@settings(max_examples=6, deadline=None)
@given(seeds)
def test_a_right_fold_of_float16_passes(seed: int) -> None:
    net = ConvNet(seed, depth=2)
    assert verify(net.original(np.float16), net.folded(dtype=np.float16), shapes=SMALL)


@settings(max_examples=12, deadline=None)
@given(seeds, st.integers(1, 300), st.sampled_from([1, 3, 100]), st.sampled_from(["float32", "float64"]))
@example(12, 141, 1, "float32")  # one sample cancels to almost nothing: its noise is large in proportion
def test_another_order_of_summation_passes(seed: int, inner: int, outer: int, dtype: str) -> None:
    """Outputs of few elements too, which show little of their noise."""
    rng = np.random.default_rng(seed)
    left, right = (rng.standard_normal(shape).astype(dtype) for shape in ((20, inner), (inner, outer)))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("MatMul", ["x", "left"], ["h"]),
        helper.make_node("Tanh", ["h"], ["a"]),
        helper.make_node("MatMul", ["a", "right"], ["y"]),
    ]
    order = rng.permutation(inner)

    def build(left: Array, right: Array) -> onnx.ModelProto:
        return model(nodes, {"x": (kind, ("n", 20))}, {"y": kind}, {"left": left, "right": right})

    assert verify(build(left, right), build(left[:, order], right[order]), shapes={"x": (1, 20)})
    wrong = right * right.dtype.type(1 + 1e4 * np.finfo(dtype).eps)
    assert not verify(build(left, right), build(left, wrong), shapes={"x": (1, 20)})


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_same_formula_by_other_operators_passes(seed: int) -> None:
    """LRN against its decomposition: no weights at all to shake."""
    size, alpha, beta, bias = 5, 0.3, 0.75, 1.5
    lrn = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=alpha, beta=beta, bias=bias)
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["sq"]),
        helper.make_node("Conv", ["sq", "band"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["base"]),
        helper.make_node("Pow", ["base", "beta"], ["power"]),
        helper.make_node("Div", ["x", "power"], ["y"]),
    ]
    channels = 12
    band = np.array([[abs(i - j) <= size // 2 for j in range(channels)] for i in range(channels)]) * (alpha / size)
    constants = {
        "band": band.astype("f").reshape(channels, channels, 1, 1),
        "bias": np.array(bias, "f"),
        "beta": np.array(beta, "f"),
    }
    shape = {"x": (FLOAT, ("n", channels, "h", "w"))}
    right = model(nodes, shape, {"y": FLOAT}, constants)
    assert verify(model([lrn], shape, {"y": FLOAT}), right, seed=seed, shapes={"x": (2, channels, 6, 7)})
    constants["band"] = constants["band"] * np.float32(1.001)
    assert not verify(model([lrn], shape, {"y": FLOAT}), model(nodes, shape, {"y": FLOAT}, constants), seed=seed)


# --- injected mistakes


MISTAKES: dict[str, Callable[[int, Array, Array], tuple[Array, Array]]] = {
    "weights rounded to float16": lambda i, w, b: (w.astype(np.float16).astype(np.float64), b),
    "biases of two channels swapped": in_layer(2, lambda w, b: b.__setitem__([0, 1], b[[1, 0]])),
    "weights of two channels swapped": in_layer(2, lambda w, b: w.__setitem__([3, 5], w[[5, 3]])),
    "one channel's bias off by 1e-4 of it": in_layer(2, lambda w, b: b.__setitem__(4, b[4] * (1 + 1e-4))),
    "one channel's scale off by 1e-4 of it": in_layer(2, lambda w, b: w.__setitem__(6, w[6] * (1 + 1e-4))),
    "one weight forgotten": in_layer(2, lambda w, b: w.__setitem__((1, 2, 0, 0), 0.0)),
    "a bias lost in the first layer": in_layer(0, lambda w, b: b.__setitem__(slice(None), 0.0)),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("seed", range(3))
def test_an_injected_mistake_fails(name: str, seed: int) -> None:
    net = ConvNet(seed)
    report = verify(net.original(), net.folded(MISTAKES[name]), shapes=SMALL, seed=seed)
    assert not report
    assert report.reason is not None
    assert "output 'y'" in report.reason


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_wrong_epsilon_fails(seed: int, dtype: type) -> None:
    net = ConvNet(seed)
    variances = [parts["var"].astype(dtype).astype(np.float64) for parts, _ in net.layers]

    def wrong(i: int, weights: Array, bias: Array) -> tuple[Array, Array]:
        # float16 tells statistics apart to 5e-4 of them, so that the mistake has to be larger there.
        epsilon = 1e-3 if dtype is np.float32 else 5e-2
        factor = np.sqrt((variances[i] + 1e-5) / (variances[i] + epsilon))
        parts = {name: array.astype(dtype).astype(np.float64) for name, array in net.layers[i][0].items()}
        return weights * factor.reshape(-1, 1, 1, 1), (bias - parts["bias"]) * factor + parts["bias"]

    assert not verify(net.original(dtype), net.folded(wrong, dtype), shapes=SMALL, seed=seed)


@pytest.mark.parametrize("shift", [1.0, 1e-4])
def test_a_shift_folded_across_zero_padding_fails_at_the_border_alone(shift: float) -> None:
    """Inside, conv(x + t) is conv(x) + sum(w) t; at the padded border it is not."""
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((4, 3, 3, 3)).astype("f")
    constants = {"t": np.full((3, 1, 1), shift, "f"), "w": weights}
    pads = [1, 1, 1, 1]
    original = model(
        [helper.make_node("Add", ["x", "t"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"], pads=pads)],
        IMAGE,
        {"y": FLOAT},
        constants,
    )
    bias = weights.astype(np.float64).sum((1, 2, 3)) * np.float32(shift)
    folded = model(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=pads)],
        IMAGE,
        {"y": FLOAT},
        {"w": weights, "b": bias.astype("f")},
    )
    report = verify(original, folded)
    assert not report
    (output,) = report.outputs
    assert output.index is not None
    row, column = output.index[2:]
    height, width = output.shapes["x"][2:]
    assert row in (0, height - 1) or column in (0, width - 1)
    unpadded = [[helper.make_node("Conv", ["a", "w"], ["y"])], [helper.make_node("Conv", ["x", "w", "b"], ["y"])]]
    inside = model([helper.make_node("Add", ["x", "t"], ["a"]), *unpadded[0]], IMAGE, {"y": FLOAT}, constants)
    assert verify(inside, model(unpadded[1], IMAGE, {"y": FLOAT}, {"w": weights, "b": bias.astype("f")}))


def test_a_mistake_in_a_channel_of_tiny_scale_fails() -> None:
    """The error is 1e-3 of its own channel and 1e-9 of the largest."""
    scale = np.ones((8, 1, 1), "f")
    scale[5] = 1e-6
    wrong = scale.copy()
    wrong[5] *= 1.001

    def build(scale: Array) -> onnx.ModelProto:
        return model(
            [helper.make_node("Mul", ["x", "s"], ["y"])], {"x": (FLOAT, ("n", 8, 9, 9))}, {"y": FLOAT}, {"s": scale}
        )

    report = verify(build(scale), build(wrong))
    assert not report
    assert report.outputs[0].index is not None
    assert report.outputs[0].index[1] == 5
    assert verify(build(scale), build(scale))


def test_a_mistake_under_a_noisy_channel_fails() -> None:
    """One channel loses its digits to cancellation; that must not excuse the others."""
    noisy = np.zeros((8, 1, 1), "f")
    noisy[0] = 1e4

    def build(scale: float) -> onnx.ModelProto:
        factors = np.full((8, 1, 1), 1.7, "f")
        factors[3] *= scale
        nodes = [
            helper.make_node("Add", ["x", "big"], ["a"]),
            helper.make_node("Sub", ["a", "big"], ["b"]),
            helper.make_node("Mul", ["b", "f"], ["y"]),
        ]
        return model(nodes, {"x": (FLOAT, ("n", 8, 9, 9))}, {"y": FLOAT}, {"big": noisy, "f": factors})

    assert verify(build(1.0), build(1.0))
    assert not verify(build(1.0), build(1.0 + 1e-4))


# --- NaN and infinity


def _filled(kind: str, values: Array) -> onnx.ModelProto:
    """x + values, with NaN or infinities in the constant."""
    return model([helper.make_node("Add", ["x", "c"], ["y"])], {"x": (FLOAT, (3, 4))}, {"y": FLOAT}, {"c": values})


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_where_the_original_has_them_and_only_there(special: float) -> None:
    plain = np.zeros((3, 4), "f")
    marked, elsewhere = plain.copy(), plain.copy()
    marked[1, 2] = special
    elsewhere[2, 0] = special
    build = lambda values: _filled("c", values)  # noqa: E731
    assert verify(build(marked), build(marked))
    for wrong in (plain, elsewhere):
        report = verify(build(marked), build(wrong))
        assert not report
        assert report.outputs[0].excess == np.inf
    assert not verify(build(plain), build(marked))
    other = marked.copy()
    other[1, 2] = -special if np.isinf(special) else np.inf
    assert not verify(build(marked), build(other))


def test_an_overflow_of_the_original_passes_as_infinity_or_not_at_all() -> None:
    """Exactly the value is 1e40, beyond float32; in float32 it is infinite, and a result that says so is right."""
    constants = {"c": np.array(1e20, "f")}
    nodes = [helper.make_node("Mul", ["x", "c"], ["a"]), helper.make_node("Mul", ["a", "c"], ["y"])]
    large = {"x": np.ones((2, 3), "f")}
    original = model(nodes, {"x": (FLOAT, (2, 3))}, {"y": FLOAT}, constants)
    assert verify(original, original, large)
    finite = model([helper.make_node("Mul", ["x", "c"], ["y"])], {"x": (FLOAT, (2, 3))}, {"y": FLOAT}, constants)
    assert not verify(original, finite, large)


def test_an_output_without_a_finite_number_is_noted() -> None:
    everywhere = _filled("c", np.full((3, 4), np.nan, "f"))
    report = verify(everywhere, everywhere)
    assert report
    assert any("'y'" in note for note in report.notes)


def test_an_output_that_no_input_moves_is_noted() -> None:
    flat = model([helper.make_node("Softmax", ["x"], ["y"], axis=1)], {"x": (FLOAT, (4, 1))}, {"y": FLOAT})
    assert any("the same for all inputs" in note for note in verify(flat, flat).notes)
    assert not verify(_named(), _named()).notes


# --- integers, booleans, sequences, odd outputs


def _argmax(scores: Array, keepdims: int = 1) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=keepdims),
    ]
    return model(nodes, {"x": (FLOAT, ("n", 4))}, {"y": TensorProto.INT64}, {"w": scores.astype("f")})


@pytest.mark.parametrize("keepdims", [0, 1])
def test_indices_must_agree_but_for_ties(keepdims: int) -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((4, 6))
    assert verify(_argmax(scores, keepdims), _argmax(scores, keepdims))
    report = verify(_argmax(scores, keepdims), _argmax(scores[:, ::-1], keepdims))
    assert not report
    assert "differ" in str(report.reason)
    # Two columns apart by less than their rounding: the result may pick either.
    tied = scores.copy()
    tied[:, 0] = tied[:, 5] = np.abs(tied).max(axis=1) * 2
    swapped = tied.copy()
    swapped[:, 0] *= 1 + 1e-7
    swapped[:, 5] *= 1 - 1e-7
    other = tied.copy()
    other[:, 5] *= 1 + 2e-7
    other[:, 0] *= 1 - 2e-7
    positive = {"x": np.abs(rng.standard_normal((64, 4))).astype("f")}
    assert verify(_argmax(swapped, keepdims), _argmax(other, keepdims), positive)


def test_booleans_are_compared_exactly() -> None:
    def build(limit: float) -> onnx.ModelProto:
        nodes = [helper.make_node("Greater", ["x", "c"], ["y"])]
        return model(nodes, {"x": (FLOAT, (50, 4))}, {"y": TensorProto.BOOL}, {"c": np.array(limit, "f")})

    assert verify(build(0.2), build(0.2))
    assert not verify(build(0.2), build(0.4))


def _split(value: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["a"]),
        helper.make_node("SplitToSequence", ["a", "sizes"], ["y"], axis=0),
    ]
    constants = {"c": np.full((1, 9), value, "f"), "sizes": np.array([2, 3])}
    built = model(nodes, {"x": (FLOAT, (5, 9))}, {}, constants)
    sequence = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    built.graph.output.append(sequence)
    return built


def test_sequences_are_compared_element_by_element() -> None:
    report = verify(_split(1.5), _split(1.5))
    assert report
    assert [output.name for output in report.outputs] == ["y[0]", "y[1]"]
    assert not verify(_split(1.5), _split(1.5001))


def test_an_output_that_is_an_input_and_one_without_elements_pass() -> None:
    nodes = [helper.make_node("Slice", ["x", "start", "stop"], ["y"])]
    constants = {"start": np.array([0]), "stop": np.array([0])}
    empty = model(nodes, {"x": (FLOAT, (3, 4))}, {"y": FLOAT, "x": FLOAT}, constants)
    report = verify(empty, empty)
    assert report
    assert {output.name for output in report.outputs} == {"y", "x"}


# --- what the two models show to a caller


def _named(
    name: str = "x", out: str = "y", kind: int = FLOAT, shape: Sequence[int | str] = ("n", 3)
) -> onnx.ModelProto:
    return model([helper.make_node("Neg", [name], [out])], {name: (kind, shape)}, {out: kind})


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (_named(name="input"), "inputs"),
        (_named(out="output"), "outputs"),
        (_named(kind=TensorProto.FLOAT16), "FLOAT16"),
        (_named(shape=("n", 3, 1)), "rank"),
        (_named(shape=("n", 4)), "size 4"),
        (_named(shape=(1, 3)), "is free"),
    ],
)
def test_another_face_fails_with_its_reason(result: onnx.ModelProto, said: str) -> None:
    report = verify(_named(), result)
    assert not report
    assert said in str(report.reason)


def test_a_result_that_does_not_run_fails() -> None:
    broken = model(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        {"x": (FLOAT, ("n", 3))},
        {"y": FLOAT},
        {"s": np.array([7, 7])},
    )
    report = verify(_named(), broken)
    assert not report
    assert "does not run" in str(report.reason)


def _declared(*shape: int | str, computed: bool = True) -> onnx.ModelProto:
    """A Reshape to (rows, 1, 4), whose output is declared with another shape, as exporters of old did."""
    nodes = [
        helper.make_node("Shape", ["x"], ["rows"], end=1),
        helper.make_node("Concat", ["rows", "rest"], ["whole"], axis=0),
        helper.make_node("NonZero", ["whole"], ["places"]),
        helper.make_node("Squeeze", ["places", "first"], ["place"]),
        helper.make_node("Gather", ["whole", "place"], ["wanted"]),
    ]
    constants = {"rest": np.array([1, 4]), "known": np.array([-1, 1, 4]), "first": np.array([0])}
    reshape = helper.make_node("Reshape", ["x", "wanted" if computed else "known"], ["y"])
    made = model([*nodes, reshape] if computed else [reshape], {"x": (FLOAT, ("n", 4))}, {"y": FLOAT}, constants)
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, shape))
    return made


def test_a_rank_that_the_original_declares_wrongly_may_be_put_right() -> None:
    assert verify(_declared(1, "length"), _declared("n", 1, 4, computed=False)).passed


@pytest.mark.parametrize("shape", [(1, "length"), (3, 7, 4)])
def test_another_declaration_that_no_run_shows_fails(shape: tuple[int | str, ...]) -> None:
    assert not verify(_declared("n", 1, 4), _declared(*shape)).passed


def test_another_shape_of_the_output_fails() -> None:
    flat = model([helper.make_node("Flatten", ["x"], ["y"], axis=0)], {"x": (FLOAT, ("n", 3))}, {"y": FLOAT})
    report = verify(_named(), flat)
    assert not report
    assert "shape" in str(report.reason)


# --- inputs


def test_given_inputs_come_as_mapping_list_or_file(tmp_path: Path) -> None:
    x = np.arange(6, dtype="f").reshape(2, 3)
    np.savez(tmp_path / "x.npz", x=x)
    for inputs, count in (
        ({"x": x}, 1),
        ([{"x": x}, {"x": x[:1]}], 2),
        (tmp_path / "x.npz", 1),
        ({"x": x.tolist()}, 1),
    ):
        report = verify(_named(), _named(), inputs)
        assert report
        assert len(report.samples) == count
        assert report.samples[0] == {"x": (2, 3)}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "'x'"),
        ({"x": np.ones((2, 3), "f"), "z": np.ones(1)}, "'z'"),
        ({"x": np.ones((2, 4), "f")}, "shape"),
        ({"x": np.ones(3, "f")}, "shape"),
        ({"x": np.array([["a", "b", "c"]])}, "'x'"),
        ([], "sample"),
        (["x"], "str"),
        ("nowhere.npz", "nowhere.npz"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(inputs: Any, said: str) -> None:
    with pytest.raises(OnnxNormError, match=said):
        verify(_named(), _named(), inputs)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"not an archive")
    with pytest.raises(OnnxNormError, match=r"x\.npz"):
        verify(_named(), _named(), path)


@pytest.mark.parametrize("shapes", [{"z": (1, 3)}, {"x": (1, 4)}, {"x": (1,)}])
def test_shapes_that_do_not_fit_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(OnnxNormError):
        verify(_named(), _named(), shapes=shapes)


def test_free_dimensions_get_several_sizes_the_same_for_the_same_name() -> None:
    two = model(
        [helper.make_node("Add", ["x", "z"], ["y"])],
        {"x": (FLOAT, ("n", "t", 4)), "z": (FLOAT, ("n", "t", 4))},
        {"y": FLOAT},
    )
    report = verify(two, two)
    assert report
    assert all(shapes["x"] == shapes["z"] for shapes in report.samples)
    assert len({shapes["x"] for shapes in report.samples}) == 3


def test_dimensions_written_as_expressions_follow_their_symbols() -> None:
    nodes = [helper.make_node("Concat", ["x", "x"], ["xx"], axis=1), helper.make_node("Add", ["xx", "z"], ["y"])]
    built = model(nodes, {"x": (FLOAT, ("n", "s")), "z": (FLOAT, ("n", "2*s"))}, {"y": FLOAT})
    report = verify(built, built)
    assert report
    assert all(shapes["z"][1] == 2 * shapes["x"][1] for shapes in report.samples)


def test_sizes_that_the_original_refuses_are_replaced_and_noted() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    picky = model(nodes, {"x": (FLOAT, ("n", 3, "h", "w"))}, {"y": FLOAT}, {"s": np.array([-1, 3 * 64 * 64])})
    report = verify(picky, picky, samples=1)
    assert report
    assert report.samples[0]["x"][2:] == (64, 64)
    assert "used instead" in report.notes[0]


def test_an_original_that_never_runs_is_an_error() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    never = model(nodes, {"x": (FLOAT, (2, 3))}, {"y": FLOAT}, {"s": np.array([7, 7])})
    with pytest.raises(OnnxNormError, match="does not run"):
        verify(never, never)


def double_conv(weights: np.ndarray) -> onnx.ModelProto:
    return model(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])],
        {"x": (TensorProto.DOUBLE, (1, 1, 5, 5))},
        {"y": TensorProto.DOUBLE},
        {"w": weights},
    )


def test_an_operator_without_a_kernel_is_judged_in_arithmetic_that_rounds_every_result() -> None:
    """Conv of doubles, which onnxruntime cannot run."""
    weights = np.random.default_rng(0).standard_normal((1, 1, 3, 3))
    report = verify(double_conv(weights), double_conv(weights))
    assert report
    assert any("onnxruntime cannot run the original" in note for note in report.notes)
    wrong = weights.copy()
    wrong[0, 0, 1, 1] *= 1 + 1e-9
    assert not verify(double_conv(weights), double_conv(wrong))


def test_an_operator_that_nothing_computes_is_an_error_that_says_so() -> None:
    scales = np.array([1, 1, 1.5, 1.5], np.float32)
    enlarged = model(
        [helper.make_node("Upsample", ["x", "s"], ["y"])],
        {"x": (TensorProto.DOUBLE, (1, 1, 5, 5))},
        {"y": TensorProto.DOUBLE},
        {"s": scales},
        opset=9,
    )
    with pytest.raises(OnnxNormError, match=r"no kernel.*nearest by a fraction"):
        verify(enlarged, enlarged)


def test_indices_stay_inside_the_table_that_they_index() -> None:
    built = model(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        {"ids": (TensorProto.INT64, ("n", "t"))},
        {"y": FLOAT},
        {"table": np.arange(6, dtype="f").reshape(2, 3)},
    )
    assert verify(built, built)


def test_initializers_that_are_inputs_as_well_need_not_be_given() -> None:
    built = _filled("c", np.ones((3, 4), "f"))
    built.graph.input.append(helper.make_tensor_value_info("c", FLOAT, (3, 4)))
    assert verify(built, _filled("c", np.ones((3, 4), "f")))
    assert verify(built, built, {"x": np.ones((3, 4), "f"), "c": np.zeros((3, 4), "f")})


# --- yardsticks


def _gated(scale: float) -> onnx.ModelProto:
    """An operator of onnxruntime's own has no float64 evaluation."""
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["a"]),
        helper.make_node("QuickGelu", ["a"], ["y"], domain="com.microsoft"),
    ]
    factors = np.full((3, 1, 1), 1.3, "f")
    factors[1] *= scale
    gated = model(nodes, {"x": (FLOAT, (1, 3, 8, 8))}, {"y": FLOAT}, {"c": factors})
    gated.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return gated


def test_without_a_float64_run_the_original_in_the_runtime_is_the_yardstick() -> None:
    report = verify(_gated(1.0), _gated(1.0))
    assert report
    assert "(no float64 evaluation of com.microsoft::QuickGelu is known)" in report.oracle
    assert not verify(_gated(1.0), _gated(1.0 + 1e-4))


def test_a_float64_run_that_disagrees_with_the_runtime_is_no_yardstick() -> None:
    """onnxruntime ignores the dilations of a pool with SAME padding."""

    def build(scale: float) -> onnx.ModelProto:
        pool = helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], dilations=[2, 2], auto_pad="SAME_UPPER")
        nodes = [pool, helper.make_node("Mul", ["p", "c"], ["y"])]
        constants = {"c": np.full((3, 1, 1), scale, "f")}
        return model(nodes, {"x": (FLOAT, (1, 3, 9, 9))}, {"y": FLOAT}, constants)

    report = verify(build(1.5), build(1.5))
    assert report
    assert "onnxruntime run" in report.oracle
    assert not verify(build(1.5), build(1.5001))


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_numbers_beyond_the_squares_of_float64(size: float) -> None:
    def build(factor: float) -> onnx.ModelProto:
        nodes = [helper.make_node("Mul", ["x", "c"], ["y"])]
        return model(nodes, {"x": (TensorProto.DOUBLE, (9, 9))}, {"y": TensorProto.DOUBLE}, {"c": np.array(factor)})

    assert verify(build(size), build(size))
    assert not verify(build(size), build(1.001 * size))


def test_a_type_that_cannot_be_fed_is_refused_by_name() -> None:
    short = TensorProto.FLOAT8E4M3FN
    built = model([helper.make_node("Identity", ["x"], ["y"])], {"x": (short, (2, 3))}, {"y": short})
    with pytest.raises(OnnxNormError, match="float8"):
        verify(built, built)


def test_a_random_original_whose_draws_cannot_be_shared_proves_nothing() -> None:
    """They are made in a branch, which has no inputs of its own."""
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[4, 4] x, bool c) => (float[4, 4] y) {
        y = If (c) <then_branch = t () => (float[4, 4] a) { r = RandomNormalLike (x) a = Add (x, r) },
                    else_branch = e () => (float[4, 4] b) { s = RandomNormalLike (x) b = Sub (x, s) }> }"""
    random = onnx.parser.parse_model(text)
    report = verify(random, random)
    assert not report
    assert "each time" in str(report.reason)


# --- the report


def test_the_report_is_plain_data_and_says_what_was_measured() -> None:
    net = ConvNet(0)
    good, bad = (verify(net.original(), net.folded(m), shapes=SMALL) for m in (None, MISTAKES["one weight forgotten"]))
    for report in (good, bad):
        assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["passed"] is report.passed
        (output,) = report.outputs
        assert report.least_absolute_tolerance == output.least_absolute_tolerance == output.error_result
        assert output.sample in range(3)
    assert str(good).startswith("passed")
    assert str(bad).startswith("failed")
    assert good.outputs[0].error_result < 1e-4 < bad.outputs[0].error_result
    assert good.outputs[0].error_original > 0


def test_the_least_tolerance_is_the_least() -> None:
    """By the definition, on outputs whose exact values are known."""
    x = np.array([[1.0, 2.0, 4.0]], "f")
    nodes = [helper.make_node("Add", ["x", "c"], ["y"])]
    shift = np.array([[0.0, 0.5, 0.25]], "f")
    original = model(nodes, {"x": (FLOAT, (1, 3))}, {"y": FLOAT}, {"c": np.zeros((1, 3), "f")})
    result = model(nodes, {"x": (FLOAT, (1, 3))}, {"y": FLOAT}, {"c": shift})
    report = verify(original, result, {"x": x})
    assert report.least_absolute_tolerance == 0.5
    assert report.least_relative_tolerance == 0.25


def test_infinities_are_text_in_json() -> None:
    marked = np.zeros((3, 4), "f")
    marked[0, 0] = np.inf
    report = verify(_filled("c", np.zeros((3, 4), "f")), _filled("c", marked))
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["outputs"][0]["excess"] == "inf"


def test_the_same_seed_gives_the_same_report() -> None:
    net = ConvNet(1)
    reports = [verify(net.original(), net.folded(), shapes=SMALL, seed=5) for _ in range(2)]
    assert reports[0] == reports[1]


def test_every_form_of_a_model_is_taken_and_left_alone(tmp_path: Path) -> None:
    proto = _named()
    before = proto.SerializeToString()
    onnx.save(proto, tmp_path / "m.onnx")
    for form in (proto, tmp_path / "m.onnx", str(tmp_path / "m.onnx"), ir.from_proto(proto)):
        assert isinstance(verify(form, proto), VerifyReport)
    assert proto.SerializeToString() == before


# --- models not of our making


@pytest.mark.parametrize("name", ["inception_v1", "shufflenet"])
def test_a_published_model_equals_itself(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    report = verify(path, path, samples=1)
    assert report
    assert report.oracle == "a float64 run of the original"
