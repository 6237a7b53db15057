"""Batch normalization at inference, written out: y = (x - mean) / sqrt(variance + epsilon) * scale + bias.

Before: a chain of Sub, Div, Mul, Add by constants for each channel, one of them computed from a root (or three or more
of them, of which one subtracts and one divides or multiplies).
After: one BatchNormalization with the same scale and shift, of mean 0 and variance 1.
A lone Mul or Add, or a Mul and an Add of plain constants, stay as they are: they are affines like any other, and the
folding takes them as they come. Conditions: channels on axis 1, a known number of them, float32 or double.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, put_in_place, remove_unread
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.journal import Effect, Journal
from onnxnorm.recognize.coefficients import Array, axes_of
from onnxnorm.recognize.families.answers import along_axis
from onnxnorm.recognize.monomials import Unreadable
from onnxnorm.recognize.reading import Reading

__all__ = ["batch_norm_weights", "raise_batch_norms"]

_NAME = "recognize"
_KIND = "BatchNormalization"
_SINCE = 7
_AFFINES = frozenset({"Add", "Div", "Mul", "Sub"})
_ROOTS = frozenset({"Pow", "Reciprocal", "Sqrt"})
_WIDE = (ir.DataType.FLOAT, ir.DataType.DOUBLE)
_LONGEST = 6


def batch_norm_weights(node: ir.Node, facts: Facts) -> tuple[Array, Array] | None:
    """Return scale and bias for each channel of a BatchNormalization at inference; None where they are not constant."""
    if len(node.inputs) != 5 or any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    if any(each.is_ref() for each in node.attributes.values()):
        return None
    training = node.attributes.get_int("training_mode", 0)
    if training:
        return None
    found = [None if value is None else facts.constant(value) for value in node.inputs[1:]]
    wide = [np.asarray(array, np.float64) for array in found if array is not None]
    if len(wide) != 4 or any(array.shape != wide[0].shape or array.ndim != 1 for array in wide):
        return None
    gamma, beta, mean, variance = wide
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + float(np.float32(node.attributes.get_float("epsilon", 1e-5))))
        return scale, beta - mean * scale


def raise_batch_norms(graph: ir.Graph, facts: Facts, journal: Journal) -> bool:
    """Raise the batch normalizations of one graph; True where there was one."""
    modified = False
    for node in list(graph):
        if node.graph is graph and _is_step(node, graph, facts) is not None:
            modified |= _raise(node, graph, facts, journal)
    return modified


def _is_step(node: ir.Node, graph: ir.Graph, facts: Facts) -> ir.Value | None:
    """Return the operand that is no constant, if the node is an affine by constants.

    There is one constant for each channel or one for all.
    """
    if not is_standard(node) or node.op_type not in _AFFINES or len(node.inputs) != 2 or node.graph is not graph:
        return None
    first, second = node.inputs
    for own, other in ((first, second), (second, first)):
        if own is None or other is None or facts.is_constant(own) or not facts.is_constant(other):
            continue
        if node.op_type == "Div" and own is second:
            return None
        return own
    return None


def _raise(first: ir.Node, graph: ir.Graph, facts: Facts, journal: Journal) -> bool:
    x = _is_step(first, graph, facts)
    assert x is not None
    producer = x.producer()
    if producer is not None and len(x.consumers()) == 1 and _is_step(producer, graph, facts) is not None:
        # Not the first of its chain.
        return False
    chain = [first]
    while len(chain) < _LONGEST:
        output = chain[-1].outputs[0]
        users = output.consumers()
        if output.is_graph_output() or len(users) != 1 or _is_step(users[0], graph, facts) is not output:
            break
        chain.append(users[0])
    if len(chain) < 2 or not _is_meant(chain, facts) or x.dtype not in _WIDE:
        return False
    shape = facts.shape(x)
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int) or facts.opset(first) < _SINCE:
        return False
    try:
        reading = Reading(x, graph, facts)
    except Unreadable:
        return False
    for length in range(len(chain), 1, -1):
        if not _is_meant(chain[:length], facts):
            return False
        weights = _affine(chain[length - 1].outputs[0], reading, shape[1])
        if weights is not None:
            _replace(x, chain[:length], weights, graph, facts, journal)
            return True
    return False


def _is_meant(chain: list[ir.Node], facts: Facts) -> bool:
    """Whether the chain is a normalization, no bias or gate.

    There is a root among its constants, or mean, deviation and weight.
    """
    if any(_from_root(operand) for node in chain for operand in node.inputs if facts.is_constant(operand)):
        return True
    kinds = [node.op_type for node in chain]
    return len(chain) > 2 and kinds[0] in ("Sub", "Add") and {"Div", "Mul"} & set(kinds[1:]) != set()


def _from_root(value: ir.Value | None) -> bool:
    """Whether a constant in disguise is computed by a root, within a few steps."""
    stack = [(value, 0)]
    while stack:
        current, depth = stack.pop()
        producer = producer_of(current)
        if producer is None or depth > 6:
            continue
        if producer.op_type in _ROOTS:
            return True
        stack.extend((operand, depth + 1) for operand in producer.inputs)
    return False


def _affine(value: ir.Value, reading: Reading, channels: int) -> tuple[Array, Array] | None:
    form = reading.forms.get(value)
    if form is None or not form.is_plain or value.dtype is not reading.x.dtype:
        return None
    affine = form.poly.affine
    # For all channels alike it is a change of range, such as from bytes to -1..1.
    if affine is None or axes_of(affine[0]) | axes_of(affine[1]) != {1}:
        return None
    factor, shift = affine
    return along_axis(factor, 1, channels), along_axis(shift, 1, channels)


def _replace(
    x: ir.Value,
    chain: list[ir.Node],
    weights: tuple[Array, Array],
    graph: ir.Graph,
    facts: Facts,
    journal: Journal,
) -> None:
    last = chain[-1]
    dtype = x.dtype
    assert dtype is not None
    channels = len(weights[0])
    # mean 0, variance 1, epsilon 0: scale and shift are what they are.
    arrays = {"scale": weights[0], "bias": weights[1], "mean": np.zeros(channels), "var": np.ones(channels)}
    operands = [
        add_constant(
            graph, facts.fresh_name(f"{last.outputs[0].name}_{role}"), array.astype(dtype.numpy()), dtype, facts
        )
        for role, array in arrays.items()
    ]
    node = ir.node(_KIND, [x, *operands], attributes={"epsilon": 0.0}, name=last.name or facts.fresh_name(_KIND))
    node.outputs[0].type = x.type
    put_in_place(last, [node], node.outputs[0])
    remove_unread(chain, facts)
    steps = ", ".join(step.op_type for step in chain)
    journal.rewrite(_NAME, node, _KIND, f"{steps} by constants for each channel are one {_KIND}", effect=Effect.RAISED)
