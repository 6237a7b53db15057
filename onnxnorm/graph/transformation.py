"""Holds the state that the passes of one transformation hand on to each other beside the model."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.size_budget import SizeBudget

__all__ = ["Transformation"]


@dataclass(frozen=True, eq=False)
class Transformation:
    """State that begins with the first pass over a model and ends with the last one.

    Attributes:
        size_budget: by how much the weights may still grow.
        magnitudes: about how large a value is, after the affines that have been moved over it, relative to what it was;
            float64 arrays that broadcast against the value. Rounding is judged by them, so that many small moves do not
            add up unseen.
    """

    size_budget: SizeBudget
    magnitudes: MutableMapping[ir.Value, npt.NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ir.Model) -> Transformation:
        """Begin a transformation of the model as it is now, with the default budget."""
        return cls(SizeBudget.of(model))
