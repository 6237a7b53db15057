"""Models in and out: a path, a `ModelProto` or an `onnx_ir.Model` in; whole files, or none, out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias, cast

import onnx
import onnx_ir as ir
from onnx_ir import external_data

from onnxnorm._errors import OnnxNormError

__all__ = ["ModelLike", "load", "name_of", "save", "to_proto"]

ModelLike: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | ir.Model"

_PROTOBUF_LIMIT = 2**31 - 1
_ROOM_FOR_STRUCTURE = 64 * 2**20


def name_of(model: ModelLike) -> str:
    """What messages call the model: its path, or the name of its graph."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    return model.graph.name or "the model"


def load(model: ModelLike) -> ir.Model:
    """Read a model into memory as a copy of its own; weights in external files stay there until they are read.

    Args:
        model: a path, a `ModelProto` or an `onnx_ir.Model`. None of them is ever changed.

    Raises:
        OnnxNormError: the file is missing, is no ONNX model, or its graph hangs together nowhere.
    """
    if isinstance(model, ir.Model):
        loaded = model.clone()
        _name_nodes(loaded)
        return loaded
    if isinstance(model, onnx.ModelProto):
        proto, folder = model, None
    elif isinstance(model, (str, os.PathLike)):
        proto, folder = _read_proto(Path(model)), Path(model).parent
    else:
        raise OnnxNormError(f"a model is a path, an onnx.ModelProto or an onnx_ir.Model, not a {type(model).__name__}")
    name = name_of(model)
    if not proto.HasField("graph") or not proto.opset_import:
        raise OnnxNormError(f"{name}: this is no ONNX model (it has no graph, or names no opset); export it again")
    try:
        loaded = ir.from_proto(proto)
    except Exception as error:
        raise OnnxNormError(
            f"{name}: the model is malformed ({_first_line(error)}); check it with onnx.checker"
        ) from error
    _name_nodes(loaded)
    _check_structure(loaded, name)
    if folder is not None:
        for graph in _all_graphs(loaded):
            external_data.set_base_dir(graph, folder)
    return loaded


def to_proto(model: ir.Model | onnx.ModelProto) -> onnx.ModelProto:
    """The model as one protobuf message, weights in external files read into it.

    Raises:
        OnnxNormError: the model is too large for one message (2 GB); write it with `save`.
    """
    if isinstance(model, onnx.ModelProto):
        return model
    if _tensor_bytes(model) + _ROOM_FOR_STRUCTURE > _PROTOBUF_LIMIT:
        raise OnnxNormError(f"{name_of(model)}: over 2 GB is too much for one ModelProto; write it with save(path)")
    _load_external(model)
    return ir.serde.serialize_model(model)


def save(model: onnx.ModelProto | ir.Model, path: str | os.PathLike[str]) -> None:
    """Write the whole model to `path`, or leave what is there untouched.

    Models over 2 GB keep their weights in a second file beside it, named like the model with `.data` behind.

    Raises:
        OnnxNormError: the folder is missing or cannot be written to, or the disk is full.
    """
    # What a link points at is written, not the link; and a device or a pipe is no place to rename a file to.
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise OnnxNormError(f"{path}: is not a regular file, so no model can take its place; name another path")
    try:
        if isinstance(model, ir.Model) and _tensor_bytes(model) + _ROOM_FOR_STRUCTURE > _PROTOBUF_LIMIT:
            _save_with_external_data(model, target)
        else:
            _replace_file(target, to_proto(model).SerializeToString())
    except OSError as error:
        raise OnnxNormError(f"{target}: cannot write the model: {error.strerror or error}") from error


def _read_proto(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OnnxNormError(f"{path}: cannot read the model: {error.strerror or error}") from error
    try:
        return cast(onnx.ModelProto, onnx.ModelProto.FromString(data))
    except Exception as error:
        raise OnnxNormError(f"{path}: this is no ONNX model, or only a part of one ({_first_line(error)})") from error


def _check_structure(model: ir.Model, name: str) -> None:
    """Refuse values that nothing makes: every later step takes for granted that a value has an origin."""
    for graph in _all_graphs(model):
        for node in graph:
            for value in node.inputs:
                if value is None or value.producer() is not None or value.is_graph_input() or value.is_initializer():
                    continue
                raise OnnxNormError(
                    f"{name}: node {node.name!r} ({node.op_type}) reads {value.name!r}, which nothing makes; "
                    "the model is incomplete, export it again"
                )


def _name_nodes(model: ir.Model) -> None:
    """Name the nameless nodes, so that every report can point at the one it means."""
    taken = {node.name for graph in _all_graphs(model) for node in graph}
    for graph in _all_graphs(model):
        for index, node in enumerate(graph):
            if not node.name:
                name = f"{node.op_type}_{index}"
                while name in taken:
                    name += "_"
                node.name = name
                taken.add(name)


def _all_graphs(model: ir.Model) -> Iterable[ir.Graph]:
    yield from model.graphs()
    for function in model.functions.values():
        yield function.graph


def _tensors(model: ir.Model) -> Iterable[ir.TensorProtocol]:
    for graph in _all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield attribute.as_tensor()


def _tensor_bytes(model: ir.Model) -> int:
    return sum(tensor.nbytes for tensor in _tensors(model))


def _load_external(model: ir.Model) -> None:
    for graph in _all_graphs(model):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                tensor = value.const_value
                try:
                    array = tensor.numpy().copy()
                except Exception as error:
                    raise OnnxNormError(
                        f"{name_of(model)}: the weights of {value.name!r} in {tensor.path} cannot be read "
                        f"({_first_line(error)}); keep the data file beside the model"
                    ) from error
                value.const_value = ir.Tensor(array, dtype=tensor.dtype, name=tensor.name)


def _replace_file(target: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _publish(Path(temporary), target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _save_with_external_data(model: ir.Model, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        data_name = f"{target.name}.data"
        staged = Path(folder, target.name)
        ir.save(model, staged, external_data=data_name)
        for name, final in ((data_name, target.with_name(data_name)), (target.name, target)):
            with Path(folder, name).open("rb+") as file:
                os.fsync(file.fileno())
            _publish(Path(folder, name), final)


def _publish(temporary: Path, target: Path) -> None:
    # mkstemp makes private files; the result gets the permissions that a plain open() would have given.
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    temporary.replace(target)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
