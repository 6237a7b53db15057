"""Computes the affine that a BatchNormalization with constant statistics is.

Ioffe and Szegedy 2015; ONNX: scale = gamma / sqrt(var + epsilon), shift = beta - mean * scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onnxnorm.numerics.arrays import all_of

__all__ = ["EPSILON", "Affine", "affine_of_batch_norm"]

EPSILON = 1e-5
"""The epsilon that ONNX takes where the node does not say."""

_Array = npt.NDArray[np.float64]


class Affine(NamedTuple):
    """The affine y = scale * x + shift, and about how large x is: sigma + |mean|. The arrays have one shape."""

    scale: _Array
    shift: _Array
    spread: _Array


def affine_of_batch_norm(
    gamma: _Array, beta: _Array, mean: _Array, variance: _Array, *, epsilon: float, unit: float
) -> Affine:
    """Compute the affine from arrays of one shape; infinities and NaN come out where they come in.

    Args:
        gamma: the factors.
        beta: the summands.
        mean: the mean of the input.
        variance: the variance of the input.
        epsilon: is added to the variance; a float32 in ONNX.
        unit: the relative rounding of the type that the parameters have.
    """
    sigma = np.sqrt(variance + float(np.float32(epsilon)))
    spread = sigma + np.abs(mean)
    scale = gamma / sigma
    shift = beta - mean * scale
    # Parameters that undo each other up to their own rounding are meant as the identity.
    alike = not scale.size or abs(scale.item(0) - 1.0) <= unit
    if alike and all_of(np.abs(scale - 1.0) <= unit) and all_of(np.abs(shift) <= unit * np.abs(mean)):
        scale, shift = np.ones_like(scale), np.zeros_like(shift)
    return Affine(scale, shift, spread)
