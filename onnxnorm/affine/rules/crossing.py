"""Holds what every rule shares that lets an affine cross from one side of an operator to the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.interface import Answer, Declined, Settled, Site

__all__ = ["Mapped", "cross", "fits_attribute", "unchanged"]

Mapped: TypeAlias = "Callable[[Gauge], Gauge | Declined]"


def unchanged(gauge: Gauge) -> Gauge:
    """Return the gauge, which crosses the operator as it is."""
    return gauge


def fits_attribute(site: Site, number: float) -> bool:
    """Whether a float attribute, which has single precision, holds the number as exactly as the node computes."""
    return site.value_dtype(0) is not ir.DataType.DOUBLE or float(np.float32(number)) == number


def cross(site: Site, forward: Mapped, backward: Mapped) -> Answer:
    """Answer for one data input and one output: the gauge of the one, mapped, is the gauge of the other."""
    value, output = site.input(0), site.output()
    assert value is not None
    if any(site.gauge_in(index) is not None for index in range(1, len(site.node.inputs))):
        return Declined("takes it for a parameter")
    gauge_in, gauge_out = site.gauge_in(0), site.gauge_out()
    if gauge_in is not None:
        mapped = forward(gauge_in)
        target = output
    else:
        assert gauge_out is not None
        mapped = backward(gauge_out)
        target = value
    return mapped if isinstance(mapped, Declined) else Settled(None, site.demand(target, mapped))
