"""Reads normalizations as the operators of this project that compute them.

`READERS` has for each operator of ONNX the function that is asked of its nodes: it returns the node of the domain
`onnxnorm` that computes the same, or None where none does or less is known of the tensor than it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, read_once
from onnxnorm.recognize.global_response import GlobalResponse
from onnxnorm.recognize.group_norm import group_norm_at

__all__ = ["READERS", "TYPES", "Native", "Weight", "response"]

TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_WRITTEN_OUT = "GroupNormalization (written out)"
_STASHING = ("GroupNormalization", "LayerNormalization", "RMSNormalization")

Weight = ir.Value | npt.NDArray[np.float64] | float


@dataclass(frozen=True, eq=False)
class Native:
    """A normalization as the node that it becomes.

    Attributes:
        node: the node that has it, or its last one.
        kind: what it is now, by its name in `onnxnorm.passes.native_costs.COSTS`.
        op_type: the operator that it becomes, with these `attributes`, and inputs `x`, `scale` and `bias`.
        root: its result.
    """

    node: ir.Node
    kind: str
    op_type: str
    x: ir.Value
    root: ir.Value
    scale: Weight = 1.0
    bias: Weight = 0.0
    attributes: Mapping[str, int | float | tuple[int, ...]] = field(default_factory=dict)


def response(found: GlobalResponse) -> Native | None:
    """Return the node that computes a global response normalization."""
    node = found.root.producer()
    if node is None or found.x.dtype not in TYPES or not _usable(found.epsilon):
        return None
    attributes = {"axis": found.axis, "epsilon": found.epsilon}
    kind = "GlobalResponseNorm (written out)"
    return Native(node, kind, "GlobalResponseNorm", found.x, found.root, found.scale, found.bias, attributes)


def _is_plain(node: ir.Node, facts: Facts, least_rank: int) -> ir.Value | None:
    """Return what the node normalizes, if all is known of it that has to be and only its first output is read."""
    x = node.inputs[0] if node.inputs else None
    if x is None or x.dtype not in TYPES or (facts.rank(x) or 0) < least_rank:
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


def _group(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
    x, groups = _is_plain(node, facts, 2), node.attributes.get_int("num_groups", 0)
    if x is None or len(node.inputs) != 3 or groups < 1 or not _usable(_epsilon(node)):
        return None
    scale, bias = node.inputs[1:3]
    if scale is None or bias is None:
        return None
    attributes = {"num_groups": groups, "epsilon": _epsilon(node)}
    return Native(node, node.op_type, "GroupNorm", x, node.outputs[0], scale, bias, attributes)


def _instance(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
    found = _written_out(node, graph, facts)
    if found is not None:
        return found
    x = _is_plain(node, facts, 3)
    if x is None or len(node.inputs) != 3 or not _usable(_epsilon(node)):
        return None
    scale, bias = node.inputs[1:3]
    channels = (facts.shape(x) or (None, None))[1]
    if scale is None or bias is None or not isinstance(channels, int) or channels < 1:
        return None
    attributes = {"num_groups": channels, "epsilon": _epsilon(node)}
    return Native(node, node.op_type, "GroupNorm", x, node.outputs[0], scale, bias, attributes)


def _written_out(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
    found = group_norm_at(node, graph, facts)
    if found is None or found.x.dtype not in TYPES or not _usable(found.epsilon):
        return None
    attributes = {"num_groups": found.groups, "epsilon": found.epsilon}
    return Native(node, _WRITTEN_OUT, "GroupNorm", found.x, found.root, found.scale, found.bias, attributes)


def _layer(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
    found = _written_out(node, graph, facts) if node.op_type == "LayerNormalization" else None
    return found or _between_transposes(node, graph, facts)


def _between_transposes(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
    value = _is_plain(node, facts, 3)
    rank = None if value is None else facts.rank(value)
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
    if not read_once(value):
        # The first Transpose would stay for its other readers, and the kernel's gain is that both go.
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
    return Native(
        node,
        node.op_type,
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


def _lp(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
    x = _is_plain(node, facts, 2)
    if x is None:
        return None
    rank = facts.rank(x)
    axis, p = node.attributes.get_int("axis", -1), node.attributes.get_int("p", 2)
    if p not in (1, 2) or rank is None or not -rank <= axis < rank:
        return None
    return Native(
        node,
        node.op_type,
        "ChannelLpNorm",
        x,
        node.outputs[0],
        attributes={"axis": axis % rank, "p": p, "epsilon": 0.0},
    )


def _mean_variance(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
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
    attributes: Mapping[str, float | tuple[int, ...]] = {"axes": tuple(filled), "epsilon": float(np.float32(1e-9))}
    return Native(node, node.op_type, "MeanVarianceNorm", x, node.outputs[0], attributes=attributes)


READERS: Mapping[str, Callable[[ir.Node, ir.Graph, Facts], Native | None]] = {
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "LpNormalization": _lp,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _between_transposes,
}
