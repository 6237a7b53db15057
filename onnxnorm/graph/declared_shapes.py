"""Sets the shapes that a model states for the values it computes against those that follow from its inputs.

No runtime holds a model to the shapes that it gives for inner values and results. They are out of date where somebody
changed the extents of an input (made the batch a name, say) and left the rest as it was. What follows from the inputs
and the constants alone is found without them, also for extents that a caller might choose. Where the two differ,
neither is taken: then all that only the model says is out of date too, for all one knows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeAlias

import onnx
import onnx_ir as ir

from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.protobuf import graphs_of_node
from onnxnorm.model.walk import subgraphs_of

__all__ = [
    "Dims",
    "depends_on_claims",
    "dims_of",
    "merge_claims",
    "pairs_of",
    "set_type",
    "with_trial_extents",
    "without_claims",
]

# Windows fit into it, strides and heads divide it.
_TRIAL_EXTENT = 6720

Dims: TypeAlias = "tuple[int | str | None, ...]"
_Pairs: TypeAlias = "Iterator[tuple[ir.Value, onnx.TypeProto.Tensor | None]]"


def without_claims(message: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the message that no longer states the shapes of computed values."""
    pending = [message.graph]
    while pending:
        graph = pending.pop()
        del graph.value_info[:]
        given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        inner = () if graph is message.graph else graph.input
        for value in (*inner, *(value for value in graph.output if value.name not in given)):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
        for node in graph.node:
            pending.extend(graphs_of_node(node))
    return message


def with_trial_extents(message: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the message in which the extents of inputs that a caller may choose are chosen."""
    chosen: dict[str, int] = {}
    for value in message.graph.input:
        dims = value.type.tensor_type.shape.dim
        # A vector may be a shape: it would be one of as many axes.
        for axis, dim in enumerate(dims if len(dims) > 1 else ()):
            if not dim.HasField("dim_value"):
                name = dim.dim_param or f"{value.name}:{axis}"
                dim.dim_value = chosen.setdefault(name, (len(chosen) + 1) * _TRIAL_EXTENT)
    return message


def depends_on_claims(graph: ir.Graph, inferred: onnx.GraphProto) -> bool:
    """Whether a caller may choose extents, and the model states extents that do not follow from its inputs."""
    if all(isinstance(dim, int) for value in graph.inputs for dim in _dims(value) or ()):
        return False
    return any(
        isinstance(dim, int) and not isinstance(other, int)
        for value, found in pairs_of(graph, inferred)
        for dim, other in itertools.zip_longest(_dims(value) or (), dims_of(found) or ())
    )


def merge_claims(graph: ir.Graph, inferred: onnx.GraphProto, tried: onnx.GraphProto | None = None) -> tuple[bool, bool]:
    """Give values the shapes that were inferred without the model's own statements.

    What the model alone states stays, if it is right.

    Args:
        graph: of the model; its values get the shapes.
        inferred: the same graph with what was inferred.
        tried: with what was inferred for extents of inputs that a caller might choose.

    Returns:
        whether any was new, and whether anything is left that only the model says.
    """
    free = {dim for value in graph.inputs for dim in _dims(value) or () if isinstance(dim, str)}
    told = [inferred] if tried is None else [inferred, tried]
    stale = any(
        _differ(_dims(value), dims_of(found), free)
        for each in told
        for value, found in (*pairs_of(graph, each), *_first_rounds(graph, each))
    )
    modified = left = False
    for value, found in pairs_of(graph, inferred):
        claimed, dims = _dims(value), dims_of(found)
        if claimed is not None:
            if dims is None and (value.producer() is None or value.is_graph_output()):
                # Runtimes want to know the rank of what goes in and out of a subgraph.
                dims = (None,) * len(claimed)
            dims = _agreed(claimed, dims) if stale else _together(claimed, dims, free)
            left = left or (not stale and dims != dims_of(found))
        modified |= set_type(value, 0 if found is None else found.elem_type, dims, forget=stale)
    return modified, left


def pairs_of(graph: ir.Graph, inferred: onnx.GraphProto, *, inner: bool = False) -> _Pairs:
    """Yield every value that the graph computes, with what was inferred of it; in subgraphs the inputs too."""
    known = _known(inferred)
    if inner:
        yield from ((value, known.get(value.name or "")) for value in graph.inputs)
    for node, proto in zip(graph, inferred.node, strict=True):
        yield from ((value, known.get(value.name or "")) for value in node.outputs)
        for subgraph, subgraph_proto in zip(subgraphs_of(node), graphs_of_node(proto), strict=False):
            yield from pairs_of(subgraph, subgraph_proto, inner=True)


def _first_rounds(graph: ir.Graph, inferred: onnx.GraphProto) -> _Pairs:
    """Yield every value that the body of a Loop carries, with what was inferred of its value in the first round.

    In later rounds it may have another shape, so that ONNX infers none; the first has to fit all the same.
    """
    known = _known(inferred)
    for node, proto in zip(graph, inferred.node, strict=True):
        bodies = zip(subgraphs_of(node), graphs_of_node(proto), strict=False)
        for body, body_proto in bodies:
            if node.op_type == "Loop" and is_standard(node):
                carried = zip(body.inputs[2:], node.inputs[2:], strict=False)
                yield from ((inner, known.get(outer.name or "")) for inner, outer in carried if outer is not None)
            yield from _first_rounds(body, body_proto)


def dims_of(tensor_type: onnx.TypeProto.Tensor | None) -> Dims | None:
    """Return extents, names of symbolic ones, None for unknown ones; None as a whole where there is no shape."""
    if tensor_type is None or not tensor_type.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor_type.shape.dim)


def set_type(value: ir.Value, element: int, dims: Dims | None, *, forget: bool = False) -> bool:
    """Set element type and shape of the value; return whether either was new.

    `forget`: the shape is forgotten where there is none.
    """
    modified = False
    if element and (value.dtype is None or value.dtype.value != element):
        value.dtype = ir.DataType(element)
        modified = True
    if (dims is not None or forget) and _dims(value) != dims:
        value.shape = None if dims is None else ir.Shape(dims)
        modified = True
    return modified


def _known(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto.Tensor]:
    return {
        info.name: info.type.tensor_type
        for info in (*graph.input, *graph.value_info, *graph.output)
        if info.type.HasField("tensor_type")
    }


def _dims(value: ir.Value) -> Dims | None:
    return None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)


def _differ(claimed: Dims | None, found: Dims | None, free: set[str]) -> bool:
    """Whether the two cannot both be right for all inputs. A free name is an extent that a caller may choose."""
    if claimed is None or found is None:
        return False
    return len(claimed) != len(found) or any(
        isinstance(a, int) and (b in free if isinstance(b, str) else b is not None and a != b)
        for a, b in zip(claimed, found, strict=True)
    )


def _together(claimed: Dims, found: Dims | None, free: set[str]) -> Dims:
    """Join two descriptions of one shape that do not differ."""
    if found is None:
        return claimed
    return tuple(b if isinstance(b, int) or b in free or a is None else a for a, b in zip(claimed, found, strict=True))


def _agreed(claimed: Dims, found: Dims | None) -> Dims | None:
    """Return the shape that was found, without the extents of which the model says otherwise."""
    if found is None or len(claimed) != len(found):
        return None
    return tuple(
        None if isinstance(a, int) and isinstance(b, int) and a != b else b for a, b in zip(claimed, found, strict=True)
    )
