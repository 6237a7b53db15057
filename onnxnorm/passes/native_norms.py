"""Gives normalizations to the kernels of this project, for the target onnxruntime.

Before: `GroupNormalization`, or what it is written out as where the opset has none; `InstanceNormalization`;
`LayerNormalization` or `RMSNormalization` between two Transposes that put the channels last and back;
`LpNormalization`; `MeanVarianceNormalization` over a run of axes; a global response normalization, written out; the
affine that stays, a `BatchNormalization`. Behind it perhaps an Add of another tensor and an
activation. After: one operator of the domain `onnxnorm`, with its body as a model-local function. Algebra: the formula
is the same. Conditions: rank and type are known, and the kernel takes less time than the nodes that it replaces, by the
costs of `native_costs.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, put_in_place, remove_unread
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.journal import Effect, Journal
from onnxnorm.model.walk import graphs_within
from onnxnorm.ops.attach import attach_body
from onnxnorm.ops.operators import DOMAIN
from onnxnorm.passes.native_affines import batch_norm
from onnxnorm.passes.native_costs import is_faster, kind_there
from onnxnorm.passes.native_readers import READERS, Native, Weight, response
from onnxnorm.passes.native_tails import Tail, tail_of
from onnxnorm.passes.native_weights import with_weights_behind
from onnxnorm.recognize.global_response import global_responses

__all__ = ["give_to_kernels", "has_normalizations"]

_AFFINES: Mapping[str, Callable[[ir.Node, ir.Graph, Facts], Native | None]] = {
    "BatchNormalization": batch_norm,
}


def has_normalizations(model: ir.Model, facts: Facts) -> bool:
    """Whether there is something in the model that goes to a kernel."""
    return any(True for graph in graphs_within(model.graph) for _ in _natives(graph, facts))


def give_to_kernels(model: ir.Model, facts: Facts, journal: Journal, name: str) -> bool:
    """Put the operators of this project in the place of the normalizations that they compute; tell whether there were.

    Args:
        model: is changed in place.
        facts: what is known of the model.
        journal: is told of each.
        name: the name of the pass that does it.
    """
    made: dict[str, list[ir.Node]] = {}
    for graph in graphs_within(model.graph):
        for native, tail in _natives(graph, facts):
            new = _put(native, tail, graph, facts)
            made.setdefault(new.op_type, []).append(new)
            parts = "".join(f", {part} included" for part in tail.parts)
            detail = f"runs as {new.op_type} in the native kernel where that is installed{parts}"
            journal.rewrite(name, new, native.kind, detail, effect=Effect.REFORMED)
    for op_type, nodes in made.items():
        attach_body(model, op_type, nodes)
    return bool(made)


def _natives(graph: ir.Graph, facts: Facts) -> Iterator[tuple[Native, Tail]]:
    """Yield what takes less time in a kernel, with what ends it; it may be replaced before the next is asked for."""
    for found in _read(graph, facts):
        native = with_weights_behind(found, graph, facts)
        tail = tail_of(native.root, facts)
        shape = facts.shape(native.x)
        kind = kind_there(native.kind, native.x, facts)
        if shape is not None and is_faster(kind, shape, partial(_vectors, native), len(tail.parts)):
            yield native, tail


def _read(graph: ir.Graph, facts: Facts) -> Iterator[Native]:
    """Yield what a kernel computes, the affines last: they may be part of something else."""
    for readers in (READERS, _AFFINES):
        for node in list(graph):
            if node.graph is graph and is_standard(node) and node.op_type in readers:
                native = readers[node.op_type](node, graph, facts)
                if native is not None:
                    yield native
        if readers is READERS:
            for found in global_responses(graph, facts):
                native = response(found)
                if native is not None:
                    yield native


def _vectors(native: Native, extents: Sequence[int]) -> int:
    """Count the vectors of elements that have a statistic of their own, or weights of their own."""
    if native.op_type == "GroupNorm":
        groups = native.attributes["num_groups"]
        assert isinstance(groups, int)
        return extents[0] * groups
    if native.op_type == "MeanVarianceNorm":
        axes = native.attributes["axes"]
        assert isinstance(axes, tuple)
        return math.prod(extent for axis, extent in enumerate(extents) if axis not in axes)
    axis = native.attributes["axis"]
    assert isinstance(axis, int)
    if native.op_type in ("GlobalResponseNorm", "ChannelAffine"):
        return extents[0] * extents[axis]
    return math.prod(extents) // max(extents[axis], 1)


def _put(native: Native, tail: Tail, graph: ir.Graph, facts: Facts) -> ir.Node:
    dtype = native.x.dtype
    assert dtype is not None

    def weight(given: Weight, role: str) -> ir.Value:
        if isinstance(given, ir.Value):
            return given
        array = np.atleast_1d(np.asarray(given, np.float64)).astype(dtype.numpy())
        return add_constant(graph, facts.fresh_name(f"{native.node.name}_{role}"), array, dtype, facts)

    residual = weight(0.0, "no_residual") if tail.residual is None else tail.residual
    inputs = [native.x, weight(native.scale, "scale"), weight(native.bias, "bias"), residual]
    attributes = {**_BEND, **native.attributes, **tail.attributes}
    new = ir.node(native.op_type, inputs, attributes=attributes, domain=DOMAIN, name=native.node.name)
    new.outputs[0].type, new.outputs[0].shape = native.x.type, native.x.shape
    last = tail.last.producer()
    assert last is not None
    put_in_place(last, [new], new.outputs[0])
    remove_unread([last], facts)
    return new


_BEND: Mapping[str, int | float] = {"activation": 0, "alpha": 0.0, "beta": 0.0}
