"""Remembers what earlier searches ran into, so that later ones need not run there again.

A network may have thousands of affines on one residual stream, and each would follow that stream to the same obstacle.
From a value a gauge is forced onward where its only way is through one wire after another; if that ends at a node that
no shift (no negative scale, nothing at all) passes, then every gauge on that value with the same property ends there.
An obstacle can be paid off by a new node, whose cost is remembered with it: the toll.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.channel import Gauge, extents_agree
from onnxnorm.affine.interface import Cause
from onnxnorm.affine.region import Refusal
from onnxnorm.numerics.arrays import any_of

__all__ = ["Obstacle", "Obstacles"]


@dataclass(frozen=True, eq=False)
class Obstacle:
    """An obstacle: why gauges of a kind cannot be carried, where, and the toll of leaving the old value there."""

    why: Refusal
    value: ir.Value
    toll: int


@dataclass(frozen=True, eq=False)
class _Record:
    cause: Cause
    mask: npt.NDArray[np.bool_]
    obstacle: Obstacle


class Obstacles:
    """Obstacles by the values from which gauges are led to them."""

    def __init__(self) -> None:
        self._records: dict[ir.Value, list[_Record]] = {}

    def note(self, chain: Iterable[tuple[ir.Value, Gauge]], cause: Cause, obstacle: Obstacle) -> None:
        """Note that every gauge of `chain` leads, one by force of the one before, to the obstacle."""
        for value, gauge in chain:
            mask = _mask(gauge, cause)
            if not any_of(mask):
                return
            records = self._records.setdefault(value, [])
            if len(records) < 4:
                records.append(_Record(cause, mask, obstacle))

    def of(self, value: ir.Value, gauge: Gauge) -> Obstacle | None:
        """Return the obstacle that the gauge on `value` would be led to; None where none is known."""
        for record in self._records.get(value, ()):
            mask = _mask(gauge, record.cause)
            if extents_agree(mask.shape, record.mask.shape) and not any_of(record.mask & ~mask):
                return record.obstacle
        return None


def _mask(gauge: Gauge, cause: Cause) -> npt.NDArray[np.bool_]:
    """Mark the elements of the gauge that have the property `cause`, which is in the way."""
    affine = gauge.any
    mask: npt.NDArray[np.bool_] = affine.shift != 0.0
    if cause is Cause.NEGATIVE:
        mask = affine.scale < 0.0
    elif cause is not Cause.SHIFT:
        mask = mask | (np.abs(affine.scale - 1.0) > 1e-12)
    return mask
