"""Runs the original in further ways, and copies of it whose weights are moved by one rounding, as they are needed."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.held import is_held, store_of
from onnxnorm.verification.rounding_noise import shake, shaken_weights
from onnxnorm.verification.runs import Runs, run_all

__all__ = ["SHAKES", "add_noise", "add_shaken", "forget"]

SHAKES = 3
"""Number of copies at most: what passes with fewer samples of noise passes with more."""


def add_noise(runs: Runs, seed: int) -> bool:
    """Add one more run that shows noise of the original; say whether there was one left."""
    while runs.postponed:
        level = runs.postponed.pop(0)
        try:
            runs.original[level] = run_all(runs.model, level, runs.samples, runs.options)
            return True
        except OnnxNormError as error:
            runs.failures["original", level] = str(error)
    return add_shaken(runs, seed)


def add_shaken(runs: Runs, seed: int) -> bool:
    """Run one more copy in onnxruntime, and add what it gives to the runs; say whether there was one left."""
    while runs.shakes:
        number = SHAKES - runs.shakes
        runs.shakes -= 1
        copy = shake(runs.model, shaken_weights(runs.model), np.random.default_rng([seed, number, 1]))
        if copy is None:
            runs.shakes = 0
            return False
        try:
            # A copy that does not run says nothing of noise.
            with contextlib.suppress(OnnxNormError):
                runs.shaken.append(run_all(copy, next(iter(runs.original)), runs.samples, runs.options))
                return True
        finally:
            forget(copy, runs.model)
    return False


def forget(copy: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Let go of the weights of a copy of the original."""
    tensor = next((tensor for tensor in copy.graph.initializer if is_held(tensor)), None)
    if tensor is not None:
        store_of(tensor).forget(copy, original)
