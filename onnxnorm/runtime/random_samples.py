"""Draws seeded random inputs for a model, with every free dimension resolved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxnorm.errors import OnnxNormError
from onnxnorm.process.memory import available_memory
from onnxnorm.runtime.free_dimensions import groupings_of, size_of, sizes_of, symbols_of
from onnxnorm.runtime.inputs import Feeds, InputSpec

__all__ = ["Draw", "Ways", "random_samples"]

_OTHER_SIZES = (64, 128, 224, 256, 16, 8, 4, 2, 1, 299, 512)
"""Sizes to try in this order where the original refuses those above.

Strides and fixed classifiers ask for multiples.
"""

_LEAST_ASKED = 10**7
# Numbers are made up in float64 and as long integers, and each run makes something of every sample.
_BYTES_PER_ELEMENT = 64


@dataclass(frozen=True)
class Draw:
    """Feeds for one sample.

    Attributes:
        is_guess: whether they assume something that nothing in the model says, so that a refusal is no news.
        refused: why they cannot be completed, or None.
    """

    feeds: Feeds
    is_guess: bool = False
    refused: str | None = None


@dataclass(frozen=True)
class Ways:
    """The ways to draw one sample, the preferred ones first.

    Attributes:
        optional: whether the sample is left out where the original refuses all of them.
    """

    draws: Callable[[], Iterable[Draw]]
    optional: bool = False

    @classmethod
    def only(cls, feeds: Feeds) -> Ways:
        """Return these feeds as the one way."""
        return cls(lambda: [Draw(feeds)])


def random_samples(
    specs: Sequence[InputSpec],
    shapes: Mapping[str, Sequence[int]],
    *,
    seed: int,
    index: int,
) -> Iterator[Draw]:
    """Yield ways to fill the inputs for sample number `index`, the preferred one first.

    The first resolves the free dimensions to small sizes of their own, the same for the same name; the later ones try
    other sizes and tamer integers. Which dimensions without a name are alike is guessed, in each sample otherwise. Real
    inputs are standard normal, in every third sample uniform in [0, 1), as pictures are.

    Raises:
        OnnxNormError: `shapes` names no input, or contradicts a fixed dimension.
    """
    by_name = {spec.name: spec for spec in specs}
    for name, shape in shapes.items():
        if name not in by_name:
            raise OnnxNormError(f"a shape is given for {name!r}; the model takes {list(by_name)}")
        _check_room(by_name[name], tuple(shape))
        by_name[name].check(np.empty(tuple(shape), by_name[name].dtype))
    symbols = symbols_of(specs)
    given: dict[str, int] = {}
    for name, shape in shapes.items():
        given.update({d: n for d, n in zip(by_name[name].dims or (), shape, strict=False) if isinstance(d, str)})
    groupings = groupings_of(specs)
    first = index % len(groupings)
    groupings = groupings[first:] + groupings[:first]
    plans = [(sizes_of(symbols, grouping, given, index), len(groupings) > 1) for grouping in groupings]
    if any(symbol not in given for symbol in symbols):
        for size in _OTHER_SIZES:
            plans += [(sizes_of(symbols, grouping, given, index, size), False) for grouping in groupings]
        plans.append(({**dict.fromkeys(symbols, 1), **given}, False))
    for bound in (None, 2, 1) if any(spec.dtype.kind in "iu" for spec in specs) else (None,):
        for plan, is_guess in plans:
            rng = np.random.default_rng([seed, index])
            feeds = {spec.name: _fill(spec, _shape(spec, shapes, plan), rng, index, bound) for spec in specs}
            yield Draw(feeds, is_guess)


def _shape(spec: InputSpec, shapes: Mapping[str, Sequence[int]], sizes: Mapping[str, int]) -> tuple[int, ...]:
    if spec.name in shapes:
        return tuple(shapes[spec.name])
    if spec.dims is None:
        raise OnnxNormError(
            f"input {spec.name!r} has no rank in the model; give its shape (--shape, shapes=) or inputs"
        )
    return tuple(size_of(dim, sizes) for dim in spec.dims)


def _check_room(spec: InputSpec, shape: tuple[int, ...]) -> None:
    # To NumPy an array is too large even if another of its extents is 0.
    count, available = math.prod(extent for extent in shape if extent), available_memory()
    if count >= 2**59 or (count > _LEAST_ASKED and available is not None and _BYTES_PER_ELEMENT * count > available):
        raise OnnxNormError(
            f"input {spec.name!r} of shape {list(shape)} has more elements than there is memory; give a smaller shape, "
            "or inputs"
        )


def _fill(
    spec: InputSpec, shape: tuple[int, ...], rng: np.random.Generator, index: int, bound: int | None
) -> npt.NDArray[Any]:
    _check_room(spec, shape)
    kind = spec.dtype.kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if kind in "iu":
        return rng.integers(0, min(spec.bound, bound or spec.bound), shape).astype(spec.dtype)
    if kind in "OUS":
        raise OnnxNormError(f"input {spec.name!r} is text, which cannot be made up; give inputs")
    values = rng.random(shape) if index % 3 == 1 else rng.standard_normal(shape)
    return values.astype(spec.dtype)
