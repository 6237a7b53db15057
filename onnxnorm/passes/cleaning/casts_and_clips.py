"""Joins casts behind casts and clips behind clips.

Before: x of type A -> Cast to B -> Cast to C; x -> Clip(a, b) -> Clip(c, d), where nobody else reads what is between.
After: x -> Cast to C, or x itself where C is A; x -> Clip(a moved into [c, d], b moved into [c, d]).
Conditions: B holds every number of A, so that the first Cast rounds nothing away; a number with a fraction is not cast
to integers on another way than before, since what does not fit is not defined. Bounds are constants, a <= b and c <= d.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, set_inputs
from onnxnorm.graph.nodes import is_standard, producer_of, read_once
from onnxnorm.journal.words import naming_node, say
from onnxnorm.model.dtypes import FLOATS
from onnxnorm.passes.cleaning.site import Site

__all__ = ["join_casts", "join_clips"]

_D = ir.DataType
_SMALL = (_D.BOOL, _D.INT8, _D.UINT8)
_HELD: Mapping[ir.DataType, frozenset[ir.DataType]] = {
    _D.FLOAT16: frozenset(_SMALL),
    _D.BFLOAT16: frozenset(_SMALL),
    _D.FLOAT: frozenset({*_SMALL, _D.INT16, _D.UINT16, _D.FLOAT16, _D.BFLOAT16}),
    _D.DOUBLE: frozenset({*_SMALL, _D.INT16, _D.UINT16, _D.INT32, _D.UINT32, _D.FLOAT16, _D.BFLOAT16, _D.FLOAT}),
    _D.INT8: frozenset({_D.BOOL}),
    _D.UINT8: frozenset({_D.BOOL}),
    _D.INT16: frozenset(_SMALL),
    _D.UINT16: frozenset({_D.BOOL, _D.UINT8}),
    _D.INT32: frozenset({*_SMALL, _D.INT16, _D.UINT16}),
    _D.UINT32: frozenset({_D.BOOL, _D.UINT8, _D.UINT16}),
    _D.INT64: frozenset({*_SMALL, _D.INT16, _D.UINT16, _D.INT32, _D.UINT32}),
    _D.UINT64: frozenset({_D.BOOL, _D.UINT8, _D.UINT16, _D.UINT32}),
}
"""The types of which a type holds every number, for each type."""
_NUMBERS = frozenset(_HELD) | {_D.BOOL}


def join_casts(node: ir.Node, site: Site) -> str | None:
    """Have a Cast behind a Cast read what the first one reads."""
    first = producer_of(node.inputs[0])
    if first is None or not is_standard(first) or first.op_type != "Cast" or first.inputs[0] is None:
        return None
    x, middle = first.inputs[0], first.outputs[0]
    between, target = _target(first), _target(node)
    if x.dtype is None or between is None or target is None or x.dtype not in _NUMBERS:
        return None
    if x.dtype not in _HELD.get(between, ()) or not _alike(x.dtype, between, target):
        return None
    if target is not x.dtype and not read_once(middle):
        return None
    if first in site.units or node in site.units:
        return None
    node.replace_input_with(0, x)
    return f"reads what Cast {first.name!r} reads, which rounds nothing away"


def _target(node: ir.Node) -> ir.DataType | None:
    to = node.attributes.get("to")
    if to is None or to.is_ref() or to.type is not ir.AttributeType.INT or set(node.attributes) - {"to", "saturate"}:
        return None
    return ir.DataType(to.as_int())


def _alike(a: ir.DataType, between: ir.DataType, target: ir.DataType) -> bool:
    """Whether what the first Cast makes is cast to the target as its input would be."""
    if target not in _NUMBERS:
        return False
    if target is a or target is _D.BOOL or target in FLOATS:
        return target not in FLOATS or a not in FLOATS or between in FLOATS
    # From here on the target is an integer type. Of integers the lower bits stay, of floats what fits.
    if a in FLOATS:
        return False
    return between not in FLOATS or a in _HELD[target]


def join_clips(node: ir.Node, site: Site) -> str | None:
    """Have a Clip behind a Clip do what both do."""
    first = producer_of(node.inputs[0])
    if first is None or not is_standard(first) or first.op_type != "Clip" or first.inputs[0] is None:
        return None
    bounds, outer = _bounds(first, site), _bounds(node, site)
    dtype = first.inputs[0].dtype
    if bounds is None or outer is None or dtype is None or not read_once(first.outputs[0]):
        return None
    if node.graph is None or first in site.units or node in site.units:
        return None
    low, high = (np.minimum(np.maximum(bound, outer[0]), outer[1]) for bound in bounds)
    names = [site.facts.fresh_name(f"{node.name}_{what}") for what in ("min", "max")]
    values = [
        add_constant(node.graph, name, np.asarray(bound), dtype, site.facts)
        for name, bound in zip(names, (low, high), strict=True)
    ]
    set_inputs(node, [first.inputs[0], *values])
    return say("clips as {} before it did too", naming_node(first))


def _bounds(node: ir.Node, site: Site) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]] | None:
    """Return both bounds, where both are there and in order, and no zero whose sign would not be known afterwards."""
    arrays = [site.facts.constant(value) for value in node.inputs[1:]]
    if len(arrays) != 2 or site.facts.opset(node) < 11:
        return None
    low, high = arrays
    if low is None or high is None or low.size != 1 or high.size != 1 or low.dtype != high.dtype:
        return None
    low, high = low.reshape(()), high.reshape(())
    if low.dtype.kind not in "fiu" or not bool(np.less_equal(low, high)):
        return None
    return None if low.dtype.kind == "f" and any(b == 0 and np.signbit(b) for b in (low, high)) else (low, high)
