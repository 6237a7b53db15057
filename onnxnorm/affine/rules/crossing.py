"""Holds what rules share that let an affine cross from one side of an operator to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Answer, Declined, Settled, Site
from onnxnorm.numerics.arrays import check_size

__all__ = ["NOT_POSITIVE", "Mapped", "among_identities", "cross", "fits_attribute", "unchanged"]

Mapped: TypeAlias = "Callable[[Gauge], Gauge | Declined]"

NOT_POSITIVE = "keeps directions only, so no affine passes it but a positive scale that does not vary along its axis"


def unchanged(gauge: Gauge) -> Gauge:
    """Return the gauge, which crosses the operator as it is."""
    return gauge


def fits_attribute(site: Site, number: float) -> bool:
    """Whether a float attribute, which has single precision, holds the number as exactly as the node computes."""
    return site.value_dtype(0) is not ir.DataType.DOUBLE or float(np.float32(number)) == number


def among_identities(gauge: Gauge, shape: Sequence[int], index: tuple[slice | npt.NDArray[np.int64], ...]) -> Gauge:
    """Return the gauge of a value of which only a part is gauged: this one at the index, and the identity elsewhere."""
    check_size(shape, gauge.any.scale.size)

    def side(affine: ChannelAffine | None) -> ChannelAffine | None:
        if affine is None:
            return None
        scale, shift = np.ones(shape), np.zeros(shape)
        scale[index], shift[index] = affine.scale, affine.shift
        return ChannelAffine.of(scale, shift, len(shape))

    return Gauge(side(gauge.to_new), side(gauge.to_old))


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
