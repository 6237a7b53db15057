"""Tests of half precision: what stays in float32, how many casts there are, and what rounding each operator costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

import onnxnorm
from fuzz.networks import feeds_of, in_precision
from onnxnorm import OnnxNormError, cli
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.evaluate.rounded import RoundedEvaluator
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.prepare.half import to_half
from testing.builder import Builder, random_feeds, session
from testing.networks import random_network

_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def _types(model: onnx.ModelProto) -> list[int]:
    return [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]


def _half(model: onnx.ModelProto, dtype: str = "float16", **options: Any) -> onnxnorm.OptimizeResult:
    """The result in half precision, valid, and within a few roundings of the original."""
    given = model.SerializeToString(deterministic=True)
    result = onnxnorm.optimize(model, dtype=dtype, **options)
    assert model.SerializeToString(deterministic=True) == given
    onnx.checker.check_model(result.model, full_check=True)
    feeds = random_feeds(model)
    wanted, got = evaluate_float64(model, feeds), RoundedEvaluator(result.model).evaluate(feeds)
    for name, array in wanted.items():
        assert np.abs(got[name] - array).max() <= 16 * _ROUNDOFF[dtype] * np.abs(array).max(), name
    if dtype == "float16":
        session(result.model)
    return result


def _stays(result: onnxnorm.OptimizeResult, op_type: str, reason: str) -> bool:
    return any(note.startswith(f"in float32 stays {op_type} ") and reason in note for note in result.notes)


def _count(result: onnxnorm.OptimizeResult, op_type: str) -> int:
    return Counter(node.op_type for node in result.model.graph.node)[op_type]


def _convolutions(b: Builder) -> str:
    x = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3), pads=[1] * 4)
    return b.node("Relu", b.batch_norm(x, 4))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("keep_io_types", [False, True])
def test_a_network_is_converted_whole(dtype: str, keep_io_types: bool) -> None:
    b = Builder(dtype=np.float32, opset=22, ir_version=10)
    result = _half(b.model(_convolutions(b)), dtype, keep_io_types=keep_io_types)
    own = TensorProto.FLOAT if keep_io_types else TensorProto.DataType.Value(dtype.upper())
    assert _types(result.model) == [own] * 2
    assert _count(result, "Cast") == 2 * keep_io_types and _count(result, "BatchNormalization") == 0
    assert {tensor.data_type for tensor in result.model.graph.initializer} == {
        TensorProto.DataType.Value(dtype.upper())
    }
    assert not any(note.startswith("in float32") for note in result.notes)
    assert any("costs a relative error of" in note for note in result.notes)


def _instance_norm(b: Builder) -> str:
    x = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3))
    x = b.node("InstanceNormalization", x, b.constant(b.vector(4)), b.constant(b.normal(4)))
    return b.conv(x, 4, 2, (3, 3))


def _written_out_norm(b: Builder) -> str:
    x = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3))
    mean = b.node("ReduceMean", b.node("Mul", x, x), b.ints(1, 2), keepdims=1)
    size = b.node("Sqrt", b.node("Add", mean, b.constant(np.array(1e-3))))
    return b.conv(b.node("Div", x, size), 4, 2, (3, 3))


def _large_constant(b: Builder) -> str:
    x = b.node("Sigmoid", b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3)))
    return b.node("Sigmoid", b.node("Sub", b.node("Mul", x, b.constant(np.array(3e5))), b.constant(np.array(1e5))))


def _large_value(b: Builder) -> str:
    x = b.node("Exp", b.node("Mul", b.node("Sigmoid", b.input((1, 3, 8, 8))), b.constant(np.array(12.0))))
    return b.node("Log", x)


def _quantized(b: Builder) -> str:
    numbers = [b.constant(np.array(0.02)), b.constant(np.array(128, np.uint8))]
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", b.input((1, 3, 8, 8)), *numbers), *numbers)
    return b.conv(x, 3, 4, (3, 3))


def _other_domain(b: Builder) -> str:
    return b.node("Gelu", b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3)), domain="com.microsoft")


@pytest.mark.parametrize(
    ("build", "op_type", "reason", "casts"),
    [
        (_instance_norm, "InstanceNormalization", "no stash_type", 2),
        (_written_out_norm, "Mul", "statistics of a normalization, which is written out", 2),
        (_large_value, "Exp", "and float16 ends at 6.55e+04", 2),
        (_quantized, "QuantizeLinear", "works on integers", 2),
    ],
)
def test_what_stays_is_told(build: Callable[[Builder], str], op_type: str, reason: str, casts: int) -> None:
    b = Builder(dtype=np.float32)
    result = _half(b.model(build(b)), passes=["infer_shapes"])
    assert _stays(result, op_type, reason), result.notes
    assert _count(result, "Cast") == casts


def test_a_constant_beyond_the_range_stays() -> None:
    b = Builder(dtype=np.float32)
    result = onnxnorm.optimize(b.model(_large_constant(b)), dtype="float16", passes=["infer_shapes"])
    assert _stays(result, "Mul", "more than float16 holds")
    assert np.isfinite(
        RoundedEvaluator(result.model).evaluate(random_feeds(b.model()))[result.model.graph.output[0].name]
    ).all()


def _if(b: Builder, *kinds: str) -> str:
    x = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3))
    branches = {}
    for word, kind in zip(("then_branch", "else_branch"), kinds, strict=True):
        inner = Builder(dtype=np.float32, prefix=word)
        operands = [inner.constant(np.full(4, 0.5)), inner.constant(np.zeros(4))] if kind.startswith("Inst") else []
        inner.output(inner.node(kind, x, *operands), shape=(1, 4, 6, 6))
        branches[word] = inner.graph(word)
    condition = b.node("Less", b.node("ReduceMean", x, keepdims=0), b.constant(np.array(0.0)))
    return b.conv(b.node("If", condition, **branches), 4, 2, (3, 3))


def test_branches_are_converted_too() -> None:
    b = Builder(dtype=np.float32)
    result = _half(b.model(_if(b, "Relu", "Neg")), passes=["infer_shapes"])
    assert _count(result, "Cast") == 0 and not any("stays" in note for note in result.notes)
    (node,) = (node for node in result.model.graph.node if node.op_type == "If")
    types = [attribute.g.output[0].type.tensor_type.elem_type for attribute in node.attribute]
    assert types == [TensorProto.FLOAT16] * 2


def test_branches_agree_on_the_type_that_they_give_back() -> None:
    b = Builder(dtype=np.float32)
    result = _half(b.model(_if(b, "Relu", "InstanceNormalization")), passes=["infer_shapes"])
    assert _stays(result, "InstanceNormalization", "no stash_type")
    (node,) = (node for node in result.model.graph.node if node.op_type == "If")
    inside = {attribute.name: [each.op_type for each in attribute.g.node] for attribute in node.attribute}
    # What a branch reads from outside is cast there, where each branch finds it.
    assert inside == {"then_branch": ["Relu"], "else_branch": ["InstanceNormalization", "Cast"]}
    assert _count(result, "Cast") == 1


def test_a_cast_of_the_model_reads_either_type() -> None:
    b = Builder(dtype=np.float32)
    x = b.node("Relu", b.input((2, 3)))
    wide = b.node("Cast", x, to=TensorProto.DOUBLE)
    b.output(b.node("Cast", b.node("Sqrt", wide), to=TensorProto.FLOAT), shape=(2, 3))
    result = _half(b.model(), passes=["infer_shapes"])
    assert [node.op_type for node in result.model.graph.node] == ["Relu", "Cast", "Sqrt", "Cast", "Cast"]


def _rounds(operator: str, width: int = 4) -> onnx.ModelProto:
    """A state that is multiplied and bent in every round, and what it is in each round."""
    text = "s_next = Tanh(mixed) y = Mul(s_next, half)"
    constants = f"float[{width}, {width}] w, float half = {{0.5}}"
    if operator == "Loop":
        body = f"""b (int64 i, bool go, float[1, {width}] s) => (bool go_on, float[1, {width}] s_out,
            float[1, {width}] y) {{ go_on = Identity(go) mixed = MatMul(s, w) {text} s_out = Add(s, s_next) }}"""
        call, inputs = f"last, all = Loop <body = {body}> (count, yes, start)", f"float[1, {width}] start"
    else:
        body = f"""b (float[1, {width}] s, float[1, {width}] x) => (float[1, {width}] s_out, float[1, {width}] y)
            {{ mixed = MatMul(x, w) {text} s_out = Add(s, s_next) }}"""
        call = f"bent = Relu(xs) last, all = Scan <body = {body}, num_scan_inputs = 1> (start, bent)"
        inputs = f"float[1, {width}] start, float[5, 1, {width}] xs"
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 18]>
        g ({inputs}) => (float[1, {width}] last_out, float[5, 1, {width}] all_out)
        <{constants}, int64 count = {{5}}, bool yes = {{1}}> {{ {call} last_out = Relu(last) all_out = Neg(all) }}"""
    )
    del model.graph.initializer[:]
    random = np.random.default_rng(0)
    arrays = {"w": random.normal(size=(width, width)).astype(np.float32), "half": np.array(0.5, np.float32)}
    arrays |= {"count": np.array(5, np.int64), "yes": np.array(True)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


@pytest.mark.parametrize("keep_io_types", [False, True])
@pytest.mark.parametrize("operator", ["Loop", "Scan"])
def test_bodies_compute_in_half_and_carry_float32(operator: str, keep_io_types: bool) -> None:
    result = _half(_rounds(operator), passes=["infer_shapes"], keep_io_types=keep_io_types)
    (node,) = (node for node in result.model.graph.node if node.op_type == operator)
    (body,) = (attribute.g for attribute in node.attribute if attribute.name == "body")
    types = {value.name: value.type.tensor_type.elem_type for value in (*body.input, *body.output)}
    assert types["s"] == TensorProto.FLOAT and types["y"] == TensorProto.FLOAT16
    assert types.get("x", TensorProto.FLOAT16) == TensorProto.FLOAT16
    products = [each for each in body.node if each.op_type == "MatMul"]
    half = [t.name for t in result.model.graph.initializer if t.data_type == TensorProto.FLOAT16 and len(t.dims) == 2]
    assert [each.input[1] for each in products] == half
    assert not any("stays" in note for note in result.notes), result.notes


@pytest.mark.parametrize("name", ["Sigmoid_1"])
def test_nodes_are_kept_by_name(name: str) -> None:
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3))
    result = _half(b.model(b.conv(b.node("Sigmoid", x, out="s"), 4, 2, (3, 3))), keep=[name])
    assert _stays(result, "Sigmoid", "asked for") and _count(result, "Cast") == 2


