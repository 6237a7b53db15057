"""Runs the original in further ways, and copies of it whose weights are moved by one rounding, as they are needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.held import is_held, store_of
from onnxnorm.verification.rounding_noise import shake, shaken_weights
from onnxnorm.verification.runs import Runs, run_all

__all__ = ["SHAKES", "add_noise", "add_shaken", "shaken_copy"]

SHAKES = 3
"""Number of copies at most: what passes with fewer samples of noise passes with more."""


def add_noise(runs: Runs, seed: int) -> bool:
    """Add one more run that shows noise of the original; say whether there was one left."""
    while runs.postponed:
        level = runs.postponed.pop(0)
        try:
            runs.original[level] = run_all(runs.model, level, runs.samples, runs.options, runs.opening)
            return True
        except OnnxNormError as error:
            runs.failures["original", level] = error
    return add_shaken(runs, seed)


def add_shaken(runs: Runs, seed: int) -> bool:
    """Run one more copy in onnxruntime, and add what it gives to the runs; say whether there was one left."""
    while runs.shakes:
        number = SHAKES - runs.shakes
        runs.shakes -= 1
        with shaken_copy(runs.model, shaken_weights(runs.model), number, seed) as copy:
            if copy is None:
                runs.shakes = 0
                return False
            # A copy that does not run says nothing of noise.
            with contextlib.suppress(OnnxNormError):
                level = next(iter(runs.original))
                runs.shaken.append(run_all(copy, level, runs.samples, runs.options, runs.opening))
                return True
    return False


@contextlib.contextmanager
def shaken_copy(
    original: onnx.ModelProto, weights: tuple[str, ...], number: int, seed: int
) -> Iterator[onnx.ModelProto | None]:
    """Give the copy of this number of the original, its weights moved by one rounding, and let go of it in the end.

    None where there is nothing to move, or too much.
    """
    copy = shake(original, weights, np.random.default_rng([seed, number, 1]))
    try:
        yield copy
    finally:
        held = next((each for each in copy.graph.initializer if is_held(each)), None) if copy is not None else None
        if copy is not None and held is not None:
            store_of(held).forget(copy, original)
