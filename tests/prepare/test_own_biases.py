"""Tests that in a model prepared for int8 no bias has a second reader: onnxruntime's quantizer makes integers of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

import onnxnorm
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.prepare.own_biases import own_biases
from testing.builder import Builder, random_feeds, session


def _shared(*, second: str) -> onnx.ModelProto:
    """A Conv whose bias an Add, or another Conv of larger weights, reads as well."""
    b = Builder(dtype=np.float32)
    bias = b.constant(b.normal(4))
    weights = [b.constant(scale * b.normal(4, 4, 3, 3)) for scale in (0.01, 1.0)]
    x = b.node("Conv", b.input((1, 4, 8, 8)), weights[0], bias)
    if second == "Conv":
        return b.model(b.node("Conv", b.node("Relu", x), weights[1], bias))
    x = b.node("Transpose", b.node("Sigmoid", x), perm=[0, 2, 3, 1])
    return b.model(b.node("Sigmoid", b.node("Add", x, bias)))


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: dict[str, np.ndarray]) -> None:
        self._feeds = iter([feeds])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


@pytest.mark.parametrize("second", ["Add", "Conv"])
def test_a_shared_bias_is_quantized_for_each_reader(second: str, tmp_path: Path) -> None:
    model = _shared(second=second)
    feeds = random_feeds(model)
    (wanted,) = session(model).run(None, feeds)
    prepared = onnxnorm.optimize(model, prepare="int8").model
    onnx.save(prepared, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", _Samples(feeds), quant_format=QuantFormat.QOperator
    )
    (got,) = session(onnx.load(tmp_path / "int8.onnx")).run(None, feeds)
    assert np.sum((got - wanted) ** 2) < 0.01 * np.sum(wanted**2)


@pytest.mark.parametrize("second", ["Add", "Conv"])
def test_what_one_operator_reads_is_not_copied(second: str) -> None:
    model = load(_shared(second=second))
    assert own_biases(model) == 1
    before = to_proto(model).SerializeToString(deterministic=True)
    assert own_biases(model) == 0
    assert to_proto(model).SerializeToString(deterministic=True) == before
