"""Runs ONNX's shape inference, which must not take the whole process with it.

Its Slice is checked by assertions that end the process where an extent is negative: a window larger than its input
makes one, and exporters write -1 for what they do not know. GatherND looks for axes that do not exist wherever in
memory these would be, EyeLike and RegexFullMatch for a type that is not known (onnx 1.23.2; random nodes of every
operator were tried). Expand and their like get as many dimensions as a vector has elements, be they 2^60, and where it
follows the values of shapes, each vector that is added to another is written out number by number. No look at the model
beforehand tells for sure, since the extents are what is to be found. So a model that may do so is given to a child of
this process, with limits, where the system has such.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.protobuf import graphs_in, without_weights
from onnxnorm.process.child import FORKS, BrokenOffError, FailedError, in_child
from onnxnorm.validate.attributes import fatal

__all__ = ["ends_runtimes", "infer_shapes"]

_RISKY = (b"EyeLike", b"GatherND", b"RegexFullMatch", b"Slice")
# Normalizations of which ONNX 1.23 infers no shape.
_OPAQUE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
# A hundred thousand nodes take a few seconds; a model takes about 30 times the bytes that it has without its weights.
_SECONDS, _MEMORY, _MEMORY_PER_BYTE = 60, 2**29, 100
_SECONDS_IF_SUSPICIOUS, _MEMORY_IF_SUSPICIOUS = 10, 2**29


def infer_shapes(
    model: onnx.ModelProto, *, suspicious: bool = False, data_prop: bool = False, **options: bool
) -> onnx.ModelProto:
    """Infer shapes as `onnx.shape_inference.infer_shapes` does.

    Args:
        model: the model; it is not changed.
        suspicious: inference may take more time or memory than there is, so a child process with limits runs it.
        data_prop: whether the values of shapes are followed.
        options: further options of ONNX's function.

    Raises:
        onnx.shape_inference.InferenceError: ONNX finds a mistake, or breaks off.
    """
    data = _inferable(model).SerializeToString()
    options["data_prop"] = data_prop
    if not (suspicious or data_prop or any(op_type in data for op_type in _RISKY)) or not FORKS:
        return onnx.shape_inference.infer_shapes(data, **options)
    try:
        inferred = _in_child(data, options, suspicious=suspicious)
    except BrokenOffError:
        raise onnx.shape_inference.InferenceError("ONNX's own shape inference breaks off at it") from None
    except FailedError as error:
        raise onnx.shape_inference.InferenceError(str(error)) from None
    result: onnx.ModelProto = onnx.ModelProto.FromString(inferred)
    return result


def _inferable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model, or where inference would stop short of what runtimes know, one that it reads to the end.

    Before IR version 4 it does not see initializers that are no inputs, and of some normalizations, whose results are
    as their inputs, it does not know the shape.
    """
    is_old = 0 < model.ir_version < 4
    if not is_old and not any(map(_is_opaque, _nodes_of(model))):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, 4)
    for node in filter(_is_opaque, _nodes_of(copy)):
        node.op_type = "Identity"
        del node.attribute[:], node.input[1:], node.output[1:]
    return copy


def _nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    return (node for graph in graphs_in(model) for node in graph.node)


def _is_opaque(node: onnx.NodeProto) -> bool:
    is_whole = bool(node.input) and bool(node.output)
    return node.op_type in _OPAQUE and node.domain in STANDARD_DOMAINS and is_whole


def ends_runtimes(model: onnx.ModelProto) -> tuple[onnx.NodeProto, str] | None:
    """Return a node at which runtimes end the process, and what is wrong with it; None where there is none.

    Runtimes have ONNX's shape inference in them.
    """
    nodes = [node for graph in graphs_in(model) for node in graph.node if node.domain in STANDARD_DOMAINS]
    for node in nodes:
        if (wrong := fatal(node)) is not None:
            return node, wrong
    suspects = [node for node in nodes if node.op_type == "GatherND"]
    if suspects and FORKS:
        slim = without_weights(model)
        del slim.graph.output[:]
        for dim in (dim for value in slim.graph.input for dim in value.type.tensor_type.shape.dim):
            # These end the process in ONNX alone.
            if dim.dim_value < 0:
                dim.Clear()
        try:
            _in_child(slim.SerializeToString(), {}, suspicious=False)
        except BrokenOffError:
            return suspects[0], "has other inputs than it can have"
        except FailedError:
            pass
    return None


def _in_child(data: bytes, options: dict[str, Any], *, suspicious: bool) -> bytes:
    return in_child(
        lambda: onnx.shape_inference.infer_shapes(data, **options).SerializeToString(),
        seconds=_SECONDS_IF_SUSPICIOUS if suspicious else _SECONDS,
        memory=_MEMORY_IF_SUSPICIOUS if suspicious else _MEMORY + _MEMORY_PER_BYTE * len(data),
    )
