"""Runs an exported model as it stands: onnxruntime with its optimizations off, bfloat16 at the borders included."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
import onnxruntime  # type: ignore[import-untyped]

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.file_map import place_of
from onnxnorm.model.held import held_arrays, materialized
from onnxnorm.model.protobuf import graphs_in, read_names
from onnxnorm.model.source import name_of
from onnxnorm.runtime.session import is_missing_kernel, session

__all__ = ["LEVELS", "NO_SPINNING", "NoKernelError", "PlainSession", "open_session", "refusal_of"]

_Array = npt.NDArray[Any]


class NoKernelError(OnnxNormError):
    """Raised where onnxruntime has no kernel for one of the nodes, which is valid, and its types."""


class PlainSession:
    """A session of onnxruntime with its optimizations off.

    NumPy has no bfloat16 that onnxruntime takes: such values cross in float32.

    Raises:
        OnnxNormError: onnxruntime does not run the model.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._feeds: list[tuple[str, type | None]] = [
            (value.name, np.float32 if _is_bfloat16(value) else None) for value in model.graph.input
        ]
        self._narrow = [_is_bfloat16(value) for value in model.graph.output]
        if any(dtype for _, dtype in self._feeds) or any(self._narrow):
            model, self._feeds = _with_wide_ends(model)
        self._session = session(model, portable=True, sess_options=_plain_options())

    def run(self, inputs: Sequence[_Array]) -> list[_Array]:
        feeds = {
            name: value if dtype is None else value.astype(dtype)
            for (name, dtype), value in zip(self._feeds, inputs, strict=True)
        }
        outputs = self._session.run(None, feeds)
        return [
            value.astype(ml_dtypes.bfloat16) if narrow else value
            for value, narrow in zip(outputs, self._narrow, strict=True)
        ]


def _is_bfloat16(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16)


def _with_wide_ends(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[tuple[str, type | None]]]:
    """Return the model between casts, its bfloat16 inputs and outputs in float32; and what it takes for each input."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph, feeds, first = wide.graph, list[tuple[str, type | None]](), 0
    for value in graph.input:
        if not _is_bfloat16(value):
            feeds.append((value.name, None))
            continue
        name = value.name
        value.name, value.type.tensor_type.elem_type = f"{name}/float", onnx.TensorProto.FLOAT
        graph.node.insert(first, onnx.helper.make_node("Cast", [value.name], [name], to=onnx.TensorProto.BFLOAT16))
        first += 1
        feeds.append((value.name, np.float32))
    for value in graph.output:
        if _is_bfloat16(value):
            name = value.name
            value.name, value.type.tensor_type.elem_type = f"{name}/float", onnx.TensorProto.FLOAT
            graph.node.append(onnx.helper.make_node("Cast", [name], [value.name], to=onnx.TensorProto.FLOAT))
    return wide, feeds


def _plain_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return options


LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "on": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
"""The levels of onnxruntime's own optimizations."""


_NO_INTEGER_KERNELS = "session.disable_quant_qdq"
# Threads that wait for work by turning round take time from all else that runs.
NO_SPINNING = "session.intra_op.allow_spinning"
_FOLDER = "session.model_external_initializers_file_folder_path"


