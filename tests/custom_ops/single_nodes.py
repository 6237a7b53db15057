"""Models of single nodes of the custom operators, their runs, and how far off a result may be.

A session is made once for a model, an instruction set and a number of threads: the extents of all inputs are open. A
model may hold several nodes of one operator, which differ by their attributes and read the same inputs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from onnxnorm import OnnxNormError, session
from onnxnorm.ops.schema import DOMAIN

Array = npt.NDArray[Any]

# The least significant digit of each type, relative to a value.
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}
SMALLEST = {"float32": 2.0**-149, "float64": 2.0**-1074, "float16": 2.0**-24, "bfloat16": 2.0**-133}
TYPES = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def model_of(
    op: str, inputs: Mapping[str, int | None], dtype: str, variants: Sequence[Mapping[str, Any]]
) -> onnx.ModelProto:
    """A model of one node for each variant, that is, for each set of attributes; inputs are told with their ranks."""
    element = onnx.helper.np_dtype_to_tensor_dtype(TYPES[dtype])
    rank = next(iter(inputs.values()))

    def value(name: str, rank: int | None) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, element, None if rank is None else [None] * rank)

    names = ["Y"] if len(variants) == 1 else [f"Y{index}" for index in range(len(variants))]
    nodes = [
        onnx.helper.make_node(op, list(inputs), [name], name=f"node{name[1:]}", domain=DOMAIN, **attributes)
        for name, attributes in zip(names, variants, strict=True)
    ]
    graph = onnx.helper.make_graph(
        nodes, "kernel", [value(*each) for each in inputs.items()], [value(name, rank) for name in names]
    )
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAIN, 1)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


@lru_cache(maxsize=64)
def _runner(model: bytes, threads: int, portable: bool, isa: str) -> onnxruntime.InferenceSession:
    return session(model, threads=threads, portable=portable)


def run(model: onnx.ModelProto, feeds: Sequence[Array], threads: int = 1, portable: bool = False) -> list[Array]:
    """The results of all nodes, through I/O binding, which knows every element type."""
    runner = _runner(model.SerializeToString(deterministic=True), threads, portable, os.environ.get("ONNXNORM_ISA", ""))
    binding = runner.io_binding()
    element = onnx.helper.np_dtype_to_tensor_dtype(feeds[0].dtype)
    results = [np.full_like(feeds[0], 7) for _ in model.graph.output]
    for value, array in zip(model.graph.input, feeds, strict=True):
        binding.bind_input(value.name, "cpu", 0, element, array.shape, array.ctypes.data)
    for value, array in zip(model.graph.output, results, strict=True):
        binding.bind_output(value.name, "cpu", 0, element, array.shape, array.ctypes.data)
    runner.run_with_iobinding(binding)
    return results


def assert_close(y: Array, wanted: Array, digits: float = 4, floor: float | Array = 0.0, what: object = "") -> None:
    """Within some units of the last digit of the result, or of what it was summed from (`floor`).

    NaN and infinity have to be where the formula has them.
    """
    assert y.shape == wanted.shape
    dtype = y.dtype.name
    # float64 is held against a float64 formula that rounds as often as the kernel does.
    allowed = (2 * digits if dtype == "float64" else digits) * EPSILON[dtype]
    got = y.astype(np.float64)
    with np.errstate(all="ignore"):
        rounded = wanted.astype(y.dtype).astype(np.float64)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(got[~finite], rounded[~finite], err_msg=str(what))
        error = np.abs(got[finite] - wanted[finite])
    bound = allowed * np.maximum(np.abs(wanted), floor)[finite] + SMALLEST[dtype]
    assert np.all(error <= bound), f"{what}: {np.max(error / bound) * digits:.2f} units of the last digit"


def instruction_sets() -> list[str]:
    """What this build and processor can run: what the library says when it is asked for what nobody has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXNORM_ISA", "none")
        with pytest.raises(OnnxNormError) as refusal:
            session(model_of("InterChannelLRN", {"X": 2}, "float32", [{"size": 1}]))
    return str(refusal.value).split("have: ")[1].split(", ")
