"""GroupNorm, written as a normalization of a reshaped tensor.

Before: Reshape (N, C, ...) to (N, G, ...), InstanceNormalization (or LayerNormalization over all that follows the
groups) with one scale and bias for each group, Reshape back, and perhaps Mul and Add for each channel.
After: GroupNormalization (opset 21), with G groups, unless the target keeps it written out; InstanceNormalization, at
any opset, where a group is one channel.
Conditions: batch and channels stay in their places, no weight varies along another axis than the channels.
GroupNormalization-18 has a scale for each group, not for each channel, and is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, put_in_place, remove_unread
from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.journal import Effect, Journal
from onnxnorm.journal.reasons import Code, Evidence, Remedy, needs_opset
from onnxnorm.numerics.arrays import MAX_ELEMENTS
from onnxnorm.recognize.coefficients import Array, axes_of
from onnxnorm.recognize.families.answers import along_axis
from onnxnorm.recognize.monomials import Unreadable
from onnxnorm.recognize.reading import Reading

__all__ = ["GroupNorm", "group_norm_at", "raise_group_norms"]

_NAME = "recognize"
_KIND = "GroupNormalization"
_SINCE = 21
_ELSEWHERE = Evidence(
    remedy=Remedy(
        "name the runtime: with --target onnxruntime a kernel of this project runs it, other targets get the one node"
    )
)


@dataclass(frozen=True, eq=False)
class _Core:
    """The normalization between the two Reshapes; scale and bias are one for each group."""

    x: ir.Value
    node: ir.Node
    back: ir.Node
    groups: int
    channels: int
    epsilon: float
    scale: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class GroupNorm:
    """A group normalization that is written out.

    Attributes:
        x: what is normalized.
        root: the value that is the result, weights included.
        back: the Reshape to the shape of `x`.
        scale: for each channel, as `bias`.
    """

    x: ir.Value
    root: ir.Value
    back: ir.Node
    groups: int
    epsilon: float
    scale: Array
    bias: Array


def group_norm_at(node: ir.Node, graph: ir.Graph, facts: Facts) -> GroupNorm | None:
    """Return the group normalization whose statistics `node` takes, as the node at the heart of it; None for none."""
    core = _core(node, graph, facts)
    return None if core is None else _with_weights(core, graph, facts)


def _with_weights(core: _Core, graph: ir.Graph, facts: Facts) -> GroupNorm:
    """Return the normalization with the Mul and Add for each channel behind it."""
    root, scale, bias = _weights(core, core.back.outputs[0], graph, facts)
    per_group = core.channels // core.groups
    own_scale, own_bias = np.repeat(core.scale, per_group), np.repeat(core.bias, per_group)
    return GroupNorm(core.x, root, core.back, core.groups, core.epsilon, own_scale * scale, own_bias * scale + bias)


def raise_group_norms(graph: ir.Graph, facts: Facts, journal: Journal, *, keeps: str = "") -> bool:
    """Raise the group normalizations of one graph; True where there was one.

    Args:
        graph: the graph.
        facts: what is known of it.
        journal: is told what was raised, and what was left.
        keeps: why those of several channels stay written out; "" where they do not.
    """
    modified = False
    for node in list(graph):
        core = _core(node, graph, facts) if node.graph is graph else None
        if core is not None:
            modified |= _raise(core, graph, facts, journal, keeps)
    return modified


def _core(node: ir.Node, graph: ir.Graph, facts: Facts) -> _Core | None:
    if not is_standard(node) or node.op_type not in ("InstanceNormalization", "LayerNormalization"):
        return None
    if len(node.inputs) < 2:
        return None
    value, output = node.inputs[0], node.outputs[0]
    before = producer_of(value)
    users = output.consumers()
    if (
        before is None
        or value is None
        or before.graph is not graph
        or not _is_reshape(before)
        or output.is_graph_output()
        or len(users) != 1
        or users[0].graph is not graph
        or not _is_reshape(users[0])
        or users[0].inputs[0] is not output
        or any(other.uses() for other in node.outputs[1:])
    ):
        return None
    x, back = before.inputs[0], users[0]
    assert x is not None
    shape, grouped = facts.shape(x), _grouped_shape(before, value, facts)
    if shape is None or grouped is None or len(shape) < 3 or len(grouped) < 3:
        return None
    groups, channels = grouped[1], shape[1]
    if (
        not isinstance(groups, int)
        or not isinstance(channels, int)
        or groups < 1
        or channels % groups
        or channels > MAX_ELEMENTS
    ):
        return None
    if not _keeps_batch(before, shape[0], grouped[0], facts) or not _is_whole_shape(back, x, facts):
        return None
    if node.op_type == "LayerNormalization" and node.attributes.get_int("axis", -1) % len(grouped) != 2:
        return None
    weights = [facts.constant(each) for each in (*node.inputs[1:3],)]
    if any(each is None for each in weights) and not (len(node.inputs) == 2 and weights[0] is not None):
        return None
    scale, bias = (np.asarray(0.0 if each is None else each, np.float64).ravel() for each in (*weights, None)[:2])
    if node.op_type == "LayerNormalization":
        if np.any(scale != scale[0]) or np.any(bias != bias[0]):
            return None
        scale, bias = scale[:1], bias[:1]
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    spread = [np.broadcast_to(each, (groups,)) for each in (scale, bias)]
    return _Core(x, node, back, groups, channels, epsilon, spread[0], spread[1])


def _grouped_shape(reshape: ir.Node, value: ir.Value, facts: Facts) -> tuple[Dim, ...] | None:
    """Return the shape of the reshaped value as it was inferred, or as it is asked for.

    Inference does not follow all nodes that compute the request.
    """
    inferred, request = facts.shape(value), facts.constant(reshape.inputs[1])
    if inferred is not None and len(inferred) > 1 and isinstance(inferred[1], int):
        return inferred
    if request is None or reshape.inputs[0] is None:
        return inferred
    source = facts.shape(reshape.inputs[0]) or ()
    copies = not reshape.attributes.get_int("allowzero", 0)
    return tuple(
        (source[i] if i < len(source) else None) if n == 0 and copies else n if n > 0 else None
        for i, n in enumerate(int(each) for each in request.ravel())
    )


def _is_reshape(node: ir.Node) -> bool:
    return is_standard(node) and node.op_type == "Reshape" and len(node.inputs) == 2


def _keeps_batch(reshape: ir.Node, batch: object, first: object, facts: Facts) -> bool:
    if batch is not None and batch == first:
        return True
    request = facts.constant(reshape.inputs[1])
    return request is not None and int(request.ravel()[0]) == 0 and not reshape.attributes.get_int("allowzero", 0)


def _is_whole_shape(reshape: ir.Node, x: ir.Value, facts: Facts) -> bool:
    """Whether a Reshape gives the shape of `x` back."""
    request = reshape.inputs[1]
    producer = producer_of(request)
    if producer is not None and producer.op_type == "Shape" and producer.inputs[0] is x and not producer.attributes:
        return True
    own, wanted = facts.shape(x), facts.shape(reshape.outputs[0])
    if own is None or wanted is None or len(own) != len(wanted):
        return False
    # Of one extent that is not known by name all others tell: a Reshape keeps the number of elements.
    unknown = [dim for dim, other in zip(own, wanted, strict=True) if dim is None or dim != other]
    return len(unknown) == 0 or (len(unknown) == 1 and None in unknown and _others_known(own, wanted))


def _others_known(own: tuple[object, ...], wanted: tuple[object, ...]) -> bool:
    pairs = [(a, b) for a, b in zip(own, wanted, strict=True) if a is not None and a == b]
    return len(pairs) == len(own) - 1 and all(isinstance(a, int) and a > 0 for a, _ in pairs)


def _raise(core: _Core, graph: ir.Graph, facts: Facts, journal: Journal, keeps: str) -> bool:
    found = _with_weights(core, graph, facts)
    one_each = core.channels == core.groups
    kind = "InstanceNormalization" if one_each else _KIND
    last = found.root.producer()
    assert last is not None
    if not one_each and keeps:
        journal.decline(
            core.node, keeps, Code.NO_ONNX_NODE, evidence=_ELSEWHERE, kind=f"{_KIND} (written out)", value=core.x
        )
        return False
    if not one_each and facts.opset(core.node) < _SINCE:
        version = facts.opset(core.node)
        journal.decline(
            core.node,
            f"{_KIND} with weights for each channel needs opset {_SINCE}, the model has {version}; "
            f"with opset={_SINCE} it becomes one node",
            Code.NEEDS_OPSET,
            evidence=needs_opset(_SINCE),
            needs_opset=_SINCE,
            kind=f"{_KIND} (written out)",
            value=core.x,
        )
        return False
    dtype = core.x.dtype or ir.DataType.FLOAT
    name = core.node.name or last.name or facts.fresh_name(kind)
    operands = [
        add_constant(graph, facts.fresh_name(f"{found.root.name}_{role}"), array.astype(dtype.numpy()), dtype, facts)
        for role, array in (("scale", found.scale), ("bias", found.bias))
    ]
    attributes: dict[str, int | float] = {"epsilon": core.epsilon}
    if not one_each:
        stash = ir.DataType.DOUBLE if dtype is ir.DataType.DOUBLE else ir.DataType.FLOAT
        attributes |= {"num_groups": core.groups, "stash_type": int(stash)}
    node = ir.node(kind, [core.x, *operands], attributes=attributes, name=name)
    node.outputs[0].type = core.x.type
    put_in_place(last, [node], node.outputs[0])
    remove_unread([last, core.back], facts)
    groups = f"{core.groups} groups" if core.groups > 1 else "1 group"
    what = "a group for each channel" if one_each else groups
    journal.rewrite(
        _NAME, node, kind, f"{core.node.op_type} of the reshaped tensor ({what}) is one {kind}", effect=Effect.RAISED
    )
    return True


def _weights(core: _Core, start: ir.Value, graph: ir.Graph, facts: Facts) -> tuple[ir.Value, Array, Array]:
    """Return the last value that is the normalized tensor times a scale plus a shift a channel, and these two."""
    best, scale, bias = start, np.ones(core.channels), np.zeros(core.channels)
    try:
        reading = Reading(start, graph, facts)
    except Unreadable:
        return best, scale, bias
    value = start
    while len(value.consumers()) == 1 and not value.is_graph_output():
        user = value.consumers()[0]
        value = user.outputs[0]
        form = reading.forms.get(value)
        if form is None or not form.is_plain or value.dtype is not start.dtype or user.op_type not in _AFFINES:
            break
        affine = form.poly.affine
        if affine is None or not axes_of(affine[0]) | axes_of(affine[1]) <= {1}:
            break
        factor, shift = affine
        best, scale, bias = value, along_axis(factor, 1, core.channels), along_axis(shift, 1, core.channels)
    return best, scale, bias


_AFFINES = frozenset({"Add", "Div", "Mul", "Neg", "Sub"})