def open_session(model: onnx.ModelProto, level: str, options: onnxruntime.SessionOptions | None = None) -> Any:
    """Open a session with onnxruntime's own optimizations "off" or "on".

    Args:
        model: the model.
        level: of the optimizations.
        options: the caller's, such as with libraries of custom operators; they are given back as they were, save for
            `session.disable_quant_qdq`, which is set where it is not.

    Raises:
        OnnxNormError: onnxruntime refuses the model; a `NoKernelError` where a kernel is all that it lacks.
    """
    weights: list[_Array] = []
    if options is None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry(NO_SPINNING, "0")
        model, weights = _with_weights(model, options)
    else:
        # Weights that were once given to options cannot be taken back.
        model = materialized(model)
    model = _without_left_out_ends(model)
    before = options.graph_optimization_level, options.log_severity_level
    options.graph_optimization_level, options.log_severity_level = LEVELS[level], 4
    # Kernels for integers that stand in for quantized patterns round once more: they are not what the model says.
    if not _has_entry(options, _NO_INTEGER_KERNELS):
        options.add_session_config_entry(_NO_INTEGER_KERNELS, "1")
    try:
        opened = session(model, sess_options=options, providers=["CPUExecutionProvider"])
        # onnxruntime does not say whether it copies them, and holds nothing of NumPy alive.
        opened._onnxnorm_weights = weights
        return opened
    except OnnxNormError as error:
        # Whoever asked knows which model it is, by its file.
        raise refusal_of(error, name_of(model)) from error
    finally:
        options.graph_optimization_level, options.log_severity_level = before


def _with_weights(model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> tuple[onnx.ModelProto, list[_Array]]:
    """Give onnxruntime the weights that are held: it maps those in files itself, which takes no copy.

    It looks for files in one folder; what lies elsewhere, or in no file, goes into the options.

    Returns:
        the model to open, and arrays that must live as long as its session.
    """
    # onnxruntime drops weights that nothing reads before it asks for them.
    read = read_names(model)
    held = {name: array for name, array in held_arrays(model).items() if name in read}
    places = {name: place for name, array in held.items() if (place := place_of(array)) is not None}
    if places:
        sizes: dict[Path, int] = {}
        for name, (path, _) in places.items():
            sizes[path.parent] = sizes.get(path.parent, 0) + held[name].nbytes
        folder = max(sizes, key=lambda each: sizes[each])
        options.add_session_config_entry(_FOLDER, os.fspath(folder))
        light, model = model, onnx.ModelProto()
        model.CopyFrom(light)
        for tensor in model.graph.initializer:
            if tensor.name in places and places[tensor.name][0].parent == folder:
                path, offset = places[tensor.name]
                del tensor.external_data[:]
                entries = {"location": path.name, "offset": offset, "length": held.pop(tensor.name).nbytes}
                for key, value in entries.items():
                    tensor.external_data.add(key=key, value=str(value))
    arrays = [_in_memory(array) for array in held.values()]
    if arrays:
        options.add_external_initializers(list(held), list(map(_ort_value, arrays)))
    return model, arrays


def _ort_value(array: _Array) -> onnxruntime.OrtValue:
    """Return the array as a value of onnxruntime, which knows no bfloat16 of NumPy and takes its bits for it."""
    if array.dtype == ml_dtypes.bfloat16:
        bits = array.view(np.uint16)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _without_left_out_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with no outputs that are left out behind the last one that is given.

    The BatchNormalization of old opsets in onnxruntime writes to as many outputs as are listed, named or not, and ends
    the process.
    """
    if all(node.output[-1:] != [""] for graph in graphs_in(model) for node in graph.node):
        return model
    short = onnx.ModelProto()
    short.CopyFrom(model)
    for graph in graphs_in(short):
        for node in graph.node:
            while node.output[-1:] == [""]:
                del node.output[-1]
    return short


def _in_memory(array: _Array) -> _Array:
    """Return the array as onnxruntime takes it: in order, of the machine's byte order, at a multiple of its items."""
    return np.require(array, array.dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"])


def _has_entry(options: onnxruntime.SessionOptions, key: str) -> bool:
    try:
        return bool(options.get_session_config_entry(key))
    except Exception:
        # What is raised for an entry that is not there differs from version to version.
        return False


def refusal_of(error: Exception, name: str = "") -> OnnxNormError:
    """Return an error of onnxruntime as one of our own, in one short line and without the name of the model."""
    text = " ".join(str(error).split())
    if is_missing_kernel(text):
        return NoKernelError(f"no kernel for one of the nodes and its types: {text[:300]}")
    return OnnxNormError(text[:300].removeprefix(f"{name}: "))