def test_outputs_keep_their_names_and_inputs_may_be_outputs() -> None:
    b = Builder(dtype=np.float32)
    x = b.input((1, 3, 4, 4))
    y = b.node("Sigmoid", x, out="y")
    z = b.node("InstanceNormalization", y, b.constant(np.ones(3)), b.constant(np.zeros(3)), out="z")
    result = _half(b.model(y, z), passes=["infer_shapes"])
    assert [value.name for value in result.model.graph.output] == ["y", "z"]
    assert _types(result.model) == [TensorProto.FLOAT16] * 3


def test_bfloat16_below_opset_22_says_which_opset_helps() -> None:
    b = Builder(dtype=np.float32, opset=18)
    result = _half(b.model(_convolutions(b)), "bfloat16")
    assert _stays(result, "Conv", "its definition at opset 18 takes no bfloat16")
    assert any("from opset 22 on more operators take bfloat16" in note for note in result.notes)
    old = Builder(dtype=np.float32, opset=11)
    with pytest.raises(OnnxNormError, match="opset 11 has no bfloat16"):
        onnxnorm.optimize(old.model(_convolutions(old)), dtype="bfloat16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "half"}, "dtype must be float16 or bfloat16"),
        ({"keep_io_types": True}, "give a dtype"),
        ({"dtype": "float16", "keep": ["Sigmod"]}, "Sigmod"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    b = Builder(dtype=np.float32)
    with pytest.raises(OnnxNormError, match=message):
        onnxnorm.optimize(b.model(b.node("Sigmoid", b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3)))), **options)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("keep_io_types", [False, True])
