"""What `onnxnorm run` feeds a session: the arrays given on the command line, random ones for the inputs left."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from onnxnorm._cli.outcome import UsageError
from onnxnorm._cli.tensors import listed, read_npy, read_npz, shapes_by_name, split_name
from onnxnorm._inputs import Feeds, InputSpec, random_samples

__all__ = ["candidate_feeds"]

_TEXT = "OUS"

# Of the samples that `random_samples` makes the one with a batch of one and pictures' values, uniform in [0, 1).
_SAMPLE = 1


def candidate_feeds(arguments: argparse.Namespace, specs: Sequence[InputSpec]) -> Iterator[Feeds]:
    """Ways to fill a model's inputs, the preferred first: they differ in the sizes that nobody has fixed.

    Args:
        arguments: of the command line: input, inputs, shape and seed.
        specs: the model's inputs.

    Raises:
        OnnxNormError: an array or a shape is for no input, is given twice, or does not fit.
    """
    by_name = {spec.name: spec for spec in specs}
    given = {name: by_name[name].check(array) for name, array in _given_arrays(arguments, list(by_name)).items()}
    shapes = shapes_by_name(arguments.shape, list(by_name))
    for name in given:
        if name in shapes:
            raise UsageError(f"input {name!r} has both an array and a --shape")
    # Texts cannot be made up, nor need they be where they are given.
    inventable = [spec for spec in specs if not (spec.name in given and spec.dtype.kind in _TEXT)]
    names = {spec.name for spec in inventable}
    shapes |= {name: array.shape for name, array in given.items() if name in names}
    for feeds in random_samples(inventable, shapes, seed=arguments.seed, index=_SAMPLE):
        yield {**feeds, **given}


def _given_arrays(arguments: argparse.Namespace, names: Sequence[str]) -> Feeds:
    given = read_npz(arguments.inputs) if arguments.inputs is not None else {}
    for name in given:
        if name not in names:
            raise UsageError(f"{arguments.inputs}: the model has no input {name!r}, its inputs are {listed(names)}")
    for text in arguments.input:
        name, path = split_name(text, names)
        if name in given:
            raise UsageError(f"input {name!r} is given twice")
        given[name] = read_npy(path)
    return {name: np.asarray(array) for name, array in given.items()}
