"""Gives normalizations to the kernels of this project, for the target onnxruntime.

Before: `GroupNormalization`, or what it is written out as where the opset has none; `InstanceNormalization`;
`LayerNormalization` or `RMSNormalization` between two Transposes that put the channels last and back;
`LpNormalization`; `MeanVarianceNormalization` over a run of axes. Behind it perhaps an Add of another tensor and an
activation. After: one operator of the domain `onnxnorm`, with its body as a model-local function. Algebra: the formula
is the same. Conditions: rank and type are known. onnxruntime has no blocked form of any of these nodes, so that none of
them stands in a chain of convolutions whose layout a foreign node would break.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, put_in_place, remove_unread
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.journal import Effect, Journal
from onnxnorm.model.walk import graphs_within
from onnxnorm.ops.attach import attach_body
from onnxnorm.ops.operators import DOMAIN
from onnxnorm.passes.native_tails import Tail, tail_of
from onnxnorm.recognize.group_norm import group_norm_at

__all__ = ["give_to_kernels", "has_normalizations"]

_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

_FEW_ELEMENTS = 1024
"""Elements of a channel below which a call of the kernel is not won back (1x64x14x14 against 1x96x56x56)."""
_STASHING = ("GroupNormalization", "LayerNormalization", "RMSNormalization")

Weight = ir.Value | npt.NDArray[np.float64] | float


@dataclass(frozen=True, eq=False)
class _Native:
    """A normalization as the node that it becomes."""

    op_type: str
    x: ir.Value
    root: ir.Value
    scale: Weight = 1.0
    bias: Weight = 0.0
    attributes: Mapping[str, int | float | tuple[int, ...]] = field(default_factory=dict)


def has_normalizations(model: ir.Model) -> bool:
    """Whether a node of the model may be given to a kernel."""
    return any(is_standard(node) and node.op_type in _READERS for graph in graphs_within(model.graph) for node in graph)


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
        if not isinstance(graph, ir.Graph):
            continue
        for node in list(graph):
            if node.graph is not graph or not is_standard(node) or node.op_type not in _READERS:
                continue
            native = _READERS[node.op_type](node, graph, facts)
            if native is None:
                continue
            tail = tail_of(native.root, facts)
            new = _put(node, native, tail, graph, facts)
            made.setdefault(new.op_type, []).append(new)
            parts = "".join(f", {part} included" for part in tail.parts)
            detail = f"runs as {new.op_type} in the native kernel where that is installed{parts}"
            journal.rewrite(name, new, node.op_type, detail, effect=Effect.REFORMED)
    for op_type, nodes in made.items():
        attach_body(model, op_type, nodes)
    return bool(made)


def _put(node: ir.Node, native: _Native, tail: Tail, graph: ir.Graph, facts: Facts) -> ir.Node:
    dtype = native.x.dtype
    assert dtype is not None

    def weight(given: Weight, role: str) -> ir.Value:
        if isinstance(given, ir.Value):
            return given
        array = np.atleast_1d(np.asarray(given, np.float64)).astype(dtype.numpy())
        return add_constant(graph, facts.fresh_name(f"{node.name}_{role}"), array, dtype, facts)

    residual = weight(0.0, "no_residual") if tail.residual is None else tail.residual
    inputs = [native.x, weight(native.scale, "scale"), weight(native.bias, "bias"), residual]
    attributes = {**_BEND, **native.attributes, **tail.attributes}
    new = ir.node(native.op_type, inputs, attributes=attributes, domain=DOMAIN, name=node.name)
    new.outputs[0].type, new.outputs[0].shape = native.x.type, native.x.shape
    last = tail.last.producer()
    assert last is not None
    put_in_place(last, [new], new.outputs[0])
    remove_unread([last], facts)
    return new


_BEND: Mapping[str, int | float] = {"activation": 0, "alpha": 0.0, "beta": 0.0}


def _is_plain(node: ir.Node, facts: Facts, least_rank: int) -> ir.Value | None:
    """Return what the node normalizes, if all is known of it that has to be and only its first output is read."""
    x = node.inputs[0] if node.inputs else None
    if x is None or x.dtype not in _TYPES or (facts.rank(x) or 0) < least_rank:
        return None
    if any(other.uses() or other.is_graph_output() for other in node.outputs[1:]):
        return None
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return None
    if (
        x.dtype is ir.DataType.DOUBLE
        and node.op_type in _STASHING
        and node.attributes.get_int("stash_type", 1) != x.dtype
    ):
        # The node says that its statistics are those of float.
        return None
    return x if all(value is None or value.dtype is x.dtype for value in node.inputs) else None


def _epsilon(node: ir.Node, default: float = 1e-5) -> float:
    return node.attributes.get_float("epsilon", default)


def _usable(epsilon: float) -> bool:
    return 0.0 <= epsilon < np.inf


def _group(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Native | None:
    x, groups = _is_plain(node, facts, 2), node.attributes.get_int("num_groups", 0)
    if x is None or len(node.inputs) != 3 or groups < 1 or not _usable(_epsilon(node)):
        return None
    scale, bias = node.inputs[1:3]
    if scale is None or bias is None:
        return None
    attributes = {"num_groups": groups, "epsilon": _epsilon(node)}
    return _Native("GroupNorm", x, node.outputs[0], scale, bias, attributes)


def _instance(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Native | None:
    found = _written_out(node, graph, facts)
    if found is not None:
        return found
    x = _is_plain(node, facts, 3)
    if x is None or len(node.inputs) != 3 or not _usable(_epsilon(node)):
        return None
    scale, bias = node.inputs[1:3]
    if _is_small(x, node, facts):
        return None
    channels = (facts.shape(x) or (None, None))[1]
    if scale is None or bias is None or not isinstance(channels, int) or channels < 1:
        return None
    attributes = {"num_groups": channels, "epsilon": _epsilon(node)}
    return _Native("GroupNorm", x, node.outputs[0], scale, bias, attributes)


def _is_small(x: ir.Value, node: ir.Node, facts: Facts) -> bool:
    """Whether onnxruntime's own InstanceNormalization takes no longer: channels of few elements, nothing behind it."""
    extents = [dim for dim in (facts.shape(x) or ())[2:] if isinstance(dim, int)]
    known = len(extents) + 2 == facts.rank(x)
    return known and math.prod(extents) < _FEW_ELEMENTS and not tail_of(node.outputs[0], facts).parts


