"""Folds random networks and compares each with the original.

    python -m fuzz networks --networks 20000 --jobs 2

Most are in double precision; every tenth is in float32 or float16. All are compared in float64, where a wrong result
differs by about one. Those that run in less precision are also judged by `verify`: is the result as accurate as the
original in its own type? The exit code is 1 where a result was wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir
from onnx import TensorProto, numpy_helper
from onnx_ir.passes.common import ShapeInferencePass

import onnxnorm
from onnxnorm.affine import AffineNode, affine_of, is_affine
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.graph.facts import Facts
from onnxnorm.verification.accuracy import unit_roundoff
from onnxnorm.verification.rounding_noise import shake, shaken_weights
from testing.networks import random_network

__all__ = ["Outcome", "affines", "feeds_of", "in_precision", "nodes_for", "precision_for", "try_network"]

TOLERANCE = 1e-9
"""In double precision an exact rewriting differs by some 1e-13 of the largest element, a wrong one by about one."""
ROUNDINGS = 100
"""What x - x may become although no noise can be seen in it, in roundings of one: inputs and weights are about one."""
AMPLIFIED = {"float64": 1e4, "float32": 24.0, "float16": 24.0}
"""How far a result may be off, in terms of what one more rounding of every weight, or of its own, does to it."""

_ELEMENTS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}


@dataclass(frozen=True)
class Outcome:
    """What became of one network. `wrong` says what is, or is empty; `coarser` what is less accurate than before."""

    seed: int
    nodes: int
    precision: str
    affines_before: int
    affines_after: int
    seconds: float
    wrong: str = ""
    coarser: str = ""


def nodes_for(seed: int) -> int:
    """From 30 to 300 nodes, mostly few."""
    return int(30 * 10.0 ** (np.random.default_rng([seed, 1]).random() ** 8))


def precision_for(seed: int) -> str:
    return {3: "float32", 7: "float16"}.get(seed % 20, "float64")


def affines(model: onnx.ModelProto) -> int:
    """Nodes that are an affine of one value: by constants, in the main graph, its subgraphs and the functions."""
    typed = onnx_ir.from_proto(model)
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(typed)
    facts = Facts(typed)
    graphs = [*typed.graphs(), *(function.graph for function in typed.functions.values())]
    nodes = [node for graph in graphs for node in graph if is_affine(node)]
    return sum(isinstance(affine_of(node, facts), AffineNode) for node in nodes)


def feeds_of(model: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Normal values for every input; extents that are open stand in the doc string (see `networks`)."""
    random = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        opened = [int(extent) for extent in value.doc_string.split(",") if extent]
        shape = opened or [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == TensorProto.BOOL:
            feeds[value.name] = np.asarray(random.random(shape) < 0.5)
        else:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            feeds[value.name] = np.asarray(random.normal(size=shape).astype(dtype))
    return feeds


def in_precision(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """The network with everything that is double of another type."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = _ELEMENTS[precision]
    for function in copy.functions:
        for node in function.node:
            _convert_node(node, wanted)
    _convert_graph(copy.graph, wanted)
    return copy


def _convert_graph(graph: onnx.GraphProto, wanted: int) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = wanted
    for tensor in graph.initializer:
        _convert_tensor(tensor, wanted)
    for node in graph.node:
        _convert_node(node, wanted)


def _convert_node(node: onnx.NodeProto, wanted: int) -> None:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            _convert_graph(attribute.g, wanted)
        elif attribute.type == onnx.AttributeProto.TENSOR:
            _convert_tensor(attribute.t, wanted)
        elif attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
            attribute.i = wanted


def _convert_tensor(tensor: onnx.TensorProto, wanted: int) -> None:
    if tensor.data_type == TensorProto.DOUBLE:
        array = numpy_helper.to_array(tensor).astype(onnx.helper.tensor_dtype_to_np_dtype(wanted))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def try_network(
    seed: int,
    nodes: int | None = None,
    precision: str = "float64",
    *,
    count: Callable[[onnx.ModelProto], int] = affines,
) -> Outcome:
    """Grow the network of this seed, fold it, compare; `count` counts what there is to fold."""
    model = random_network(seed, nodes_for(seed) if nodes is None else nodes, quantized=precision != "float64")
    if precision != "float64":
        model = in_precision(model, precision)
    before = count(model)
    start = time.perf_counter()
    coarser = ""
    try:
        folded = onnxnorm.fold(model, verify=False).model
        seconds = time.perf_counter() - start
        after = count(folded)
        wrong = _difference(model, folded, seed, precision)
        if not wrong and precision != "float64":
            coarser = _unproved(model, folded, seed)
    except Exception as error:
        seconds, after = time.perf_counter() - start, before
        wrong = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return Outcome(seed, len(model.graph.node), precision, before, after, seconds, wrong, coarser)


def _difference(model: onnx.ModelProto, folded: onnx.ModelProto, seed: int, precision: str) -> str:
    if _is_valid(model):
        onnx.checker.check_model(folded, full_check=True)
    if precision == "float64" and any(_casts_to_float32(node) for node in model.graph.node):
        # A part of it is in single precision, and so are constants that come to stand there.
        precision = "float32"
    rounding = unit_roundoff(np.dtype(precision))
    feeds = feeds_of(model, seed)
    expected, got = evaluate_float64(model, feeds), evaluate_float64(folded, feeds)
    if list(expected) != list(got):
        return f"outputs {list(got)} instead of {list(expected)}"
    noise: dict[str, float] = {}
    for name, wanted in expected.items():
        error, size = _error(wanted, got[name])
        if error <= TOLERANCE * size:
            continue
        # Rounding may be large where values cancel: as large as if every weight were rounded once more.
        noise = noise or _noise(model, feeds, expected)
        if error > max(AMPLIFIED[precision] * max(noise[name], rounding * size), ROUNDINGS * rounding):
            return f"{name}: off by {error:.3g} where the largest element is {size:.3g} (noise {noise[name]:.3g})"
    return ""


def _casts_to_float32(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(attribute.i == TensorProto.FLOAT for attribute in node.attribute)


def _is_valid(model: onnx.ModelProto) -> bool:
    """Whether the checker takes it: of some operators ONNX has no half precision."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _noise(model: onnx.ModelProto, feeds: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    names, random = shaken_weights(model, few=0), np.random.default_rng(0)
    noise = dict.fromkeys(expected, 0.0)
    for _ in range(3):
        shaken = shake(model, names, random)
        if shaken is not None:
            for name, values in evaluate_float64(shaken, feeds).items():
                noise[name] = max(noise[name], _error(expected[name], values)[0])
    return noise


def _error(wanted: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    """The largest error, and the largest element; infinite where shapes, NaN or infinities differ."""
    if wanted.shape != got.shape:
        return np.inf, 0.0
    finite = np.isfinite(wanted)
    if not np.array_equal(wanted[~finite], got[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return np.inf, float(np.abs(wanted[finite]).max(initial=0.0))
    return (
        float(np.abs(wanted[finite] - got[finite]).max(initial=0.0)),
        float(np.abs(wanted[finite]).max(initial=0.0)),
    )


def _unproved(model: onnx.ModelProto, folded: onnx.ModelProto, seed: int) -> str:
    try:
        report = onnxnorm.verify(model, folded, feeds_of(model, seed))
    except onnxnorm.OnnxNormError as error:
        if "cannot run the original" in str(error):
            # An operator that onnxruntime lacks in this type.
            return ""
        raise
    return "" if report.passed else str(report).replace("\n", " ")


def _outcomes(seeds: range, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(_try, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_try, seeds, chunksize=8)


def _try(seed: int) -> Outcome:
    return try_network(seed, precision=precision_for(seed))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz networks", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=300, help="how many (default: 300)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--minutes", type=float, help="stop after so long, and report what was tried by then")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    arguments = parser.parse_args()
    start = time.perf_counter()
    before = after = nodes = wrong = coarser = narrow = tried = 0
    slowest = Outcome(-1, 0, "", 0, 0, 0.0)
    for outcome in _outcomes(range(arguments.first, arguments.first + arguments.networks), arguments.jobs):
        tried, nodes = tried + 1, nodes + outcome.nodes
        before, after = before + outcome.affines_before, after + outcome.affines_after
        slowest = max(slowest, outcome, key=lambda each: each.seconds)
        wrong, coarser = wrong + bool(outcome.wrong), coarser + bool(outcome.coarser)
        narrow += outcome.precision != "float64"
        if said := outcome.wrong or outcome.coarser:
            print(f"seed {outcome.seed} ({outcome.nodes} nodes, {outcome.precision}): {said}", flush=True)
        if arguments.minutes is not None and time.perf_counter() - start > 60.0 * arguments.minutes:
            break
        if tried % 1000 == 0:
            print(f"... {tried} networks, {wrong} wrong, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    removed = (before - after) / before if before else 0.0
    print(
        f"{tried} networks of {nodes} nodes: {wrong} wrong results; "
        f"{coarser} of {narrow} in single or half precision less accurate than `verify` allows; "
        f"{before} affines before, {after} after ({removed:.1%} removed); "
        f"slowest fold {slowest.seconds:.2f} s (seed {slowest.seed}, {slowest.nodes} nodes)"
    )
    return 1 if wrong else 0
