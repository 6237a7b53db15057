"""Global response normalization, written out: its parts, for a kernel that computes it as one node.

Before: y = scale * x * L / (mean of L over the channels + epsilon) + bias + x, where L is the length of a channel of an
item over all its places, in any spelling (ConvNeXt V2 writes it with the channels last, others with them second).
After: the same, named by its axis, its epsilon, and a scale and a bias for each channel.
Conditions: scale and bias vary along the channels alone, all is computed in the type of x, and nobody else reads a
statistic. ONNX has no operator for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, only_reader
from onnxnorm.recognize.batch_norm import batch_norm_weights
from onnxnorm.recognize.candidates import candidates
from onnxnorm.recognize.coefficients import Array, axes_of
from onnxnorm.recognize.families.answers import Found, along_axis
from onnxnorm.recognize.monomials import SQUARE, Atom, Base, Input, Mean, Total, Unreadable, X
from onnxnorm.recognize.polynomial import Poly
from onnxnorm.recognize.reading import Reading

__all__ = ["GlobalResponse", "global_responses"]

_ALIKE = 1e-6


@dataclass(frozen=True, eq=False)
class GlobalResponse:
    """A global response normalization that is written out.

    Attributes:
        x: what is normalized.
        root: the value that is the result; x has been added, and the weights are applied.
        axis: the axis of the channels, the second or the last.
        scale: for each channel, as `bias`.
    """

    x: ir.Value
    root: ir.Value
    axis: int
    epsilon: float
    scale: Array
    bias: Array


def global_responses(graph: ir.Graph, facts: Facts) -> Iterator[GlobalResponse]:
    """Yield the global response normalizations of one graph, whose nodes may be replaced before the next is asked for.

    Args:
        graph: the graph.
        facts: what is known of the model.
    """
    for x in list(candidates(graph)):
        producer = x.producer()
        if producer is not None and producer.graph is None:
            continue
        try:
            reading = Reading(x, graph, facts)
        except Unreadable:
            continue
        response = _last(reading)
        if response is not None:
            yield response


def _last(reading: Reading) -> GlobalResponse | None:
    """Return the response of one tensor that takes the most nodes with it."""
    best: GlobalResponse | None = None
    most = 0
    for value, form in reading.forms.items():
        if value is reading.x or not form.is_plain or value.dtype is not reading.x.dtype:
            continue
        found = Found(reading, value, form.poly)
        if found.casts or len(found.cone) <= most or reading.escape(value, found.cone) is not None:
            continue
        response = _response(found)
        if response is not None:
            best, most = response, len(found.cone)
    return best


def _response(found: Found) -> GlobalResponse | None:
    terms = dict(found.poly.terms)
    one, bias = terms.pop(X, None), terms.pop(frozenset(), np.zeros((1,) * found.rank))
    if len(terms) != 1 or found.rank < 3 or (one is not None and not np.allclose(one, 1.0, rtol=_ALIKE)):
        return None
    ((monomial, scale),) = terms.items()
    rest = dict(monomial)
    if rest.pop(Input(), 0.0) != 1.0 or len(rest) != 2:
        return None
    lengths = [atom for atom, power in rest.items() if power == 0.5 and _is_length(atom)]
    divisors = [atom for atom, power in rest.items() if power == -1.0 and isinstance(atom, Base)]
    if len(lengths) != 1 or len(divisors) != 1:
        return None
    length, divisor = lengths[0], divisors[0]
    assert isinstance(length, (Mean, Total)) and isinstance(divisor, Base)
    averaged = _averaged(divisor.poly, length)
    count = 1.0
    if isinstance(length, Mean):
        extents = [found.extent(axis) for axis in length.axes]
        if None in extents:
            return None
        count = float(math.prod(extent for extent in extents if extent is not None))
    if averaged is None or count == 0:
        return None
    axis, factor, epsilon = averaged
    channels = found.extent(axis)
    if length.axes != frozenset(range(1, found.rank)) - {axis} or axis not in (1, found.rank - 1) or not channels:
        return None
    if not axes_of(scale) | axes_of(bias) <= {axis}:
        return None
    # With m = L / sqrt(count): m / (factor * mean of m + epsilon) is the ratio of the lengths, over the factor.
    root = math.sqrt(count)
    response = GlobalResponse(
        found.reading.x,
        found.root,
        axis,
        epsilon / factor * root,
        along_axis(scale / factor, axis, channels),
        along_axis(bias, axis, channels),
    )
    return response if one is not None else _with_input_added(response, found.reading)


def _with_input_added(response: GlobalResponse, reading: Reading) -> GlobalResponse | None:
    """Return the response up to the Add of x behind it, perhaps with weights before that are a BatchNormalization."""
    user = _only_reader(response.root, reading)
    weights = None if user is None or user.op_type != "BatchNormalization" else batch_norm_weights(user, reading.facts)
    if user is not None and weights is not None and response.axis == 1 and user.inputs[0] is response.root:
        scale, bias = weights
        if scale.shape != response.scale.shape:
            return None
        response = replace(
            response, root=user.outputs[0], scale=response.scale * scale, bias=response.bias * scale + bias
        )
        user = _only_reader(response.root, reading)
    if user is None or user.op_type != "Add" or set(user.inputs) != {response.root, response.x}:
        return None
    return replace(response, root=user.outputs[0])


def _only_reader(value: ir.Value, reading: Reading) -> ir.Node | None:
    user = only_reader(value)
    return user if user is not None and is_standard(user) and user.graph is reading.graph else None


def _is_length(atom: Atom) -> bool:
    return isinstance(atom, (Mean, Total)) and atom.of == SQUARE


def _averaged(poly: Poly, length: Mean | Total) -> tuple[int, float, float] | None:
    """Return the axis over which lengths are averaged, the factor of their mean, and what is added to it."""
    terms = dict(poly.terms)
    added = terms.pop(frozenset(), np.zeros(1))
    if len(terms) != 1 or added.size != 1:
        return None
    ((monomial, factor),) = terms.items()
    if len(monomial) != 1 or factor.size != 1 or factor.item() <= 0:
        return None
    ((atom, power),) = monomial
    if not isinstance(atom, Mean) or power != 1 or atom.of != frozenset({(length, 0.5)}) or len(atom.axes) != 1:
        return None
    (axis,) = atom.axes
    return axis, float(factor.item()), float(added.item())
