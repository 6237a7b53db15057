"""Decides whether the node that a family proposes may take the place of what computes a value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxnorm.model.definitions import types_of
from onnxnorm.model.domains import CUSTOM_DOMAIN
from onnxnorm.model.dtypes import FLOATS, HALVES, type_string
from onnxnorm.recognize.families import FAMILIES, Answer, Found, Named, Near, Proposal
from onnxnorm.recognize.readers.arithmetic import REDUCTIONS

__all__ = ["Refusal", "answer_to"]

_LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class Refusal:
    """The reason why a proposed node may not take the place of what computes the root.

    Attributes:
        reason: in words.
        of_part: it is about a part of the normalization, whose result has another type than the tensor.
        needs_opset: the opset that has the node, where that is all there is in the way.
    """

    reason: str
    of_part: bool = False
    needs_opset: int | None = None


def answer_to(found: Found) -> tuple[Refusal | None, Answer]:
    """Return the answer of the families to a root; for a proposal also why it cannot be taken, or None."""
    answers = [family(found) for family in FAMILIES]
    blocked: tuple[Refusal | None, Answer] | None = None
    for answer in answers:
        if isinstance(answer, Proposal):
            refused = _refused(found, answer)
            if refused is None:
                return None, answer
            blocked = blocked or (refused, answer)
    if blocked is not None:
        return blocked
    for kind in (Named, Near):
        for answer in answers:
            if isinstance(answer, kind):
                return None, answer
    return None, None


def _refused(found: Found, proposal: Proposal) -> Refusal | None:
    if found.dtype not in FLOATS:
        known = found.dtype is not None
        return Refusal("the tensor is of an integer type" if known else "the element type of the tensor is not known")
    if found.root.dtype is not None and found.root.dtype is not found.dtype:
        # It still waits for the cast back to the type of the tensor.
        reason = f"its result is of type {found.root.dtype.name}, the tensor of type {found.dtype.name}"
        return Refusal(reason, of_part=True)
    if found.casts and not _computes_alike(found):
        return Refusal("it is computed in another type than that of the tensor")
    if found.dtype in HALVES and not _fits_half(found, proposal):
        return Refusal(f"its scale or bias is not exact in {found.dtype.name}")
    if found.opset < proposal.since:
        return Refusal(
            f"{proposal.op_type} needs opset {proposal.since}, the model has {found.opset}; "
            f"with opset={proposal.since} it becomes one node",
            needs_opset=proposal.since,
        )
    if not proposal.domain and not _takes(proposal.op_type, found.opset, found.dtype):
        return Refusal(f"{proposal.op_type} of opset {found.opset} takes no {found.dtype.name}")
    if proposal.domain == CUSTOM_DOMAIN and found.reading.facts.is_function_body(found.reading.graph):
        return Refusal("it stands in a function, which cannot use the operators of this project")
    return None


def _computes_alike(found: Found) -> bool:
    """Whether the one node, with its statistics in float32, computes in types as wide as the casts say.

    A half tensor is cast to float32. Casts of a float32 tensor to double, as TorchScript writes them around a power or
    an epsilon, add nothing where the means are taken in float32.
    """
    casts = {node.outputs[0].dtype for node in found.cone if node.op_type in ("Cast", "CastLike")}
    if found.dtype in HALVES:
        return casts <= {found.dtype, ir.DataType.FLOAT}
    return (
        found.dtype is ir.DataType.FLOAT
        and casts <= {ir.DataType.FLOAT, ir.DataType.DOUBLE}
        and all(node.outputs[0].dtype is ir.DataType.FLOAT for node in found.cone if node.op_type in REDUCTIONS)
    )


def _takes(op_type: str, opset: int, dtype: ir.DataType) -> bool:
    """Whether the operator takes tensors of the type: bfloat16 came to some of them late."""
    try:
        schema = onnx.defs.get_schema(op_type, min(opset, onnx.defs.onnx_opset_version()))
        types = types_of(schema, schema.inputs[0])
    except onnx.defs.SchemaError:
        return False
    return type_string(dtype) in types


def _fits_half(found: Found, proposal: Proposal) -> bool:
    quotient = found.quotient
    if not proposal.constants or quotient is None:
        return True
    for values in (quotient.scale, quotient.shift):
        if not np.array_equal(found.in_type(values).astype(np.float64), values):
            return False
    if not found.casts or found.statistic is None:
        return True
    # Normalized values are at most the root of their number; scaled they are rounded to the half type.
    extents = [found.extent(axis) for axis in found.statistic.axes]
    if None in extents:
        return False
    most = math.sqrt(math.prod(extent for extent in extents if extent is not None))
    return bool(np.abs(quotient.scale).max() * most < _LARGEST_HALF)
