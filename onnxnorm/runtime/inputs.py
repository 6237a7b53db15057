"""Says what the inputs of a model are, and checks those that a caller gives."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from onnxnorm.errors import OnnxNormError

__all__ = ["Feeds", "GivenInputs", "InputSpec", "given_samples", "input_specs", "unnamed"]

Feeds: TypeAlias = dict[str, npt.NDArray[Any]]
GivenInputs: TypeAlias = "Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | os.PathLike[str]"

_SMALL_INTEGERS = 4
# What masks of attentions add to the scores of elements to be left out, or less.
_VAST = -1e4
_MOVES = frozenset({"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


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
        return np.asarray(converted, order="C")


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
            raise OnnxNormError(f"input {value.name!r} is no tensor, and none but tensors can be given to a model here")
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
                else d.dim_param or unnamed(value.name, axis)
                for axis, d in enumerate(tensor.shape.dim)
            )
        bound = _bound(model.graph, value.name) if dtype.kind in "iu" else 0
        specs.append(InputSpec(value.name, dtype, dims, bound))
    return tuple(specs)


def unnamed(name: str, axis: int) -> str:
    """Return what a free dimension is called that the model gives no name."""
    return f"axis {axis} of {name}"


def given_samples(inputs: GivenInputs, specs: Sequence[InputSpec], overridable: Sequence[str]) -> list[Feeds]:
    """Return the samples that a caller gave: one mapping, several, or a .npz file.

    Raises:
        OnnxNormError: the file cannot be read, an input is missing or unknown, or an array does not fit.
    """
    if isinstance(inputs, (str, os.PathLike)):
        inputs = _read_npz(Path(inputs))
    if not isinstance(inputs, Iterable):
        raise OnnxNormError(f"inputs is a dictionary of arrays, a list of such or a .npz file, not {inputs!r}")
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
            faults = {"missing": missing, "unknown": unknown}
            problem = ", ".join(f"{what} {names}" for what, names in faults.items() if names)
            raise OnnxNormError(f"the inputs given do not fit: {problem}; the model takes {list(by_name)}")
        arrays = {name: np.asarray(value) for name, value in sample.items()}
        checked.append({n: by_name[n].check(array) if n in by_name else array for n, array in arrays.items()})
    return checked


def _bound(graph: onnx.GraphProto, name: str) -> int:
    """Return one more than the largest legal integer of an input, as far as the tables that it indexes tell."""
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    limits = [2 if "mask" in name.lower() else _SMALL_INTEGERS]
    reached, left_out = {name}, set[str]()
    for node in graph.node:
        if node.op_type in _MOVES and node.input[0] in (*reached, *left_out):
            (reached if node.input[0] in reached else left_out).update(node.output)
        elif node.op_type == "Sub" and node.input[1] in reached and _number(graph, node.input[0]) == 1.0:
            left_out.update(node.output)
        elif node.op_type == "Mul" and not left_out.isdisjoint(node.input):
            # (1 - mask) * -1e9 before a softmax: the input is 0 or 1.
            if any((_number(graph, each) or 0.0) <= _VAST for each in node.input):
                limits[0] = 2
        elif node.op_type == "Gather" and node.input[1] in reached and node.input[0] in rows:
            limits.append(rows[node.input[0]])
    return max(1, min(limits) if len(limits) == 1 else min(limits[1:]))


def _number(graph: onnx.GraphProto, name: str) -> float | None:
    """Return the number that a constant of one element holds; None for anything else."""
    held = [tensor for tensor in graph.initializer if tensor.name == name]
    held += [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant" and name in node.output
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    if len(held) != 1 or math.prod(held[0].dims) != 1 or held[0].data_location == onnx.TensorProto.EXTERNAL:
        return None
    return float(onnx.numpy_helper.to_array(held[0]).reshape(()))


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
