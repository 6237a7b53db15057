"""Scan in float64 along any axis and in both directions, against onnxruntime with its optimizations off."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxnorm.evaluate.evaluator import NoFloat64Error, evaluate_float64
from onnxnorm.runtime.unoptimized import open_session


def _scan(settings: str, *, opset: int = 21) -> onnx.ModelProto:
    """Return a running sum over two inputs, with the state and its double scanned out."""
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[3, 3, 3] x, float[3, 3, 3] w) => (float[3, 3] last, float[3, 3, 3] y, float[3, 3, 3] z)
            <float[3, 3] start = {{0, 0, 0, 0, 0, 0, 0, 0, 0}}> {{
            last, y, z = Scan <num_scan_inputs = 2, {settings}
                body = b (float[3, 3] s, float[3, 3] p, float[3, 3] q)
                    => (float[3, 3] s2, float[3, 3] u, float[3, 3] v) {{
                    d = Sub (p, q) s2 = Add (s, d) u = Identity (s2) v = Add (s2, s2) }}> (start, x, w) }}"""
    )


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "scan_input_axes = [1, 0],",
        "scan_input_axes = [0, -1],",
        "scan_input_directions = [1, 0],",
        "scan_output_axes = [1, 2],",
        "scan_output_axes = [-1, 0], scan_output_directions = [0, 1],",
        "scan_input_axes = [2, 1], scan_input_directions = [1, 1], scan_output_axes = [-2, 0],",
    ],
)
def test_scan_follows_axes_and_directions(settings: str) -> None:
    model = _scan(settings)
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=(3, 3, 3)).astype(np.float32) for name in "xw"}
    exact = evaluate_float64(model, feeds)
    seen = open_session(model, "off").run(list(exact), feeds)
    for (name, ours), theirs in zip(exact.items(), seen, strict=True):
        assert ours.shape == theirs.shape, name
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=2.0**-20)


def test_scan_over_batches_is_refused() -> None:
    model = _scan("", opset=8)
    feeds = {name: np.ones((3, 3, 3), np.float32) for name in "xw"}
    with pytest.raises(NoFloat64Error, match="Scan"):
        evaluate_float64(model, feeds)
