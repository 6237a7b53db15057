"""What a session is fed: the arrays given on the command line, and random ones for the inputs left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from onnxnorm._cli.outcome import UsageError

__all__ = ["SessionInput", "complete_feeds"]


class SessionInput(Protocol):
    """What onnxruntime tells of an input (its `NodeArg`)."""

    name: str
    type: str
    shape: list[int | str | None]


Array = np.ndarray[Any, np.dtype[Any]]

_DTYPES: Mapping[str, str] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def complete_feeds(
    inputs: Sequence[SessionInput],
    given: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    seed: int,
) -> dict[str, Array]:
    """Adds random arrays for the inputs that are not given.

    Args:
        inputs: what the session takes.
        given: arrays by input name.
        shapes: shapes of random inputs by name; other open dimensions are 1, those with the same symbolic name alike.
        seed: floating-point numbers are standard normal, integers 0 or 1.

    Raises:
        UsageError: an array or shape that does not fit its input, or an input whose values cannot be invented.
    """
    known: dict[str, int] = {}
    for entry in inputs:
        shape = given[entry.name].shape if entry.name in given else shapes.get(entry.name)
        if shape is not None:
            _check_shape(entry, shape, known)
    generator = np.random.default_rng(seed)
    return {entry.name: _feed(entry, given, shapes, known, generator) for entry in inputs}


def _check_shape(entry: SessionInput, shape: tuple[int, ...], known: dict[str, int]) -> None:
    expected = entry.shape
    fits = len(shape) == len(expected) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(expected, shape, strict=True)
    )
    if not fits:
        raise UsageError(f"input {entry.name!r} has the shape {_shown(expected)}, not {_shown(shape)}")
    for dim, size in zip(expected, shape, strict=True):
        if isinstance(dim, str) and known.setdefault(dim, size) != size:
            raise UsageError(f"dimension {dim!r} is {known[dim]} in one input and {size} in {entry.name!r}")


def _feed(
    entry: SessionInput,
    given: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    known: Mapping[str, int],
    generator: np.random.Generator,
) -> Array:
    dtype = _DTYPES.get(entry.type)
    if entry.name in given:
        array = given[entry.name]
        if dtype is not None and array.dtype != dtype:
            if not np.can_cast(array.dtype, dtype, "same_kind"):
                raise UsageError(f"input {entry.name!r} takes {dtype}, the array given is {array.dtype}")
            array = array.astype(dtype)
        return array
    if dtype is None:
        raise UsageError(f"input {entry.name!r} is a {entry.type}: give it with --input {entry.name}:file.npy")
    opened = tuple(dim if isinstance(dim, int) else known.get(dim, 1) if dim else 1 for dim in entry.shape)
    shape = shapes.get(entry.name, opened)
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def _shown(shape: Sequence[object]) -> str:
    return ",".join("?" if dim is None else str(dim) for dim in shape) or "of a scalar"
