"""Writes a model: its structure as one protobuf message, its weights copied from where they are.

Three forms: one file (below 2 GB) with the weights inside; one data file beside the model; several of a given size.
Data files are plain bytes, or have the head that makes them safetensors files.
The weights are streamed in all three: what lies in a file is copied from there, what was computed is written as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.files.folders import locked, sync_folder
from onnxnorm.files.new_file import NewFile
from onnxnorm.io.file_tensors import DataFile, FileTensor
from onnxnorm.io.new_weights import ALIGNMENT, Spool
from onnxnorm.io.replace import clean, locations, outdated_data, put_in_place
from onnxnorm.io.safetensors import head_of
from onnxnorm.io.skip_weights import varint
from onnxnorm.model.to_protobuf import Place, structure
from onnxnorm.model.told_types import told_types
from onnxnorm.model.walk import Holder, bytes_of, tensors_of

__all__ = ["write_in_one_file", "write_with_data"]

_LEAST_STREAMED = 2**16
_LEAST_OUTSIDE = 2**10
_SMALL_ALIGNMENT = 64
_GRAPH_TAG, _INITIALIZER_TAG, _RAW_DATA_TAG = b"\x3a", b"\x2a", b"\x4a"


def write_in_one_file(model: ir.Model, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Write everything into `target`; the caller knows that it is below 2 GB."""
    large = {
        holder.value.name: holder.tensor
        for holder in tensors_of(model)
        if holder.value is not None and holder.value.graph is model.graph and bytes_of(holder.tensor) >= _LEAST_STREAMED
    }
    proto = structure(
        model, {id(tensor): Place("", 0, 0) for tensor in large.values()}, only=set(large), told=told_types(model)
    )
    heads = []
    kept = []
    for initializer in proto.graph.initializer:
        if initializer.name in large:
            initializer.ClearField("external_data")
            initializer.ClearField("data_location")
            tensor = large[initializer.name]
            length = bytes_of(tensor)
            head = initializer.SerializeToString() + _RAW_DATA_TAG + varint(length)
            heads.append((_INITIALIZER_TAG + varint(len(head) + length) + head, tensor, length))
        else:
            kept.append(initializer)
    if heads:
        remaining = [onnx.TensorProto.FromString(each.SerializeToString()) for each in kept]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(remaining)
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    total = len(graph) + sum(len(head) + length for head, _, length in heads)
    with NewFile(target.parent) as file:
        end = file.write(proto.SerializeToString() + _GRAPH_TAG + varint(total) + graph, 0)
        file.reserve(end, end + total - len(graph))
        for head, tensor, length in heads:
            end = _write_tensor(file, tensor, length, file.write(head, end))
            on_bytes(length)
        put_in_place(file, target)


