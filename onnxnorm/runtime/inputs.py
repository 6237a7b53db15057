"""Makes inputs for a model: given ones checked, or seeded random ones with every free dimension resolved."""

from __future__ import annotations

import ast
import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.process.memory import available_memory

__all__ = ["Draw", "Feeds", "GivenInputs", "InputSpec", "Ways", "given_samples", "input_specs", "random_samples"]

Feeds: TypeAlias = dict[str, npt.NDArray[Any]]
GivenInputs: TypeAlias = "Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | os.PathLike[str]"

_BATCH_SIZES = (2, 1, 3)
_SEQUENCE_SIZES = (7, 16, 5)
_SPATIAL_SIZES = (32, 41, 48)
_OTHER_SIZES = (64, 128, 224, 256, 16, 8, 4, 2, 1, 299, 512)
"""Sizes to try in this order where the original refuses those above.

Strides and fixed classifiers ask for multiples.
"""

_SMALL_INTEGERS = 4
_LEAST_ASKED = 10**7
# Numbers are made up in float64 and as long integers, and each run makes something of every sample.
_BYTES_PER_ELEMENT = 64
_MOVES = frozenset({"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


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


@dataclass(frozen=True)
class InputSpec:
    """The description of one input: its type and its dimensions.

    Each dimension is a size or the name of a free one; None: the rank is unknown.
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | str, ...] | None
    bound: int
    """The bound below which random integers stay: the rows of the table that the input indexes, or a few."""

    def check(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array as the model takes it.

        Raises:
            OnnxNormError: it has the wrong type, rank or size.
        """
        kinds = {"f": "f", "i": "iu", "u": "iu", "b": "b"}
        fits = array.dtype == self.dtype or array.dtype.kind in kinds.get(self.dtype.kind, "OUS")
        if not fits and not (self.dtype.kind == "f" and array.dtype.kind in "iu"):
            raise OnnxNormError(f"input {self.name!r} takes {self.dtype.name}, not {array.dtype.name}")
        converted = array.astype(self.dtype)
        if self.dtype.kind in "iu" and not np.array_equal(converted, array):
            raise OnnxNormError(f"input {self.name!r} takes {self.dtype.name}, which cannot hold all of its values")
        wanted = self.dims
        if wanted is not None and (
            len(wanted) != array.ndim
            or any(isinstance(w, int) and w != n for w, n in zip(wanted, array.shape, strict=True))
        ):
            shape = "(" + ", ".join(map(str, wanted)) + ")"
            raise OnnxNormError(f"input {self.name!r} has the shape {shape}; an array of shape {array.shape} was given")
        return np.ascontiguousarray(converted)


def input_specs(model: onnx.ModelProto, *, takes_bfloat16: bool = False) -> tuple[InputSpec, ...]:
    """Return the inputs that a caller must give, in order.

    Args:
        model: the model.
        takes_bfloat16: whether inputs of bfloat16, which onnxruntime cannot be fed from Python, will do.

    Raises:
        OnnxNormError: an input is no tensor, or of a type that onnxruntime cannot be fed.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    specs = []
    for value in model.graph.input:
        if value.name in constants:
            continue
        if not value.type.HasField("tensor_type"):
            raise OnnxNormError(f"input {value.name!r} is no tensor: verify takes models whose inputs are tensors")
        tensor = value.type.tensor_type
        try:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        except KeyError:
            raise OnnxNormError(
                f"input {value.name!r} has no element type, or none that there is; export it again"
            ) from None
        is_bfloat16 = takes_bfloat16 and dtype.name == "bfloat16"
        if not is_bfloat16 and (dtype.kind == "V" or dtype.name.startswith(("bfloat", "float8", "float4"))):
            raise OnnxNormError(f"input {value.name!r} is {dtype.name}, which onnxruntime cannot be fed from Python")
        dims: tuple[int | str, ...] | None = None
        if tensor.HasField("shape"):
            dims = tuple(
                d.dim_value
                if d.HasField("dim_value") and d.dim_value >= 0
                else d.dim_param or _unnamed(value.name, axis)
                for axis, d in enumerate(tensor.shape.dim)
            )
        bound = _bound(model.graph, value.name) if dtype.kind in "iu" else 0
        specs.append(InputSpec(value.name, dtype, dims, bound))
    return tuple(specs)


def given_samples(inputs: GivenInputs, specs: Sequence[InputSpec], overridable: Sequence[str]) -> list[Feeds]:
    """Return the samples that a caller gave: one mapping, several, or a .npz file.

    Raises:
        OnnxNormError: the file cannot be read, an input is missing or unknown, or an array does not fit.
    """
    if isinstance(inputs, (str, os.PathLike)):
        inputs = _read_npz(Path(inputs))
    samples = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    if not samples:
        raise OnnxNormError("inputs holds no sample; give at least one, or None for random ones")
    by_name = {spec.name: spec for spec in specs}
    checked = []
    for sample in samples:
        if not isinstance(sample, Mapping):
            raise OnnxNormError(f"each sample of inputs maps names to arrays; a {type(sample).__name__} does not")
        missing = [name for name in by_name if name not in sample]
        unknown = [name for name in sample if name not in by_name and name not in overridable]
        if missing or unknown:
            problem = f"missing {missing}" if missing else f"unknown {unknown}"
            raise OnnxNormError(f"the inputs given do not fit: {problem}; the model takes {list(by_name)}")
        arrays = {name: np.asarray(value) for name, value in sample.items()}
        checked.append({n: by_name[n].check(array) if n in by_name else array for n, array in arrays.items()})
    return checked


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
    symbols = _symbols(specs)
    given: dict[str, int] = {}
    for name, shape in shapes.items():
        given.update({d: n for d, n in zip(by_name[name].dims or (), shape, strict=False) if isinstance(d, str)})
    groupings = _groupings(specs)
    first = index % len(groupings)
    groupings = groupings[first:] + groupings[:first]
    plans = [(_sizes(symbols, grouping, given, index), len(groupings) > 1) for grouping in groupings]
    if any(symbol not in given for symbol in symbols):
        for size in _OTHER_SIZES:
            plans += [(_sizes(symbols, grouping, given, index, size), False) for grouping in groupings]
        plans.append(({**dict.fromkeys(symbols, 1), **given}, False))
    for bound in (None, 2, 1) if any(spec.dtype.kind in "iu" for spec in specs) else (None,):
        for plan, is_guess in plans:
            rng = np.random.default_rng([seed, index])
            feeds = {spec.name: _fill(spec, _shape(spec, shapes, plan), rng, index, bound) for spec in specs}
            yield Draw(feeds, is_guess)


def _unnamed(name: str, axis: int) -> str:
    return f"axis {axis} of {name}"


def _groupings(specs: Sequence[InputSpec]) -> list[dict[str, str]]:
    """List ways to take dimensions without a name for the same: each maps them to what they are called together.

    Alike are those at the same axis, or those that come first, second... among the axes of their inputs, or none.
    """
    by_axis, by_order, apart = {}, {}, {}
    for spec in specs:
        free = [axis for axis, dim in enumerate(spec.dims or ()) if dim == _unnamed(spec.name, axis)]
        for order, axis in enumerate(free):
            symbol = _unnamed(spec.name, axis)
            by_axis[symbol], by_order[symbol], apart[symbol] = f"axis {axis}", f"free {order}", symbol
    found: list[dict[str, str]] = []
    for grouping in (by_axis, by_order, apart):
        members = [{s for s, g in grouping.items() if g == group} for group in grouping.values()]
        if all(members != [{s for s, g in each.items() if g == group} for group in each.values()] for each in found):
            found.append(grouping)
    return found


def _sizes(
    symbols: Mapping[str, tuple[int, ...]],
    grouping: Mapping[str, str],
    given: Mapping[str, int],
    index: int,
    size: int | None = None,
) -> dict[str, int]:
    """Return a size for each free dimension; `size` is that of all but batches."""
    groups: dict[str, list[str]] = {}
    for symbol in symbols:
        groups.setdefault(grouping.get(symbol, symbol), []).append(symbol)
    sizes: dict[str, int] = {}
    is_apart = len(grouping) > 1 and all(group == symbol for symbol, group in grouping.items())
    for place, members in enumerate(groups.values()):
        known = [given[symbol] for symbol in members if symbol in given]
        kinds = [symbols[symbol] for symbol in members]
        kind = _BATCH_SIZES if _BATCH_SIZES in kinds else kinds[0]
        chosen = kind[index % len(kind)] + (8 * place if kind is _SPATIAL_SIZES else place if is_apart else 0)
        if size is not None and kind is not _BATCH_SIZES:
            chosen = size
        sizes.update(dict.fromkeys(members, known[0] if known else chosen))
    return {**sizes, **given}


def _symbols(specs: Sequence[InputSpec]) -> dict[str, tuple[int, ...]]:
    """Return the names of the free dimensions with the sizes that suit their place."""
    symbols: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        for axis, dim in enumerate(spec.dims or ()):
            for name in _names(dim):
                if axis == 0:
                    symbols[name] = _BATCH_SIZES
                else:
                    spatial = axis >= 2 and len(spec.dims or ()) >= 4
                    symbols.setdefault(name, _SPATIAL_SIZES if spatial else _SEQUENCE_SIZES)
    return symbols


def _names(dim: int | str) -> list[str]:
    if isinstance(dim, int):
        return []
    try:
        tree = ast.parse(dim, mode="eval")
    except SyntaxError:
        return [dim]
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))) or [dim]


_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def _size(dim: int | str, sizes: Mapping[str, int]) -> int:
    """Return a dimension's size; exporters write expressions such as `2*s0 + 1` into the name."""
    if isinstance(dim, int):
        return dim
    if dim in sizes:
        return sizes[dim]

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name):
            return sizes[node.id]
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.left), value(node.right))
        raise OnnxNormError(f"the dimension {dim!r} is beyond what can be resolved; give shapes or inputs")

    return max(value(ast.parse(dim, mode="eval").body), 0)


