"""What the tests of cleaning share: inputs full of special values, and the check that no bit of a result changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxnorm.optimizer.optimize import optimize
from testing.builder import session

__all__ = ["cleaned", "nodes_of", "same_bits", "special_feeds"]

PASSES = ("inline_functions", "infer_shapes", "simplify", "fold_constants", "share_constants", "simplify", "clean")


def special_feeds(model: onnx.ModelProto, extents: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """For every input numbers among which are NaN, infinities, zeros of both signs, denormals, extremes of integers."""
    random = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else extents[dim.dim_param] for dim in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype == np.bool_:
            feeds[value.name] = random.random(shape) < 0.5
        elif np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            array = random.integers(0, 100, shape).astype(dtype)
            feeds[value.name] = np.where(random.random(shape) < 0.1, dtype.type(limits.max), array)
            feeds[value.name] = np.where(random.random(shape) < 0.1, dtype.type(limits.min), feeds[value.name])
        else:
            special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38, 1.0], np.float64)
            with np.errstate(all="ignore"):
                array = random.normal(size=shape).astype(dtype)
                chosen = random.choice(special, size=shape).astype(dtype)
            feeds[value.name] = np.where(random.random(shape) < 0.4, chosen, array).astype(dtype)
    return feeds


def same_bits(a: Any, b: Any) -> bool:
    """Whether two arrays are the same bit for bit, but for the bits inside of NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    nan = np.isnan(a)
    if not np.array_equal(nan, np.isnan(b)):
        return False
    return bool(np.array_equal(a[~nan], b[~nan]) and np.array_equal(np.signbit(a[~nan]), np.signbit(b[~nan])))


def nodes_of(model: onnx.ModelProto) -> list[str]:
    """The operators of the main graph."""
    return [node.op_type for node in model.graph.node]


def total(model: onnx.ModelProto) -> int:
    """Nodes of all graphs."""

    def inside(nodes: Any) -> int:
        return sum(
            1 + sum(inside(graph.node) for attribute in node.attribute for graph in (attribute.g, *attribute.graphs))
            for node in nodes
        )

    return inside(model.graph.node)


def cleaned(
    model: onnx.ModelProto, *, whole: bool = False, sizes: tuple[int, ...] = (3, 1), runs: bool = True
) -> onnx.ModelProto:
    """The model after the passes that clean; checked in every way that holds for whatever they do.

    Args:
        model: is not changed; it must run in onnxruntime.
        whole: after all passes, which may round otherwise, so that no values are compared.
        sizes: of the extents that are free; each is tried.
        runs: compare values.
    """
    before = model.SerializeToString(deterministic=True)
    result = optimize(model, verify=False) if whole else optimize(model, passes=PASSES, verify=False)
    after = result.model
    assert isinstance(after, onnx.ModelProto)
    assert model.SerializeToString(deterministic=True) == before, "the model given was changed"
    onnx.checker.check_model(after, full_check=True)
    assert total(after) <= total(model)
    assert [value.name for value in after.graph.input] == [value.name for value in model.graph.input]
    assert [value.name for value in after.graph.output] == [value.name for value in model.graph.output]
    again = optimize(after, verify=False) if whole else optimize(after, passes=PASSES, verify=False)
    assert not again.rewrites
    assert again.model.graph.node == after.graph.node
    names = {dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim}
    for size in sizes if runs and not whole else ():
        feeds = special_feeds(model, dict.fromkeys(names, size), seed=size)
        expected, got = (session(each).run(None, feeds) for each in (model, after))
        for output, wanted, array in zip(model.graph.output, expected, got, strict=True):
            assert same_bits(wanted, array), f"{output.name}: {wanted} became {array}"
    return after