def test_random_networks_stay_valid(seed: int, keep_io_types: bool) -> None:
    model = in_precision(random_network(seed, 20), "float32")
    work = load(model)
    to_half(work, ir.DataType.FLOAT16, keep_io_types=keep_io_types)
    result = to_proto(work)
    onnx.checker.check_model(result, full_check=True)
    feeds = {k: a.astype(np.float32) if a.dtype.kind == "f" else a for k, a in feeds_of(model, seed).items()}
    narrow = {value.name for value in result.graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    session(result).run(None, {name: a.astype(np.float16) if name in narrow else a for name, a in feeds.items()})
    names = [value.name for value in model.graph.output]
    assert [value.name for value in result.graph.output] == names and bool(narrow) is not keep_io_types


def test_the_command_line(tmp_path: Path) -> None:
    b = Builder(dtype=np.float32)
    onnx.save(b.model(b.node("Sigmoid", _convolutions(b), name="last")), tmp_path / "in.onnx")
    options = ["--dtype", "float16", "--keep-io-types", "--keep", "last"]
    assert cli.main(["optimize", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), *options]) == 0
    nodes = [node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node]
    assert nodes == ["Cast", "Conv", "Relu", "Cast", "Sigmoid"]


def test_resize_keeps_its_scales() -> None:
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3))
    scales = b.constant(np.array([1.0, 1.0, 2.0, 2.0]), dtype=np.float32)
    result = _half(b.model(b.node("Resize", x, "", scales, mode="nearest")))
    assert _count(result, "Cast") == 0
    assert {t.data_type for t in result.model.graph.initializer} == {TensorProto.FLOAT, TensorProto.FLOAT16}
    assert helper.tensor_dtype_to_np_dtype(_types(result.model)[1]) == np.float16


