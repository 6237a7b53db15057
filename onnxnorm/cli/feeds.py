"""Makes inputs from the command line: arrays, shapes, and random arrays for what is not given."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.pictures import is_picture, read_picture
from onnxnorm.cli.tensor_files import ShapeOption, listed, read_npy, read_npz, shapes_by_name, split_name
from onnxnorm.errors import RunError, naming
from onnxnorm.runtime.inputs import Feeds, InputSpec, input_specs
from onnxnorm.runtime.random_samples import random_samples

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

__all__ = ["candidate_feeds", "samples_for"]

_TEXT = "OUS"

# Of the samples that `random_samples` makes the one with a batch of one and pictures' values, uniform in [0, 1).
_SAMPLE = 1
_COMPLETED = 2


def candidate_feeds(arguments: argparse.Namespace, specs: Sequence[InputSpec]) -> Iterator[Feeds]:
    """Yield ways to fill a model's inputs, the preferred first: they differ in the sizes that nobody has fixed.

    Args:
        arguments: of the command line: input, inputs, shape and seed.
        specs: the model's inputs.

    Raises:
        OnnxNormError: an array or a shape is for no input, is given twice, or does not fit.
    """
    by_name = {spec.name: spec for spec in specs}
    arrays = _given_arrays(arguments.input, arguments.inputs, list(by_name), partial(_read, arguments, by_name))
    given = {name: by_name[name].check(array) for name, array in arrays.items()}
    shapes = shapes_by_name(arguments.shape, list(by_name))
    for name in given:
        if name in shapes:
            raise UsageError(f"input {name!r} has both an array and a --shape")
    # Texts cannot be made up, nor need they be where they are given.
    inventable = [spec for spec in specs if not (spec.name in given and spec.dtype.kind in _TEXT)]
    names = {spec.name for spec in inventable}
    shapes |= {name: array.shape for name, array in given.items() if name in names}
    for draw in random_samples(inventable, shapes, seed=arguments.seed, index=_SAMPLE):
        yield {**draw.feeds, **given}


def samples_for(
    model: str,
    arrays: Sequence[str],
    archive: str | None,
    options: Sequence[ShapeOption],
    session_options: onnxruntime.SessionOptions | None = None,
) -> tuple[list[Feeds] | None, dict[str, tuple[int, ...]] | None]:
    """Return the inputs and the shapes for `onnxnorm.verify`.

    Where arrays are given for some of the inputs alone, the others are random, in several samples.

    Args:
        model: the path of the original.
        arrays: `name:file.npy` as given.
        archive: the path of a .npz file, or None.
        options: the shapes given.
        session_options: the options of onnxruntime's sessions.

    Raises:
        OnnxNormError: an array or a shape is for no input, is given twice, or does not fit.
    """
    if not arrays and archive is None and not options:
        return None, None
    import onnx_ir as ir

    from onnxnorm.io.load_and_save import load

    with naming(model):
        specs = input_specs(ir.to_proto(load(model)))
        names = [spec.name for spec in specs]
        given = _given_arrays(arrays, archive, names)
        shapes = shapes_by_name(options, names)
        if not given:
            next(random_samples(specs, shapes, seed=0, index=0))
            return None, shapes
        known = {spec.name: spec.check(given[spec.name]) for spec in specs if spec.name in given}
        if len(given) == len(names):
            if shapes:
                raise UsageError(f"input {next(iter(shapes))!r} has both an array and a --shape")
            return [known], None
        return [_completed(model, specs, known, shapes, index, session_options) for index in range(_COMPLETED)], None


def _completed(
    model: str,
    specs: Sequence[InputSpec],
    given: Feeds,
    shapes: Mapping[str, tuple[int, ...]],
    index: int,
    session_options: onnxruntime.SessionOptions | None,
) -> Feeds:
    """Return the arrays given and random ones for the other inputs, with which the model runs if there are such."""
    from onnxnorm.runtime.session import session
    from onnxnorm.runtime.turns import first_accepted

    for name in given:
        if name in shapes:
            raise UsageError(f"input {name!r} has both an array and a --shape")
    known = {spec.name: given[spec.name].shape for spec in specs if spec.name in given and spec.dtype.kind not in _TEXT}
    invented = [spec for spec in specs if spec.name in known or spec.name not in given]
    draws = [{**draw.feeds, **given} for draw in random_samples(invented, {**shapes, **known}, seed=0, index=index)]
    try:
        return first_accepted([(model, session(model, sess_options=session_options))], draws).feeds
    except RunError:
        # Whoever uses them says what is wrong.
        return draws[0]


def _read(arguments: argparse.Namespace, by_name: Mapping[str, InputSpec], name: str, path: str) -> np.ndarray:
    """Read an array, or a picture where the command line says how to prepare it."""
    preset = getattr(arguments, "preprocess", None)
    return read_npy(path) if preset is None or not is_picture(path) else read_picture(path, by_name[name], preset)


def _given_arrays(
    arrays: Sequence[str],
    archive: str | None,
    names: Sequence[str],
    read: Callable[[str, str], np.ndarray] = lambda name, path: read_npy(path),
) -> Feeds:
    given = read_npz(archive) if archive is not None else {}
    for name in given:
        if name not in names:
            raise UsageError(f"{archive}: the model has no input {name!r}, its inputs are {listed(names)}")
    for text in arrays:
        name, path = split_name(text, names)
        if name in given:
            raise UsageError(f"input {name!r} is given twice")
        given[name] = read(name, path)
    return {name: np.asarray(array) for name, array in given.items()}
