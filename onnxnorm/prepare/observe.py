"""Observes how large the values of a model become, by running it on samples with every value as an output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.runtime.inputs import given_samples, input_specs
from onnxnorm.runtime.random_samples import random_samples
from onnxnorm.runtime.unoptimized import open_session
from onnxnorm.verification.runs import exposing

if TYPE_CHECKING:
    from onnxnorm.runtime.inputs import GivenInputs

__all__ = ["Observed", "Samples", "observe", "samples_of"]

_Array: TypeAlias = npt.NDArray[np.float64]
Samples: TypeAlias = "Sequence[dict[str, npt.NDArray[Any]]]"

_RANDOM_SAMPLES = 3


@dataclass(eq=False)
class Observed:
    """The largest magnitudes of a value, over all samples.

    Attributes:
        along: for each axis the largest magnitude at each index; None where samples differ in that extent.
        largest: the largest magnitude of all that are finite.
        highest: the largest number of all that are finite.
        mean: for each axis the mean at each index, in the last sample's shape; None likewise.
        rank: of the value.
    """

    along: list[_Array | None]
    largest: float
    highest: float
    mean: list[_Array | None]
    samples: int = 1

    @property
    def rank(self) -> int:
        return len(self.along)

    def add(self, other: Observed) -> None:
        """Take in what another sample has shown."""
        if other.rank != self.rank:
            self.along = self.mean = [None] * self.rank
        else:
            pairs = list(zip(self.along, other.along, strict=True))
            fits = [a is not None and b is not None and a.shape == b.shape for a, b in pairs]
            self.along = [np.maximum(a, b) if ok else None for ok, (a, b) in zip(fits, pairs, strict=True)]  # type: ignore[arg-type]
            means = zip(fits, self.mean, other.mean, strict=True)
            total = self.samples + other.samples
            self.mean = [
                (a * self.samples + b * other.samples) / total if ok and a is not None and b is not None else None
                for ok, a, b in means
            ]
        self.largest, self.highest = max(self.largest, other.largest), max(self.highest, other.highest)
        self.samples += other.samples


def samples_of(message: onnx.ModelProto, inputs: GivenInputs | None) -> Samples:
    """Return the samples that a caller gave, or a few random ones on which the model runs.

    Raises:
        OnnxNormError: what was given does not fit the model, or it runs on no sample.
    """
    specs = input_specs(message)
    if inputs is not None:
        return given_samples(inputs, specs, [tensor.name for tensor in message.graph.initializer])
    session = open_session(message, "off")
    found, refused = [], "no sample"
    for index in range(_RANDOM_SAMPLES):
        for draw in random_samples(specs, {}, seed=0, index=index):
            try:
                session.run(None, draw.feeds)
            except Exception as error:
                refused = str(error)
                continue
            found.append(dict(draw.feeds))
            break
    if not found:
        raise OnnxNormError(f"the model runs on no random sample, so give it some: {refused[:200]}")
    return found


def observe(message: onnx.ModelProto, samples: Samples, names: Iterable[str]) -> dict[str, Observed]:
    """Return what the values of these names come to, by their names; values that are not real are left out."""
    wanted = list(dict.fromkeys(names))
    shown = exposing(message, wanted)
    session = open_session(shown, "off")
    there = {output.name for output in session.get_outputs()}
    wanted = [name for name in wanted if name in there]
    found: dict[str, Observed] = {}
    for feeds in samples:
        for name, array in zip(wanted, session.run(wanted, dict(feeds)), strict=True):
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.size:
                continue
            seen = _observed(array)
            if name in found:
                found[name].add(seen)
            else:
                found[name] = seen
    for feeds in samples:
        for name, array in feeds.items():
            if array.dtype.kind == "f" and array.size:
                found.setdefault(name, _observed(array)).add(_observed(array))
    return found


def _observed(array: npt.NDArray[Any]) -> Observed:
    wide = array.astype(np.float64)
    size = np.abs(wide)
    others = [tuple(each for each in range(array.ndim) if each != axis) for axis in range(array.ndim)]
    with np.errstate(all="ignore"):
        along: list[_Array | None] = [np.asarray(size.max(axis=rest)) for rest in others]
        mean: list[_Array | None] = [np.asarray(wide.mean(axis=rest)) for rest in others]
    finite = wide[np.isfinite(wide)]
    return Observed(along, float(np.abs(finite).max(initial=0.0)), float(finite.max(initial=-np.inf)), mean)