_TYPED = {
    "RandomNormalLike": "r = RandomNormalLike(x) y = Mul(r, x)",
    "EyeLike": "e = EyeLike(x) y = Add(e, x)",
    "SplitToSequence": "s = SplitToSequence <axis = 1> (x, parts) first = SequenceAt(s, zero) y = Relu(first)",
    "Optional": "o = Optional(x) z = OptionalGetElement(o) y = Sigmoid(z)",
    "TopK": "y, i = TopK(x, one)",
    "LSTM": "w = Unsqueeze(x, zeros) z = LSTM <hidden_size = 1> (w, k, k) y = Relu(z)",
}


@pytest.mark.parametrize("keep_io_types", [False, True])
@pytest.mark.parametrize("op_type", _TYPED)
def test_results_of_types_of_their_own_make_no_invalid_file(op_type: str, keep_io_types: bool) -> None:
    constants = "int64[2] parts = {2, 2}, int64 zero = {0}, int64[1] zeros = {0}, int64[1] one = {1}"
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 18]>
        g (float[2, 4] x) => (float y) <{constants}> {{ {_TYPED[op_type]} }}"""
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    if op_type == "LSTM":
        model.graph.node[1].input[1:3] = ["w0", "r0"]
        for name, width in (("w0", 4), ("r0", 1)):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((1, 4, width), 0.1, np.float32), name))
    session(model)
    result = onnxnorm.optimize(model, dtype="float16", keep_io_types=keep_io_types, verify=False)
    onnx.checker.check_model(result.model, full_check=True)
    session(result.model)
    stays = any(f" {op_type} " in f" {note} " for note in result.notes if note.startswith("in float32 stays"))
    assert stays is (op_type not in ("TopK", "LSTM"))


def test_a_result_that_onnxruntime_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: ir.Model, dtype: ir.DataType, **_: Any) -> tuple[()]:
        model.graph.inputs[0].type = ir.TensorType(dtype)
        return ()

    b = Builder(dtype=np.float32)
    x = b.input((1, 3))
    model = b.model(b.node("Add", x, b.constant(np.ones(3))))
    monkeypatch.setattr("onnxnorm.prepare.half.to_half", broken)
    with pytest.raises(OnnxNormError, match="in float16 the model is not valid; keep nodes in float32"):
        onnxnorm.optimize(model, dtype="float16", verify=False)


def _layer_norm(b: Builder, x: str, *, by_root: bool) -> str:
    centred = b.node("Sub", x, b.node("ReduceMean", x, axes=[-1]))
    squares = b.node("Pow", centred, b.constant(np.array(2.0)))
    size = b.node("Sqrt", b.node("Add", b.node("ReduceMean", squares, axes=[-1]), b.constant(np.array(1e-5))))
    y = b.node("Mul", centred, b.node("Reciprocal", size)) if by_root else b.node("Div", centred, size)
    return b.node("Add", b.node("Mul", y, b.constant(b.normal(8))), b.constant(b.normal(8)))


def _rms_norm(b: Builder, x: str, *, by_root: bool) -> str:
    squares = b.node("Mul", x, x) if by_root else b.node("Pow", x, b.constant(np.array(2.0)))
    size = b.node("Sqrt", b.node("Add", b.node("ReduceMean", squares, axes=[-1]), b.constant(np.array(1e-5))))
    y = b.node("Mul", x, b.node("Reciprocal", size)) if by_root else b.node("Div", x, size)
    return b.node("Mul", b.constant(b.normal(8)), y)


@pytest.mark.parametrize("by_root", [False, True])
@pytest.mark.parametrize(("norm", "first"), [(_layer_norm, 17), (_rms_norm, 23)])
def test_a_norm_that_is_written_out_stays_whole(norm: Callable[..., str], first: int, by_root: bool) -> None:
    """One cast comes before all of it and one behind, before gamma, as runtimes find it again; two share the first."""
    b = Builder(dtype=np.float32, opset=13)
    x = b.node("MatMul", b.input((2, 5, 8)), b.constant(b.normal(8, 8)))
    both = b.node(
        "Concat", *(b.node("MatMul", norm(b, x, by_root=by_root), b.constant(b.normal(8, 4))) for _ in "ab"), axis=-1
    )
    result = _half(b.model(both), passes=["infer_shapes"])
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(result.model).graph.value_info
    }
    assert _count(result, "Cast") == 3
    for node in result.model.graph.node:
        if node.op_type in ("ReduceMean", "Pow", "Sqrt", "Sub", "Div", "Reciprocal"):
            assert types[node.output[0]] == TensorProto.FLOAT, node.op_type
        if node.op_type == "MatMul":
            assert types.get(node.output[0], TensorProto.FLOAT16) == TensorProto.FLOAT16
    assert sum(f"at opset {first} " in note for note in result.notes) == 1, result.notes


@pytest.mark.parametrize("size", [1.0, 2000.0])
@pytest.mark.parametrize("norm", [_layer_norm, _rms_norm])
def test_a_norm_that_is_written_out_squares_in_float32(norm: Callable[..., str], size: float) -> None:
    """Values that float16 holds have squares that it does not."""
    b = Builder(dtype=np.float32, opset=13)
    y = norm(b, b.input((2, 5, 8)), by_root=False)
    model = b.model(b.node("MatMul", y, b.constant(b.normal(8, 4))))
    feeds = {name: np.float16(size * array).astype(np.float32) for name, array in random_feeds(model).items()}
    result = onnxnorm.optimize(model, dtype="float16", calibration=[feeds], passes=["infer_shapes"])
    wanted, got = evaluate_float64(model, feeds), RoundedEvaluator(result.model).evaluate(feeds)
    for name, array in wanted.items():
        assert np.abs(got[name] - array).max() <= 4e-3 * np.abs(array).max()


@pytest.mark.parametrize(("beside", "casts"), [("float32", 2), ("half", 4)])
def test_what_stands_among_nodes_of_float32_stays_there(beside: str, casts: int) -> None:
    b = Builder(dtype=np.float32)
    norm = [b.constant(b.vector(4)), b.constant(b.normal(4))]
    x = b.node("InstanceNormalization", b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3)), *norm)
    y = b.node("Add", b.node("LeakyRelu", x), b.node("Sigmoid", x))
    if beside == "half":
        y = b.conv(y, 4, 4, (1, 1))
    y = b.node("InstanceNormalization", b.node("Mul", y, b.constant(np.array(0.5))), *norm)
    result = _half(b.model(b.conv(y, 4, 2, (3, 3))), passes=["infer_shapes"])
    assert _count(result, "Cast") == casts
    assert not _stays(result, "LeakyRelu", ""), "it is not told as a node that has to stay"


@pytest.mark.parametrize(("positions", "stays"), [(TensorProto.INT64, True), (TensorProto.FLOAT, False)])
def test_angles_of_positions_keep_their_digits(positions: int, stays: bool) -> None:
    """Behind 2048 neighbouring positions would be one number."""
    b = Builder(dtype=np.float32, opset=18)
    b.input((1, 5), "positions", positions)
    x = b.node("Cast", "positions", to=TensorProto.FLOAT) if stays else "positions"
    angles = b.node("Mul", b.node("Unsqueeze", x, b.ints(-1)), b.constant(np.array([1.0, 0.1])))
    y = b.node(
        "MatMul", b.node("Concat", b.node("Cos", angles), b.node("Sin", angles), axis=-1), b.constant(b.normal(4, 3))
    )
    model = b.model(y)
    result = onnxnorm.optimize(model, dtype="float16", verify=False, passes=["infer_shapes"])
    told = [note for note in result.notes if "angles of positions" in note]
    assert len(told) == stays and all(f" {op_type} " in told[0] for op_type in ("Cast", "Mul", "Cos") if stays)
    if stays:
        feeds = {"positions": np.arange(2500, 2505)[None]}
        wanted, got = evaluate_float64(model, feeds), RoundedEvaluator(result.model).evaluate(feeds)
        for name, array in wanted.items():
            assert np.abs(got[name] - array).max() <= 4e-3 * np.abs(array).max()


@pytest.mark.parametrize(
    ("source", "reader", "casts"), [("UINT8", "Conv", 1), ("INT32", "Conv", 1), ("UINT8", "InstanceNormalization", 2)]
)
def test_a_cast_of_integers_makes_the_type_that_is_read(source: str, reader: str, casts: int) -> None:
    b = Builder(dtype=np.float32)
    b.input((1, 4, 8, 8), "image", TensorProto.DataType.Value(source))
    x = b.node("Cast", "image", to=TensorProto.FLOAT)
    norm = [b.constant(b.vector(4)), b.constant(b.normal(4))]
    y = b.conv(x, 4, 2, (3, 3)) if reader == "Conv" else b.conv(b.node(reader, x, *norm), 4, 2, (3, 3))
    result = onnxnorm.optimize(b.model(y), dtype="float16", verify=False, passes=["infer_shapes"])
    onnx.checker.check_model(result.model, full_check=True)
    session(result.model)
    assert _count(result, "Cast") == casts
