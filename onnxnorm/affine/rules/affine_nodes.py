"""Operators that are channel affines themselves: BatchNormalization; Mul, Add, Sub, Div, Neg by a constant.

They are what the solver wants to be rid of, and the easiest boundary for any other affine (`changed_affines.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.cost import ARITHMETIC
from onnxnorm.affine.exactness import is_vast
from onnxnorm.affine.interface import Declined
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.journal.reasons import Code
from onnxnorm.model.dtypes import FLOATS
from onnxnorm.numerics.arrays import all_of, any_of
from onnxnorm.numerics.batch_norm import EPSILON, affine_of_batch_norm

__all__ = ["VAST", "AffineNode", "affine_of", "conjugated", "elements_of", "is_affine"]

VAST = Declined("has a constant as large as those of masks", code=Code.MASK)

_ELEMENTWISE = ARITHMETIC
_SILENT = ", as it is before opset 7 without is_test = 1"


@dataclass(frozen=True, eq=False)
class AffineNode:
    """A node that computes `affine` of its input number `data`.

    `spread` is about how large the values of that input are, per channel, where the node knows (statistics of a
    BatchNormalization: sigma + |mean|). `measured`: its numbers are such statistics, not some that were written down.
    `vast`: it has numbers that no value but its own may meet (see exactness.py).
    """

    data: int
    affine: ChannelAffine
    spread: FloatArray | None = None
    measured: bool = False
    vast: bool = False


def is_affine(node: ir.Node) -> bool:
    """Whether `affine_of` may be asked about the node."""
    return is_standard(node) and (node.op_type == "BatchNormalization" or node.op_type in _ELEMENTWISE)


def affine_of(node: ir.Node, facts: Facts) -> AffineNode | Declined:
    """Return the affine that `node` (see `is_affine`) computes, or why it computes none."""
    known = facts.read_nodes.get(node)
    if isinstance(known, (AffineNode, Declined)):
        return known
    with np.errstate(all="ignore"):
        found = _batch_norm(node, facts) if node.op_type == "BatchNormalization" else _elementwise(node, facts)
    if isinstance(found, AffineNode) and not found.affine.is_finite:
        found = Declined("has constants that give an infinite or undefined scale or shift", code=Code.UNDEFINED)
    if isinstance(found, AffineNode):
        normalizes = node.op_type == "BatchNormalization"
        value = node.inputs[found.data]
        dtype = (None if value is None else value.dtype) or node.outputs[0].dtype
        if is_vast(found.affine, dtype, statistics=normalizes):
            found = replace(found, vast=True) if normalizes else VAST
    shape = node.outputs[0].shape
    if isinstance(found, AffineNode) and shape is not None and len(shape) != found.affine.rank:
        found = Declined(
            "has a result of another rank than its input, by what the model says of them", code=Code.UNDEFINED
        )
    facts.read_nodes[node] = found
    return found


def _batch_norm(node: ir.Node, facts: Facts) -> AffineNode | Declined:
    opset = facts.opset(node)
    attributes = node.attributes
    if any(attribute.is_ref() for attribute in attributes.values()):
        return Declined("takes an attribute from the function around it", code=Code.COMPUTED_PARAMETER)
    if _trains(node, opset):
        return Declined(
            f"is in training mode{_SILENT if opset < 7 else ''}: it normalizes by the statistics of each batch; "
            "export the model in eval mode",
            code=Code.TRAINING_MODE,
        )
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return Declined("has further outputs that are used", code=Code.FURTHER_OUTPUTS)
    if facts.is_constant(node.inputs[0]) and facts.constant(node.inputs[0]) is not None:
        return Declined("normalizes a constant, so whoever reads it sees a constant", code=Code.CONSTANT_INPUT)
    parameters = _parameters(node, facts)
    if isinstance(parameters, Declined):
        return parameters
    gamma, beta, mean, variance = parameters
    if not gamma.shape == beta.shape == mean.shape == variance.shape:
        return Declined("has parameters that are no vectors of one length", code=Code.UNDEFINED)
    assert node.inputs[0] is not None
    shape = facts.shape(node.inputs[0]) or facts.shape(node.outputs[0])
    if shape is None or len(shape) < 2:
        return Declined("has an input whose rank is not known, or below 2", code=Code.UNKNOWN_SHAPE)
    rank = len(shape)
    scale, shift, spread = affine_of_batch_norm(
        gamma, beta, mean, variance,
        epsilon=attributes.get_float("epsilon", EPSILON),
        unit=_epsilon(node.inputs[1]),
    )  # fmt: skip
    measured = any_of(mean) or not all_of(variance == 1.0)
    if opset < 9 and attributes.get_int("spatial", 1) == 0:
        if scale.ndim != rank - 1:
            return Declined("has per-activation statistics of another rank than its input", code=Code.UNDEFINED)
        return AffineNode(0, ChannelAffine.of(scale[None], shift[None], rank), spread[None], measured)
    if scale.ndim != 1:
        return Declined("has parameters that are no vectors of one length", code=Code.UNDEFINED)
    if isinstance(shape[1], int) and shape[1] != scale.size:
        return Declined(
            f"has parameters for {scale.size} channels, where its input has {shape[1]}", code=Code.UNDEFINED
        )
    columns = (-1,) + (1,) * (rank - 2)
    return AffineNode(0, ChannelAffine.along(1, scale, shift, rank), spread.reshape(columns), measured)


def _trains(node: ir.Node, opset: int) -> bool:
    """Whether a BatchNormalization normalizes by the statistics of each batch."""
    if opset >= 14:
        return node.attributes.get_int("training_mode", 0) != 0
    if opset < 7:
        return node.attributes.get_int("is_test", 0) == 0
    return any(output.name for output in node.outputs[1:])


def _parameters(node: ir.Node, facts: Facts) -> list[FloatArray] | Declined:
    """Return scale, bias, mean and variance of a BatchNormalization."""
    found = []
    for name, value in zip(("scale", "bias", "mean", "variance"), node.inputs[1:5], strict=True):
        array = facts.dequantized(value)
        if array is None and facts.overridable(value):
            return Declined(
                f"has a {name} that is also a graph input, so a caller may override it (see freeze_inputs, "
                "--freeze-inputs)",
                code=Code.OVERRIDABLE_WEIGHT,
            )
        if array is None:
            return Declined(f"has a {name} that is not constant", code=Code.COMPUTED_PARAMETER)
        found.append(np.asarray(array, np.float64))
    return found


def _epsilon(value: ir.Value | None) -> float:
    wide = value is not None and value.dtype is ir.DataType.DOUBLE
    return 2.0**-52 if wide else 2.0**-23


def _elementwise(node: ir.Node, facts: Facts) -> AffineNode | Declined:
    if facts.opset(node) < 7 and node.op_type in ("Mul", "Add", "Sub", "Div"):
        return _elementwise_before_7(node, facts)
    operands = [facts.constant(value) for value in node.inputs]
    dynamic = [index for index, array in enumerate(operands) if array is None]
    if len(dynamic) != 1:
        return Declined("combines several values that depend on the input" if dynamic else "is constant")
    data = dynamic[0]
    value = node.inputs[data]
    assert value is not None
    shape = facts.shape(value)
    if shape is None:
        return Declined("has an input whose rank is not known", code=Code.UNKNOWN_SHAPE)
    if value.dtype not in FLOATS:
        return Declined("does not compute in floating point")
    if node.op_type == "Neg":
        return AffineNode(data, ChannelAffine.of(-1.0, 0.0, len(shape)))
    if node.op_type == "Sum":
        constant = np.asarray(sum(np.asarray(array, np.float64) for array in operands if array is not None))
    else:
        constant = np.asarray(operands[1 - data], np.float64)
    if node.op_type == "Sum" and len(operands) == 1:
        return AffineNode(data, ChannelAffine.identity(len(shape)))
    if constant.ndim > len(shape):
        return Declined("has a constant that raises the rank of the result")
    for extent, dim in zip(reversed(constant.shape), reversed(shape), strict=False):
        if extent != 1 and extent != dim:
            return Declined("has a constant that enlarges the result, or may do so", code=Code.UNKNOWN_SHAPE)
    return _arithmetic(node.op_type, data, constant, len(shape))


def _arithmetic(op_type: str, data: int, constant: FloatArray, rank: int) -> AffineNode | Declined:
    """Read the affine of an operator whose constant broadcasts to the rank of its other operand."""
    if op_type == "Div" and data == 1:
        return Declined("divides by a value that depends on the input")
    scale, shift = np.ones(()), np.zeros(())
    if op_type == "Mul":
        scale = constant
    elif op_type == "Div":
        scale = 1.0 / constant
    elif op_type in ("Add", "Sum"):
        shift = constant
    elif data == 0:
        shift = -constant
    else:
        scale, shift = -scale, constant
    return AffineNode(data, ChannelAffine.of(scale, shift, rank))


def _elementwise_before_7(node: ir.Node, facts: Facts) -> AffineNode | Declined:
    """Read the affine of an operator before opset 7.

    The second operand was laid onto the axes of the first from `axis` on, if `broadcast` was set.
    """
    value, constant = node.inputs[0], facts.constant(node.inputs[1])
    shape = None if value is None else facts.shape(value)
    if value is None or constant is None or facts.constant(value) is not None:
        return Declined("does not have its constant as second operand")
    if shape is None or value.dtype not in FLOATS:
        return Declined("has an input whose rank or type is not known", code=Code.UNKNOWN_SHAPE)
    array = np.asarray(constant, np.float64)
    if "broadcast" in node.attributes and node.attributes["broadcast"].as_int():
        start = node.attributes["axis"].as_int() if "axis" in node.attributes else len(shape) - array.ndim
        start += len(shape) if start < 0 else 0
        behind = len(shape) - start - array.ndim
        if start < 0 or behind < 0:
            return Declined("has a constant that does not lie on the axes of its input", code=Code.OTHER_AXIS)
        array = array.reshape(array.shape + (1,) * behind)
    elif array.ndim != len(shape):
        return Declined("has a constant of another rank than its input")
    for extent, dim in zip(reversed(array.shape), reversed(shape), strict=False):
        if extent != 1 and extent != dim:
            return Declined("has a constant that enlarges the result, or may do so", code=Code.UNKNOWN_SHAPE)
    return _arithmetic(node.op_type, 0, array, len(shape))


def conjugated(affine: ChannelAffine, gauge_in: Gauge | None, gauge_out: Gauge | None) -> ChannelAffine | None:
    """Return what the node computes from its new input to its new output; None where a zero scale is in the way."""
    rank = affine.rank
    identity = ChannelAffine.identity(rank)
    # These two hold without any inverse: the new input is the old output, the old output is made from the new one.
    if gauge_out is None and gauge_in is not None and gauge_in.to_new is not None and gauge_in.to_new.same_as(affine):
        return identity
    if gauge_in is None and gauge_out is not None and gauge_out.to_old is not None and gauge_out.to_old.same_as(affine):
        return identity
    before = identity if gauge_in is None else gauge_in.to_old
    after = identity if gauge_out is None else gauge_out.to_new
    if before is None or after is None:
        return None
    inner = before.then(affine)
    if gauge_out is not None and gauge_out.to_old is not None and gauge_out.to_old.same_as(inner):
        return identity
    return inner.then(after)


def elements_of(node: ir.Node, data: int, facts: Facts) -> int:
    """Count the elements that the affine of the node touches.

    The node's input and output have one shape, of which one side may be known better: the smaller count is taken.
    """
    value = node.inputs[data]
    sides = [facts.elements(side) for side in (value, node.outputs[0]) if side is not None]
    return min(sides)