def _shape(spec: InputSpec, shapes: Mapping[str, Sequence[int]], sizes: Mapping[str, int]) -> tuple[int, ...]:
    if spec.name in shapes:
        return tuple(shapes[spec.name])
    if spec.dims is None:
        raise OnnxNormError(f"input {spec.name!r} has no rank in the model; give its shape or inputs")
    return tuple(_size(dim, sizes) for dim in spec.dims)


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


def _bound(graph: onnx.GraphProto, name: str) -> int:
    """Return one more than the largest legal integer of an input, as far as the tables that it indexes tell."""
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    limits = [2 if "mask" in name.lower() else _SMALL_INTEGERS]
    reached = {name}
    for node in graph.node:
        if node.op_type in _MOVES and node.input[0] in reached:
            reached.update(node.output)
        elif node.op_type == "Gather" and node.input[1] in reached and node.input[0] in rows:
            limits.append(rows[node.input[0]])
    return max(1, min(limits) if len(limits) == 1 else min(limits[1:]))


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, Mapping):
                raise ValueError("a single array has no name; save it with numpy.savez(path, name=array)")
            return {name: archive[name] for name in archive}
    except OSError as error:
        raise OnnxNormError(f"{path}: cannot read the inputs: {error.strerror or error}") from error
    except Exception as error:
        raise OnnxNormError(f"{path}: these are no inputs that numpy.savez wrote: {error}") from error
