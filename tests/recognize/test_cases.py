"""Normalizations as TensorFlow's and Paddle's exporters write them; the files are made by `generate_cases.py`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import pytest

import onnxnorm
from onnxnorm import Fate
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.passes import DEFAULT

FOLDER = Path(__file__).parent / "cases"
BATCH, LAYER, GROUP = "BatchNormalization", "LayerNormalization", "GroupNormalization"
RMS, LP, LRN = "RMSNormalization", "LpNormalization", "LRN"

# Each by its kind as `inspect` names it in the file (opset 17), and by what is left of it at opset 23; None where it
# stays written out, then with what the reason holds.
CASES = {
    "paddle_batch_norm": (BATCH, {BATCH: 1}, ""),
    "paddle_group_norm": (f"{GROUP} (written out)", {GROUP: 1}, "takes nearly twice as long"),
    "paddle_instance_norm": ("InstanceNormalization", {"InstanceNormalization": 1}, ""),
    "paddle_layer_norm": (LAYER, {LAYER: 1}, ""),
    "paddle_layer_norm_two_axes": (LAYER, {LAYER: 1}, ""),
    "paddle_lrn": ("LRN (inter-channel)", {LRN: 1}, ""),
    "paddle_normalize": (f"{LP} (written out)", None, "held above 1e-12"),
    "paddle_rms_norm": (f"{RMS} (written out)", {RMS: 1}, "needs opset 23"),
    # Keras computes scale and shift beforehand, the exporter writes them as constants: nothing but an affine is left.
    "tensorflow_batch_norm": (None, {"Mul": 1, "Add": 1}, ""),
    "tensorflow_batch_norm_of_tokens": (None, {"Mul": 1, "Add": 1}, ""),
    "tensorflow_batch_norm_channels_first": (None, {BATCH: 1}, ""),
    "tensorflow_group_norm": (f"{GROUP} (written out)", None, "its channels are last"),
    "tensorflow_l2_normalize": (f"{LP} (written out)", None, "held above 1e-06"),
    "tensorflow_layer_norm": (LAYER, {LAYER: 1}, ""),
    "tensorflow_layer_norm_two_axes": (LAYER, {LAYER: 1}, ""),
    "tensorflow_lrn": ("LRN (inter-channel)", {LRN: 1, "Transpose": 2}, ""),
    "tensorflow_moments": (LAYER, {LAYER: 1}, ""),
    "tensorflow_rms_norm": (f"{RMS} (written out)", {RMS: 1}, "needs opset 23"),
    "tensorflow_unit_norm": (f"{LP} (written out)", None, "held above 1e-12"),
}


def test_every_file_has_its_line() -> None:
    assert {path.stem.removesuffix("_open") for path in FOLDER.glob("*.onnx")} == set(CASES)


@pytest.mark.parametrize("batch", ["", "_open"])
@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str, batch: str) -> None:
    kind, expected, says = CASES[name]
    path = FOLDER / f"{name}{batch}.onnx"
    # Scale and shift of a normalization that stays written out may become a new one.
    records = [record for record in onnxnorm.inspect(path) if record.fate is not Fate.NEW]
    assert [record.kind for record in records] == ([kind] if kind else [])
    assert all(says in record.reason for record in records)
    before = onnx.load(path)
    # Without the pass that writes an LRN out again, in a faster form.
    passes = [each for each in DEFAULT if each != "accelerate"]
    after = onnxnorm.optimize(path, passes=passes, opset=23, target="tensorrt", verify=False).model
    assert isinstance(after, onnx.ModelProto)
    onnx.checker.check_model(after, full_check=True)
    if expected is not None:
        assert Counter(node.op_type for node in after.graph.node) == expected
    dims = [dim.dim_value or 2 for dim in before.graph.input[0].type.tensor_type.shape.dim]
    feeds = {before.graph.input[0].name: np.random.default_rng(5).normal(0.3, 1.2, dims).astype(np.float32)}
    (want,), (got,) = (evaluate_float64(model, feeds).values() for model in (before, after))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())
