"""Inputs on which a model decides: `verify` draws them so that every part is compared, or says which part is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxnorm import cli
from onnxnorm.verification.verify import verify
from tests.cli.samples import Captured


def _parsed(head: str, body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> g {head} {{ {body} }}')


def _switch(condition: str, then: float, other: float, extra: str = "int64 k") -> onnx.ModelProto:
    """y is `then` times x where `c` holds, which `condition` computes of k, else `other` times x."""
    branches = [
        f"{name} = {f'{name}_graph'} () => (float[n, 8] {name}_y) "
        f"{{ {name}_c = Constant <value_float = {float(value)}> () {name}_y = Mul (x, {name}_c) }}"
        for name, value in (("then_branch", then), ("else_branch", other))
    ]
    return _parsed(f"(float[n, 8] x, {extra}) => (float[n, 8] y)", f"{condition} y = If (c) <{', '.join(branches)}>")


CONDITIONS = {
    "a constant": ("m = Constant <value_int = 16000> () c = Equal (k, m)", "int64 k"),
    "one element": ("m = Constant <value_int = 7> () e = Equal (k, m) c = Squeeze (e)", "int64[1] k"),
    "arithmetic": (
        "f = Cast <to = 1> (k) t = Constant <value_float = 2.0> () s = Mul (f, t) o = Constant <value_float = 9.0> () "
        "r = Sub (o, s) m = Constant <value_float = -91.0> () c = Equal (r, m)",
        "int64 k",
    ),
    "a remainder": (
        "d = Constant <value_int = 97> () r = Mod (k, d) m = Constant <value_int = 55> () c = Equal (r, m)",
        "int64 k",
    ),
    "a bound": ("m = Constant <value_float = 1000.0> () c = Greater (k, m)", "float k"),
    "a bound from below": ("m = Constant <value_float = -1000.0> () c = LessOrEqual (k, m)", "float k"),
    "a truth": ("c = Identity (k)", "bool k"),
    "its opposite": ("c = Not (k)", "bool k"),
    "a largest element": (
        "r = ReduceMax <keepdims = 0> (k) m = Constant <value_float = 40.5> () c = Equal (r, m)",
        "float[3] k",
    ),
    "a row of a table": (
        "t = Constant <value_ints = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]> () r = Gather (t, k) c = Cast <to = 9> (r)",
        "int64 k",
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_branch_that_an_input_decides_is_compared(name: str) -> None:
    condition, extra = CONDITIONS[name]
    original = _switch(condition, 2.0, 3.0, extra)
    report = verify(original, original, strict=True)
    assert report, report
    assert not verify(original, _switch(condition, 4.0, 3.0, extra))
    assert not verify(original, _switch(condition, 2.0, 6.0, extra))


WHERE = "(float[n, 8] x, int64[n, 8] k) => (float[n, 8] y) <float t = {%s}, float u = {%s}, int64 m = {12345}>"


def test_both_sides_of_where_are_compared() -> None:
    body = "c = Equal (k, m) a = Mul (x, t) b = Mul (x, u) y = Where (c, a, b)"
    original = _parsed(WHERE % (2, 3), body)
    assert verify(original, original, strict=True)
    assert not verify(original, _parsed(WHERE % (4, 3), body))
    assert not verify(original, _parsed(WHERE % (2, 4), body))


UNREACHABLE = {
    "If": _switch(
        "s = ReduceSum <keepdims = 0> (x) a = Abs (s) m = Constant <value_float = 1e30> () c = Greater (a, m)", 2.0, 3.0
    ),
    "Where": _parsed(
        "(float[n, 8] x) => (float[n, 8] y)",
        "e = Exp (x) m = Constant <value_float = -1.0> () c = Less (e, m) a = Neg (x) y = Where (c, a, x)",
    ),
    "Loop": _parsed(
        "(float[8] x) => (float[8] y)",
        "z = Constant <value_int = 0> () f = Floor (x) i = Cast <to = 7> (f) w = Mul (i, z) "
        "n = ReduceMax <keepdims = 0> (w) t = Constant <value_ints = [1]> () q = Squeeze (t) d = Equal (q, q) "
        "y = Loop (n, d, x) <body = b (int64 j, bool p, float[8] u) => (bool r, float[8] v) "
        "{ r = Identity (p) v = Mul (u, u) }>",
    ),
}


@pytest.mark.parametrize("op_type", UNREACHABLE)
def test_a_part_that_no_sample_reaches_is_told_and_fails_where_asked(op_type: str) -> None:
    model = UNREACHABLE[op_type]
    report = verify(model, model)
    assert report, report
    (told,) = report.unreached
    assert op_type in told and "not compared" in told
    strict = verify(model, model, strict=True)
    assert not strict
    assert told in str(strict.reason)


def test_what_is_reached_is_known_without_a_float64_run() -> None:
    text = (
        '<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]> g (float[n, 8] x) => (float[n, 8] y) '
        "<float m = {%s}> { s = com.microsoft.QuickGelu (x) c = Less (s, m) a = Neg (x) y = Where (c, a, s) }"
    )
    never, both = (onnx.parser.parse_model(text % limit) for limit in (-1e9, 0.1))
    assert len(verify(never, never).unreached) == 1
    assert not verify(both, both).unreached


MASK = (
    "(float[2, 7] x, {kind}[2, 7] mask) => (float[2, 7] y) "
    "<float one = {{1}}, float big = {{{big}}}, float neg = {{{neg}}}>"
)


@pytest.mark.parametrize("kind", ["float", "int64", "bool"])
@pytest.mark.parametrize("big", [-1e9, -3.4028235e38])
def test_a_mask_that_is_forgotten_or_overflows_in_parts_is_caught(kind: str, big: float) -> None:
    def build(body: str) -> onnx.ModelProto:
        head = MASK.format(kind=kind, big=repr(big), neg=repr(-big))
        return _parsed(head, f"f = Cast <to = 1> (mask) {body} s = Add (x, m) y = Softmax (s)")

    original = build("o = Sub (one, f) m = Mul (o, big)")
    same = build("o = Sub (f, one) m = Mul (o, neg)")
    split = build("o = Mul (f, neg) m = Add (o, big)")
    forgotten = build("m = Mul (f, neg)")
    assert verify(original, same)
    assert not verify(original, forgotten)
    # What is 0 and 1 alone is split without loss; what is beyond the largest number when it is split is not.
    if kind != "bool" and big < -1e30:
        assert not verify(original, split)


def test_dimensions_without_names_may_be_alike_and_may_differ() -> None:
    def build(body: str, dims: str = "") -> onnx.ModelProto:
        model = _parsed("(float[a, b] x, float[2, c, 4] state) => (float[p, q] y)", body)
        for value in model.graph.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_param"):
                    dim.Clear()
        return model

    batches = build(
        "s = ReduceSum <keepdims = 0> (state, axes) y = Concat <axis = 1> (x, s)".replace("axes", "zero"),
    )
    batches.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "zero"))
    report = verify(batches, batches)
    assert report
    assert not report.notes
    assert len({shapes["x"][1] for shapes in report.samples}) > 1

    same = build("s = Transpose <perm = [0, 2, 1]> (state) y = MatMul (x, t)").SerializeToString()
    lengths = onnx.ModelProto.FromString(same)
    del lengths.graph.node[:]
    lengths.graph.node.extend([
        onnx.helper.make_node("Gather", ["state", "zero"], ["row"], axis=0),
        onnx.helper.make_node("Squeeze", ["row", "zero"], ["flat"]),
        onnx.helper.make_node("MatMul", ["x", "flat"], ["y"]),
    ])  # fmt: skip
    lengths.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "zero"))
    assert all(shapes["x"][1] == shapes["state"][1] for shapes in verify(lengths, lengths).samples)


def test_two_lengths_are_not_taken_for_one() -> None:
    """A result that works for equal lengths alone is wrong where nothing says that they are equal."""

    def build(axis: int) -> onnx.ModelProto:
        model = _parsed(
            "(float[n, s] x, float[n, t] z) => (float[p, q] y)",
            f"a = Shape <start = 1, end = 2> ({'xz'[axis]}) f = Cast <to = 1> (a) w = Mul (z, f) "
            "y = Concat <axis = 1> (x, w)",
        )
        for value in model.graph.input:
            value.type.tensor_type.shape.dim[1].Clear()
        return model

    assert verify(build(0), build(0))
    assert not verify(build(0), build(1))


def test_the_command_takes_strict(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(UNREACHABLE["If"], path)
    assert cli.main(["verify", str(path), str(path)]) == 0
    assert "note: node" in capsys.readouterr().out
    assert cli.main(["verify", str(path), str(path), "--strict"]) == 1
    assert "not compared" in capsys.readouterr().out
