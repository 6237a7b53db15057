"""Reads a model: the protobuf message without its large weights, the graph from it, and the files of its weights."""

from __future__ import annotations

import logging
import mmap
import os
import secrets
from pathlib import Path
from typing import cast

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, cause_of, first_line
from onnxnorm.files.foreign_formats import foreign_format
from onnxnorm.files.similar_names import similar_name
from onnxnorm.io.file_tensors import DataFile, FileTensor, find_data_file
from onnxnorm.io.skip_weights import skim
from onnxnorm.io.sparse import without_sparse_initializers
from onnxnorm.model.opaque import with_opaque_parts
from onnxnorm.model.protobuf import graphs_in, tensors_in, with_types_of_inputs
from onnxnorm.model.walk import graphs_of, stored_bytes, tensor_in
from onnxnorm.validate.message import check_message

__all__ = ["data_locations", "from_proto", "read_message", "read_model"]

_SKIMMED_FROM = 16 * 2**20
_LEAST_SKIMMED = 2**16


def read_model(path: Path) -> ir.Model:
    """Read the model at `path`; its weights stay where they are.

    Raises:
        OnnxNormError: it cannot be read, or is no ONNX model.
    """
    proto, mark, data_file = _marked(path)
    return from_proto(proto, str(path), path, own={mark: data_file})


def read_message(path: Path) -> tuple[onnx.ModelProto, str]:
    """Read the message in the file at `path` as it is, but for large weights, which stay in the file.

    Returns:
        the message, and the location by which it refers to the file itself.

    Raises:
        OnnxNormError: it cannot be read, or is no ONNX model.
    """
    proto, mark, _ = _marked(path)
    return proto, mark


def _marked(path: Path) -> tuple[onnx.ModelProto, str, DataFile | None]:
    # A name that no model can know: what it marks lies in the model file itself.
    mark = f"onnxnorm:{secrets.token_hex(16)}"
    try:
        proto, data_file = _read(path, mark)
    except OSError as error:
        meant = similar_name(path) if isinstance(error, FileNotFoundError) else ""
        raise OnnxNormError(f"{path}: cannot read the model: {error.strerror or error}{meant}") from error
    return proto, mark, data_file


def _read(path: Path, mark: str) -> tuple[onnx.ModelProto, DataFile | None]:
    if not path.is_file():
        if path.exists():
            raise OnnxNormError(f"{path}: is not a regular file, so no model can be read from it")
        raise FileNotFoundError(2, os.strerror(2))
    try:
        if path.stat().st_size < _SKIMMED_FROM:
            return cast(onnx.ModelProto, onnx.ModelProto.FromString(path.read_bytes())), None
        data_file = DataFile(path.resolve(), is_model=True)
        with mmap.mmap(data_file.fd, 0, access=mmap.ACCESS_READ) as data:
            return cast(onnx.ModelProto, onnx.ModelProto.FromString(skim(data, mark, least=_LEAST_SKIMMED))), data_file
    except OSError:
        raise
    except Exception as error:
        what = foreign_format(path)
        if what is not None:
            raise OnnxNormError(f"{path}: is no ONNX model but {what}") from error
        raise OnnxNormError(
            f"{path}: this is no ONNX model, or only a part of one ({first_line(error)}); fetch or export it again"
        ) from error


def data_locations(path: Path) -> set[str]:
    """Return the files to which the tensors of the model at `path` refer, as it names them."""
    mark = secrets.token_hex(16)
    proto, _ = _read(path, mark)
    return {
        entry.value
        for tensor in tensors_in(proto)
        for entry in tensor.external_data
        if entry.key == "location" and entry.value != mark
    }


def from_proto(
    proto: onnx.ModelProto, name: str, path: Path | None, *, own: dict[str, DataFile | None] | None = None
) -> ir.Model:
    """Make a graph of the message, its external data found and their ranges checked.

    Args:
        proto: the message.
        name: what errors call the model.
        path: where it was read from; its external data lie beside it. None: they cannot be found.
        own: data files that are known already, by location.

    Raises:
        OnnxNormError: it is no model, or refers to data that are not there or not its own.
    """
    proto = without_sparse_initializers(proto, name)
    check_message(proto, name)
    proto = with_types_of_inputs(proto)
    # What is wrong is said by our own errors, with the file and the node.
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        model = _as_graph(proto)
    except RecursionError as error:
        raise OnnxNormError(f"{name}: its graphs are nested too deeply; export it again") from error
    except Exception as error:
        raise OnnxNormError(
            f"{name}: the model is malformed ({cause_of(error)}); check it with onnx.checker"
        ) from error
    finally:
        logger.setLevel(level)
    _type_by_tensors(model, proto)
    if path is not None:
        _find_data(model, path, {key: value for key, value in (own or {}).items() if value is not None})
    return model


def _as_graph(proto: onnx.ModelProto) -> ir.Model:
    try:
        return ir.from_proto(proto)
    except ir.serde.SerdeError:
        return ir.from_proto(with_opaque_parts(proto))


def _type_by_tensors(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Give each constant the type and shape of its elements, whatever is said of it elsewhere."""
    graphs = [graph for graph in graphs_in(proto) if isinstance(graph, onnx.GraphProto)]
    said = {info.name for graph in graphs for info in (*graph.input, *graph.output, *graph.value_info)}
    overridable = (model.ir_version or 4) >= 4
    for graph in graphs_of(model):
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if name in said and tensor is not None and not (overridable and value.is_graph_input()):
                value.dtype, value.shape = tensor.dtype, ir.Shape(tensor.shape.numpy())


def _find_data(model: ir.Model, path: Path, files: dict[str, DataFile]) -> None:
    for graph in graphs_of(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            # By `type`: to `isinstance` the classes of onnx-ir are protocols, of which it asks a lot.
            if type(tensor) is ir.ExternalTensor:
                value.const_value = _found(tensor, path, files)
        for node in graph:
            attributes = node.attributes
            for name, attribute in attributes.items() if attributes else ():
                if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref():
                    tensor = tensor_in(attribute)
                    if type(tensor) is ir.ExternalTensor:
                        node.attributes[name] = ir.AttrTensor(name, _found(tensor, path, files))


def _found(tensor: ir.ExternalTensor, path: Path, files: dict[str, DataFile]) -> FileTensor:
    location = os.fspath(tensor.location)
    data_file = files.get(location)
    if data_file is None:
        try:
            data_file = files[location] = DataFile(find_data_file(path, location))
        except (OSError, ValueError) as error:
            raise OnnxNormError(
                f"{path}: its external data {location!r} cannot be read ({first_line(error)})"
            ) from error
    dims = tuple(tensor.shape.numpy())
    offset, wanted = tensor.offset or 0, stored_bytes(tensor.dtype, dims)
    length = wanted if tensor.length is None else tensor.length
    what = "it" if data_file.is_model else repr(location)
    if length != wanted:
        raise OnnxNormError(
            f"{path}: the tensor {tensor.name!r} of shape {list(dims)} has {wanted} bytes, yet {length} are given for "
            "it; the file is damaged, export it again"
        )
    if offset < 0 or offset + length > data_file.size:
        raise OnnxNormError(
            f"{path}: the tensor {tensor.name!r} lies at bytes {offset} to {offset + length} of {what}, which has "
            f"{data_file.size}; the file is cut off, or belongs to another model"
        )
    return FileTensor(
        data_file,
        offset,
        length,
        tensor.dtype,
        shape=ir.Shape(dims),
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props) if tensor.metadata_props else None,
    )
