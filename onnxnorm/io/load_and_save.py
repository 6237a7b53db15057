"""Loads and saves models: a path, a `ModelProto` or an `onnx_ir.Model` in; whole files, or none, out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, cause_of
from onnxnorm.io.new_weights import spool_of
from onnxnorm.io.read import from_proto, read_model
from onnxnorm.io.replace import target_of, telling_why
from onnxnorm.io.write import write_in_one_file, write_with_data
from onnxnorm.model.names import name_nodes
from onnxnorm.model.source import ModelLike, model_of, name_of
from onnxnorm.model.to_protobuf import structure
from onnxnorm.model.told_types import told_types
from onnxnorm.model.walk import graphs_of, weight_bytes
from onnxnorm.process.gc_pause import collector_paused
from onnxnorm.validate.arguments import check_flags, check_path, no_model
from onnxnorm.validate.message import check_structure

__all__ = ["load", "save", "to_proto"]


_PROTOBUF_LIMIT = 2**31 - 1
_ROOM_FOR_STRUCTURE = 64 * 2**20


@collector_paused
def load(model: ModelLike, name: str | None = None) -> ir.Model:
    """Read a model as a copy of its own; weights of any size stay in their files until they are asked for.

    Args:
        model: a path, a `ModelProto`, an `onnx_ir.Model`, or what carries one. None of them is ever changed.
        name: what errors call a `ModelProto`; by default the name of its graph.

    Raises:
        OnnxNormError: the file is missing, is no ONNX model, names data that are missing or not its own, or its graph
            hangs together nowhere.
    """
    model = model_of(model)
    if isinstance(model, ir.Model):
        loaded = model.clone()
    elif isinstance(model, onnx.ModelProto):
        loaded = from_proto(model, name or name_of(model), None)
        check_structure(loaded, name or name_of(model))
    elif isinstance(model, (str, os.PathLike)):
        loaded = read_model(Path(model))
        check_structure(loaded, name_of(model))
    else:
        raise no_model(model)
    name_nodes(graphs_of(loaded))
    _take_the_alias(loaded)
    _forget_negative_extents(loaded)
    return loaded


def _take_the_alias(model: ir.Model) -> None:
    """Write ONNX's own domain as it is mostly written, where a model calls it by its longer name."""
    alias = "ai.onnx"
    for imports in (model.graph.opset_imports, *(f.graph.opset_imports for f in model.functions.values())):
        if alias in imports:
            version = imports.pop(alias)
            imports.setdefault("", version)
    for graph in graphs_of(model):
        for node in graph:
            if node.domain == alias:
                node.domain = ""


def _forget_negative_extents(model: ir.Model) -> None:
    """Forget negative extents, which runtimes take for unknown: exporters write -1 for what they do not know."""
    for graph in graphs_of(model):
        for value in itertools.chain(graph.inputs, *(node.outputs for node in graph)):
            shape = value.shape
            if shape is not None and any(type(dim) is int and dim < 0 for dim in shape):
                value.shape = ir.Shape([None if type(dim) is int and dim < 0 else dim for dim in shape])


@collector_paused
def to_proto(model: ir.Model | onnx.ModelProto) -> onnx.ModelProto:
    """Return the model as one protobuf message, weights in external files read into it.

    Raises:
        OnnxNormError: the model is too large for one message (2 GB); write it with `save`.
    """
    if isinstance(model, onnx.ModelProto):
        return model
    if (size := weight_bytes(model)) + _ROOM_FOR_STRUCTURE > _PROTOBUF_LIMIT:
        raise OnnxNormError(
            f"{name_of(model)}: {size / 1e9:.1f} GB of weights are too much for one ModelProto, which takes 2 GB; "
            "write it with save(path)"
        )
    try:
        return structure(model, {}, told=told_types(model))
    except (OSError, ValueError, ir.serde.SerdeError) as error:
        raise OnnxNormError(f"{name_of(model)}: cannot be written ({cause_of(error)})") from error


@collector_paused
def save(
    model: onnx.ModelProto | ir.Model,
    path: str | os.PathLike[str],
    *,
    external_data: bool | None = None,
    shard_size: int | None = None,
    share_data: bool = False,
    safetensors: bool = False,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> None:
    """Write the whole model to `path`, or leave what is there untouched.

    Args:
        model: the model.
        path: the file to write; what a link points at is written, not the link.
        external_data: weights in a second file beside it, named like the model with `.data` behind; by default where
            the model would exceed 2 GB.
        shard_size: weights in several files of at most that many bytes (or of one tensor, where that is larger).
        share_data: weights that are as they were stay in the data files of the original, which the new model refers
            to; the new one has to lie beside them.
        safetensors: weights in a second file, or in several, of that format; `.safetensors` takes the place of `.data`.
        on_bytes: is told how many more bytes of weights are in their place.

    Raises:
        OnnxNormError: the folder is missing or cannot be written to, or the disk is full.
    """
    check_path("path", path)
    check_flags(external_data=external_data, share_data=share_data, safetensors=safetensors)
    target = target_of(path)
    if shard_size is not None and not (isinstance(shard_size, int) and shard_size >= 1):
        raise OnnxNormError(f"shard_size must be at least 1 byte, not {shard_size!r}")
    work = from_proto(model, name_of(model), None) if isinstance(model, onnx.ModelProto) else model
    if external_data is None:
        too_large = weight_bytes(work) + _ROOM_FOR_STRUCTURE > _PROTOBUF_LIMIT
        external_data = too_large or shard_size is not None or share_data or safetensors
    with telling_why(target, lambda: weight_bytes(work)):
        try:
            if external_data:
                spool = spool_of(work)
                write_with_data(
                    work,
                    target,
                    shard_size=shard_size,
                    share=share_data,
                    spool=spool,
                    safetensors=safetensors,
                    on_bytes=on_bytes,
                )
            else:
                write_in_one_file(work, target, on_bytes)
        except (ValueError, ir.serde.SerdeError) as error:
            raise OnnxNormError(f"{target}: cannot write the model: {cause_of(error)}") from error
