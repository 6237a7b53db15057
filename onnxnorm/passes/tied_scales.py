"""Judges whether absorbing a norm takes a freedom away that int8 needs more than it needs one node less.

Scales may be moved over a value and all that has to change with it. A BatchNormalization on the identity branch of a
sum parts what comes in from what the sum makes, so that the channels of each may have scales of their own. Without it
the scales of the two are one: those of all RepVGG blocks of a stage then, whose weights and activations cannot be made
even one by one any more. Quantizers leave the norm itself in float. Data: `python -m bench quantize`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.affine import AffineNode, Region, Units
from onnxnorm.affine.freedom import free_region
from onnxnorm.affine.interface import Constant
from onnxnorm.graph.facts import Facts
from onnxnorm.passes.equalize import gauge_of

__all__ = ["ties_scales"]

_AXIS = 1
# Scales nearer to one than this change no step of quantization.
_ONE = 0.01


def ties_scales(node: ir.Node, found: AffineNode, facts: Facts, units: Units) -> bool:
    """Whether the scales before and behind a BatchNormalization, each of which are free, are one without it.

    False where nothing else reads what it reads, whose scales are of no use then, and where no other weight makes what
    it makes; nor where the norm only shifts.
    """
    value, made = node.inputs[found.data], node.outputs[0]
    if node.op_type != "BatchNormalization" or value is None or len(value.consumers()) < 2:
        return False
    if np.abs(found.affine.scale - 1.0).max() < _ONE:
        return False
    before = _free(value, facts, units)
    if before is None or made in before.gauges or not any(_has_weight(before, each) for each in before.edits):
        return False
    after = _free(made, facts, units)
    return after is not None and any(
        _has_weight(after, each) and each.outputs[0] in after.gauges and each is not node for each in after.edits
    )


def _free(value: ir.Value, facts: Facts, units: Units) -> Region | None:
    shape = facts.shape(value)
    extent = shape[_AXIS] if shape is not None and len(shape) > _AXIS else None
    if not isinstance(extent, int):
        return None
    gauge = gauge_of(np.linspace(0.3, 0.9, extent), _AXIS, len(shape or ()))
    return free_region(value, gauge, facts, units)


def _has_weight(region: Region, node: ir.Node) -> bool:
    return any(isinstance(each, Constant) and each.role == "weight" for each in region.edits[node].inputs)
