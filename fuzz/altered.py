"""Random networks with a few changes, as people and tools make them: does the optimized one compute the same?

    python -m fuzz altered [--minutes 60] [--seed 0] [--jobs 2]

What runs in onnxruntime with all its optimizations off has to run optimized as well, and give the same: both are run
there on the same inputs. Where they differ, weights and inputs are changed by a rounding, to see how much of that is
rounding. Findings land in fuzz/findings/, where the tests run them for ever after; the exit code is 1 where there are
any.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from fuzz.harness.limits import limited
from fuzz.harness.processes import CURRENT, arguments_of, run_seeds
from fuzz.networks import in_precision
from fuzz.sources.altered_models import altered
from testing.networks import random_network
from testing.plain_networks import plain_network

__all__ = ["difference", "main", "network", "try_seed"]

_SAME = {"float32": 1e-4, "float64": 1e-9}
# Of what noise of a rounding or so in inputs and weights does.
_NOISE, _AMPLIFIED = {"float32": 1e-6, "float64": 1e-14}, 30.0
# What is about to overflow may do so one rounding earlier.
_LARGEST = 1e30
_Feeds = Mapping[str, np.ndarray]


def network(seed: int) -> onnx.ModelProto:
    number = seed // 6
    if number % 5 == 0:
        base = plain_network(number)
    elif number % 5 == 1:
        base = in_precision(random_network(number, nodes=4 + number % 13, quantized=True), "float32")
    else:
        base = random_network(number, nodes=4 + number % 13)
    return altered(base, seed)


def difference(model: onnx.ModelProto, seed: int = 0, folder: Path | None = None) -> str | None:
    """How the optimized model differs from the model; empty where it does not, None where the model does not run.

    One that runs is written to the folder before it is optimized.
    """
    feeds = _feeds(model, np.random.default_rng(seed))
    try:
        expected = _run(model, feeds)
    except Exception:
        return None
    if not all(np.all(np.abs(array) < _LARGEST) for array in expected if _is_real(array)):
        return None
    if folder is not None:
        (folder / CURRENT).write_bytes(model.SerializeToString())
    try:
        with limited():
            result = onnxnorm.optimize(model, verify=False).model
        got = _run(result, feeds)
    except onnxnorm.OnnxNormError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    noise: list[float] = []
    for index, (wanted, array) in enumerate(zip(expected, got, strict=True)):
        name = model.graph.output[index].name
        if not isinstance(wanted, np.ndarray):
            continue
        if wanted.shape != array.shape or wanted.dtype != array.dtype:
            return f"{name}: {array.dtype}{list(array.shape)} where {wanted.dtype}{list(wanted.shape)} is right"
        size, error = np.abs(wanted).max(initial=0.0), _error(wanted, array)
        if error <= (_SAME.get(str(wanted.dtype), 1e-2) * size if _is_real(wanted) else 0.0):
            continue
        noise = noise or _noise(model, feeds, expected)
        if not error <= _AMPLIFIED * noise[index]:
            return f"{name}: off by {error:.3g} where the largest element is {size:.3g} (noise {noise[index]:.3g})"
    return ""


def _error(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(np.abs(wanted.astype(np.float64) - got.astype(np.float64)).max(initial=0.0))


def _is_real(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


def _feeds(model: onnx.ModelProto, numbers: np.random.Generator) -> dict[str, np.ndarray]:
    defaults = {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, np.ndarray] = {}
    open_extents: dict[str, int] = {}
    for value in model.graph.input:
        if value.name not in defaults:
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            shape = [
                dim.dim_value or open_extents.setdefault(dim.dim_param, int(numbers.integers(1, 6)))
                for dim in value.type.tensor_type.shape.dim
            ]
            array = numbers.normal(size=shape) if np.dtype(dtype).kind == "f" else numbers.integers(0, 2, shape)
            feeds[value.name] = np.asarray(array, dtype)
    return feeds


def _run(model: onnx.ModelProto, feeds: _Feeds) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def _noise(model: onnx.ModelProto, feeds: _Feeds, expected: list[np.ndarray]) -> list[float]:
    """By how much each output changes where inputs and weights do by a rounding."""
    single = any(tensor.data_type == TensorProto.FLOAT for tensor in model.graph.initializer)
    single = single or any(node.op_type in ("Cast", "CastLike") for node in model.graph.node)
    step = _NOISE["float32" if single else "float64"]
    noise = [0.0] * len(expected)
    for seed in range(4):
        numbers = np.random.default_rng(seed)
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in copy.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if _is_real(array):
                tensor.CopyFrom(numpy_helper.from_array(_shaken(array, step, numbers), tensor.name))
        shaken = {name: _shaken(array, step, numbers) if _is_real(array) else array for name, array in feeds.items()}
        for index, (one, other) in enumerate(zip(expected, _run(copy, shaken), strict=True)):
            if isinstance(one, np.ndarray):
                noise[index] = max(noise[index], _error(one, other))
    return noise


def _shaken(array: np.ndarray, step: float, numbers: np.random.Generator) -> np.ndarray:
    return np.asarray(array * (1.0 + step * numbers.uniform(-1.0, 1.0, array.shape)), array.dtype)


def try_seed(seed: int, folder: Path) -> bool:
    """Alter the network of this seed, and optimize it; tells whether it ran.

    Raises:
        AssertionError: optimized it computes something else.
    """
    warnings.simplefilter("ignore")
    model = network(seed)
    found = difference(model, seed, folder)
    assert not found, found
    return found is not None


def main() -> int:
    counts = run_seeds(try_seed, arguments_of(__doc__).parse_args(), "altered")
    print(
        f"{counts.tried} networks altered, {counts.counted} of them run; {counts.findings} computed otherwise once "
        "optimized"
    )
    return 1 if counts.findings else 0
