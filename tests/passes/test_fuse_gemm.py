"""MatMul and Add of matrices become Gemm, where the bias is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from testing.builder import Builder, count, random_feeds, same_in_onnxruntime

PASSES = ("infer_shapes", "fuse_gemm", "clean")


def _model(
    bias: Any, *, rows: Any = "n", dtype: Any = np.float32, swapped: bool = False, rank: int = 2, opset: int = 17
) -> onnx.ModelProto:
    b = Builder(opset=opset, dtype=dtype)
    x = b.input((rows, 3) if rank == 2 else (2, rows, 3))
    product = b.node("MatMul", x, b.constant(b.normal(3, 4)))
    other = b.constant(b.normal(*bias)) if isinstance(bias, tuple) else b.node("Tanh", b.input(tuple(bias), "c"))
    return b.model(b.node("Relu", b.node("Add", *((other, product) if swapped else (product, other)))))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("bias", [(4,), (1, 4), (), (1,), [4]], ids=str)
def test_a_bias_along_the_columns_goes_in(bias: Any, dtype: Any, swapped: bool) -> None:
    model = _model(bias, dtype=dtype, swapped=swapped)
    after = onnxnorm.optimize(model, passes=PASSES, verify=True).model
    assert [node.op_type for node in after.graph.node if node.op_type != "Tanh"] == ["Gemm", "Relu"]
    feeds = random_feeds(model, symbols={"n": 5})
    same_in_onnxruntime(model, after, feeds=feeds, tolerance=2e-3 if dtype is np.float16 else 1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"bias": (4,), "rank": 3},
        {"bias": (5, 4), "rows": 5},
        {"bias": (5, 1), "rows": 5},
        {"bias": (2, 1, 4)},
        {"bias": ["n", 4]},
        {"bias": (4,), "dtype": np.int32},
    ],
    ids=str,
)
def test_all_else_stays(options: dict[str, Any]) -> None:
    if options.get("dtype") is np.int32:
        b = Builder(dtype=np.int32)
        product = b.node("MatMul", b.input(("n", 3)), b.constant(np.ones((3, 4), np.int32)))
        model = b.model(b.node("Add", product, b.constant(np.ones(4, np.int32))))
    else:
        model = _model(**options)
    assert count(onnxnorm.optimize(model, passes=PASSES, verify=False).model, "Gemm") == 0


def test_a_product_that_is_read_twice_or_quantized_stays() -> None:
    b = Builder(dtype=np.float32)
    product = b.node("MatMul", b.input(("n", 3)), b.constant(b.normal(3, 4)))
    total = b.node("Add", product, b.constant(b.normal(4)))
    assert (
        count(onnxnorm.optimize(b.model(total, b.node("Tanh", product)), passes=PASSES, verify=False).model, "Gemm")
        == 0
    )
    b = Builder(dtype=np.float32)
    scale, zero = b.constant(np.array(0.1)), b.constant(np.array(0, np.int8))
    weight = b.node("DequantizeLinear", b.constant(np.ones((3, 4), np.int8)), scale, zero)
    total = b.node("Add", b.node("MatMul", b.input(("n", 3)), weight), b.constant(b.normal(4)))
    assert count(onnxnorm.optimize(b.model(total), passes=PASSES, verify=False).model, "Gemm") == 0
