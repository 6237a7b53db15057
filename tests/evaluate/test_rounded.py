"""Half arithmetic as devices do it: what a result loses there is no accuracy that onnxruntime's kernels would show."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxnorm.evaluate.rounded import RoundedEvaluator, has_halves
from onnxnorm.verification.verify import verify


def _model(body: str, constants: str = "", kind: str = "float16") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 18]> g ({kind}[2, 3, 32] x) => ({kind}[2, 3, p] y)
        {f"<{constants}>" if constants else ""} {{ {body} }}"""
    )


def test_every_result_is_rounded() -> None:
    """By NumPy, whose half arithmetic rounds after each operation."""
    model = _model("a = Mul (x, x) b = Add (a, x) c = Sqrt (b) y = Div (c, x)")
    x = np.random.default_rng(0).uniform(1, 9, (2, 3, 32)).astype(np.float16)
    got = RoundedEvaluator(model).run({"x": x}, {"y": x})["y"]
    np.testing.assert_array_equal(got, np.sqrt(x * x + x) / x)
    assert got.dtype == np.float16


@pytest.mark.parametrize("kind", ["float16", "float"])
def test_a_constant_that_swallows_digits_fails_in_half_precision(kind: str) -> None:
    """A shift that Softmax forgets in real numbers: -1e4 leaves a score of float16 no digit behind its point."""
    plain, shifted = (
        _model(f"b = CastLike (big, x) {body} y = Softmax (s)", "float big = {-10000.0}", kind)
        for body in ("s = Neg (x)", "n = Neg (x) s = Add (n, b)")
    )
    assert verify(plain, plain)
    report = verify(plain, shifted)
    assert not report
    if kind == "float16":
        assert "optimizations" not in str(report.reason) or "rounded" in str(report.reason)


def test_an_overflow_between_two_operators_fails_in_half_precision() -> None:
    constants = "float up = {300.0}, float down = {0.00390625}"
    casts = "u = Cast <to = 10> (up) d = Cast <to = 10> (down)"
    original = _model(f"{casts} a = Mul (x, u) b = Mul (a, d) c = Mul (b, u) y = Mul (c, d)", constants)
    squared = _model(f"{casts} a = Mul (x, u) b = Mul (a, u) c = Mul (b, d) y = Mul (c, d)", constants)
    assert verify(original, original)
    assert not verify(original, squared)


def test_a_right_rewrite_passes_in_half_precision() -> None:
    rng = np.random.default_rng(0)
    names = ("w", "s", "t", "v")
    first = rng.standard_normal((32, 16)).astype(np.float16)
    scale, shift = (rng.uniform(0.5, 2, 16).astype(np.float16) for _ in range(2))
    original = _model("a = MatMul (x, w) b = Mul (a, s) c = Add (b, t) d = Relu (c) y = MatMul (d, v)")
    folded = _model("a = MatMul (x, w) c = Add (a, t) d = Relu (c) y = MatMul (d, v)")
    second = rng.standard_normal((16, 8)).astype(np.float16)
    wide = (first.astype(np.float64) * scale.astype(np.float64)).astype(np.float16)
    for model, weights in ((original, first), (folded, wide)):
        values = dict(zip(names, (weights, scale, shift, second), strict=True))
        model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    report = verify(original, folded)
    assert report, report
    weight = next(tensor for tensor in folded.graph.initializer if tensor.name == "w")
    wide[:, 3] *= np.float16(1.3)
    weight.CopyFrom(onnx.numpy_helper.from_array(wide, "w"))
    assert not verify(original, folded)


def test_models_without_halves_are_not_run_so() -> None:
    assert not has_halves(_model("y = Neg (x)", kind="float"))
    assert has_halves(_model("a = Cast <to = 10> (x) b = Neg (a) y = Cast <to = 1> (b)", kind="float"))


@pytest.mark.parametrize("ends", ["bfloat16", "float"])
def test_bfloat16_is_judged_in_its_own_arithmetic(ends: str) -> None:
    """onnxruntime has no kernels for it, so that the runs that round every result decide alone."""

    def model(scale: float, body: str = "a = Mul (h, s) b = Relu (a) r = Add (b, s)") -> onnx.ModelProto:
        to = 1 if ends == "float" else 16
        text = f"h = Cast <to = 16> (x) s = Cast <to = 16> (scale) {body} y = Cast <to = {to}> (r)"
        return _model(text, f"float scale = {{{scale}}}", ends)

    report = verify(model(1.5), model(1.5, "a = Relu (h) b = Mul (a, s) r = Add (b, s)"))
    assert report, report
    assert any("onnxruntime cannot run the original" in note for note in report.notes)
    failed = verify(model(1.5), model(1.6))
    assert not failed and failed.place is not None
    # Adding and taking away a large number leaves no digit in bfloat16, though it does no harm in float64.
    ruined = "a = Mul (h, s) b = Relu (a) f = Mul (big, s) c = Add (b, f) d = Sub (c, f) r = Add (d, s)"
    constant = "t = Constant <value = float {3000.0}> () big = Cast <to = 16> (t) "
    assert not verify(model(1.5), model(1.5, constant + ruined))