@dataclass
class _Part:
    """A data file to be: `own` are the tensors to write and where."""

    own: list[tuple[int, ir.TensorProtocol, int]] = field(default_factory=list)
    end: int = 0
    claimed: NewFile | None = None
    packed: bool = False
    head: bytes = b""

    def add(self, tensor: ir.TensorProtocol, length: int) -> int:
        alignment = ALIGNMENT if length >= ALIGNMENT else _SMALL_ALIGNMENT
        offset = self.end if self.packed else -(-self.end // alignment) * alignment
        self.own.append((offset, tensor, length))
        self.end = offset + length
        return offset


def write_with_data(
    model: ir.Model,
    target: Path,
    *,
    shard_size: int | None,
    share: bool,
    spool: Spool | None,
    safetensors: bool,
    on_bytes: Callable[[int], None],
) -> None:
    """Write the structure into `target`, the weights into files beside it, all of them new; then the old ones go."""
    folder = target.parent
    holders = [holder for holder in tensors_of(model) if bytes_of(holder.tensor) >= _LEAST_OUTSIDE]
    suffix = "safetensors" if safetensors else "data"
    if safetensors:
        # Tensors in attributes have no names, so they stay where they are.
        holders = [holder for holder in holders if holder.value is not None]
        holders.sort(key=lambda holder: -holder.tensor.dtype.bitwidth)
        spool = None
    with contextlib.ExitStack() as stack:
        parts, where, shared = _planned(holders, folder, shard_size, share, spool, stack, packed=safetensors)
        if safetensors:
            _put_heads(holders, parts, where)
        files = [_written(part, folder, stack, on_bytes) for part in parts]
        file = stack.enter_context(NewFile(folder))
        with locked(folder) as alone:
            outdated = outdated_data(target, alone=alone)
            names: list[str] = []
            try:
                for number, data in enumerate(files):
                    names.append(_publish_data(data, target, suffix, number, len(files)))
                places = {
                    key: Place(names[part], offset, length) for key, (part, offset, length) in where.items()
                } | shared
                file.write(structure(model, places, told=told_types(model)).SerializeToString(), 0)
                file.sync()
                file.replace(target)
            except BaseException:
                # An interrupt can come when the model is there already.
                if not file.is_at(target):
                    clean(target, set(names), locations(target), alone=alone)
                raise
            for data in files:
                data.unmark()
            sync_folder(folder)
            clean(target, outdated, {place.location for place in places.values()}, alone=alone)


def _planned(
    holders: Iterable[Holder], folder: Path, shard_size: int | None, share: bool, spool: Spool | None,
    stack: contextlib.ExitStack, *, packed: bool,
) -> tuple[list[_Part], dict[int, tuple[int, int, int]], dict[int, Place]]:  # fmt: skip
    """Plan where every tensor goes: into which part and where in it, or to which file that stays as it is."""
    parts: list[_Part] = []
    where: dict[int, tuple[int, int, int]] = {}
    shared: dict[int, Place] = {}
    ranges: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    claimed: DataFile | None = None
    claim = None
    if spool is not None and shard_size is None:
        claim = spool.claim(folder, (holder.tensor for holder in holders))
    if claim is not None:
        file, claimed, end = claim
        stack.callback(file.close)
        parts.append(_Part(end=end, claimed=file))
    for holder in holders:
        tensor = holder.tensor
        length = bytes_of(tensor)
        if id(tensor) in where or id(tensor) in shared:
            continue
        if isinstance(tensor, FileTensor):
            if claimed is not None and tensor.data_file is claimed:
                where[id(tensor)] = (0, tensor.start, length)
                continue
            if share and not tensor.data_file.is_model:
                shared[id(tensor)] = _shared_place(tensor, folder, length)
                continue
            key = (id(tensor.data_file), tensor.start, length)
            if key in ranges:
                where[id(tensor)] = ranges[key]
                continue
        if not parts or (shard_size is not None and parts[-1].end and parts[-1].end + length > shard_size):
            parts.append(_Part(packed=packed))
        where[id(tensor)] = (len(parts) - 1, parts[-1].add(tensor, length), length)
        if isinstance(tensor, FileTensor):
            ranges[key] = where[id(tensor)]
    return parts, where, shared


def _put_heads(holders: Iterable[Holder], parts: list[_Part], where: dict[int, tuple[int, int, int]]) -> None:
    """Begin each file with a head that names what is in it; everything moves behind that."""
    names = {id(holder.tensor): "" if holder.value is None else holder.value.name or "" for holder in holders}
    for part in parts:
        part.head = head_of((names[id(tensor)], tensor, length) for _, tensor, length in part.own)
        part.own = [(offset + len(part.head), tensor, length) for offset, tensor, length in part.own]
        part.end += len(part.head)
    for key, (number, offset, length) in where.items():
        where[key] = (number, offset + len(parts[number].head), length)


def _shared_place(tensor: FileTensor, folder: Path, length: int) -> Place:
    path = tensor.data_file.path
    if not path.is_relative_to(folder.resolve()):
        raise OnnxNormError(
            f"{path}: cannot be shared with a model in {folder}, which may only name files below its own folder; "
            "write the result beside the original"
        )
    return Place(path.relative_to(folder.resolve()).as_posix(), tensor.start, length)


def _written(part: _Part, folder: Path, stack: contextlib.ExitStack, on_bytes: Callable[[int], None]) -> NewFile:
    file = part.claimed
    if file is None:
        file = stack.enter_context(NewFile(folder))
    file.write(part.head, 0)
    if part.own:
        file.reserve(part.own[0][0], part.end)
    for offset, tensor, length in part.own:
        _write_tensor(file, tensor, length, offset)
        on_bytes(length)
    # What was given up lies behind, and what comes last may be empty.
    os.ftruncate(file.fd, part.end)
    file.mark()
    file.sync()
    return file


def _publish_data(file: NewFile, target: Path, suffix: str, number: int, count: int) -> str:
    """Give a data file a name that nobody has: a model that is there keeps the data it needs until it is replaced."""
    stem = target.name if count == 1 else f"{target.name}.{number + 1:05d}-of-{count:05d}"
    name = f"{stem}.{suffix}"
    while not file.publish(target.with_name(name)):
        name = f"{stem}.{os.urandom(4).hex()}.{suffix}"
    return name


def _write_tensor(file: NewFile, tensor: ir.TensorProtocol, length: int, offset: int) -> int:
    """Write the tensor at `offset` and return where it ends."""
    if type(tensor) is FileTensor:
        return file.copy(tensor.data_file.fd, tensor.start, length, offset)
    if isinstance(tensor, ir.Tensor) and tensor.dtype.bitwidth >= 8:
        array = np.ascontiguousarray(tensor.numpy())
        if array.dtype.byteorder != ">" and array.nbytes == length:
            return file.write(array.reshape(-1).view(np.uint8).data, offset)
    data = tensor.tobytes()
    if len(data) != length:
        raise OnnxNormError(f"the tensor {tensor.name!r} has {len(data)} bytes where its shape asks for {length}")
    return file.write(data, offset)