def _written_out(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Native | None:
    found = group_norm_at(node, graph, facts)
    if found is None or found.x.dtype not in _TYPES or not _usable(found.epsilon):
        return None
    attributes = {"num_groups": found.groups, "epsilon": found.epsilon}
    return _Native("GroupNorm", found.x, found.root, found.scale, found.bias, attributes)


def _layer(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Native | None:
    found = _written_out(node, graph, facts) if node.op_type == "LayerNormalization" else None
    return found or _between_transposes(node, graph, facts)


def _between_transposes(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Native | None:
    value, rank = (
        _is_plain(node, facts, 3),
        0 if not node.inputs or node.inputs[0] is None else facts.rank(node.inputs[0]),
    )
    if value is None or not rank or node.attributes.get_int("axis", -1) not in (-1, rank - 1):
        return None
    output, there = node.outputs[0], value.producer()
    users = output.consumers()
    if there is None or len(users) != 1 or output.is_graph_output() or not _usable(_epsilon(node)):
        return None
    back = users[0]
    first, second = _order(there), _order(back)
    if first is None or second is None or len(first) != rank or there.graph is not graph or back.graph is not graph:
        return None
    axis = first[-1]
    if list(first[:-1]) != [i for i in range(rank) if i != axis] or axis == rank - 1:
        return None
    if [second[i] for i in first] != list(range(rank)):
        return None
    x = there.inputs[0]
    scale, bias = (*node.inputs[1:3], None, None)[:2]
    channels = (facts.shape(value) or (None,))[-1]
    for weight in (scale, bias):
        if weight is not None and facts.shape(weight) != (channels,):
            return None
    if x is None or x.shape is None or not isinstance(channels, int):
        return None
    op_type = "ChannelLayerNorm" if node.op_type == "LayerNormalization" else "ChannelRMSNorm"
    return _Native(
        op_type,
        x,
        back.outputs[0],
        1.0 if scale is None else scale,
        0.0 if bias is None else bias,
        {"axis": axis, "epsilon": _epsilon(node)},
    )


def _order(node: ir.Node) -> tuple[int, ...] | None:
    if not is_standard(node) or node.op_type != "Transpose" or "perm" not in node.attributes:
        return None
    return tuple(node.attributes["perm"].as_ints())


def _lp(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Native | None:
    x = _is_plain(node, facts, 2)
    if x is None:
        return None
    rank = facts.rank(x)
    axis, p = node.attributes.get_int("axis", -1), node.attributes.get_int("p", 2)
    if p not in (1, 2) or rank is None or not -rank <= axis < rank:
        return None
    return _Native("ChannelLpNorm", x, node.outputs[0], attributes={"axis": axis % rank, "p": p, "epsilon": 0.0})


def _mean_variance(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Native | None:
    x = _is_plain(node, facts, 1)
    shape = None if x is None else facts.shape(x)
    if x is None or shape is None:
        return None
    given = node.attributes["axes"].as_ints() if "axes" in node.attributes else (0, 2, 3)
    rank = len(shape)
    if not given or any(not -rank <= axis < rank for axis in given):
        return None
    # An axis of one element makes no difference.
    axes = sorted({axis % rank for axis in given if shape[axis] != 1}) or [given[0] % rank]
    filled = list(range(axes[0], axes[-1] + 1))
    if any(axis not in axes and shape[axis] != 1 for axis in filled):
        return None
    return _Native(
        "MeanVarianceNorm", x, node.outputs[0], attributes={"axes": tuple(filled), "epsilon": float(np.float32(1e-9))}
    )


_READERS: Mapping[str, Callable[[ir.Node, ir.Graph, Facts], _Native | None]] = {
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "LpNormalization": _lp,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _between_transposes,
}
