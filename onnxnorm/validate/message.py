"""Refuses what a model must not be, whoever made it: every later step takes for granted what is checked here.

The message is checked before it becomes a graph (names, sizes of tensors, functions that call themselves), the graph
after that (values that nothing makes, cycles). Each check takes time linear in the size of the model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.walk import graphs_of, stored_bytes
from onnxnorm.validate.arity import Arities
from onnxnorm.validate.attributes import impossible
from onnxnorm.validate.functions import check_functions

__all__ = ["check_message", "check_structure"]

_MAX_DEPTH = 64
_TYPES = {dtype.value: dtype for dtype in ir.DataType}
# onnx.proto says which field of TensorProto holds elements of which type; what is not named here is in int32_data.
_FIELDS = {
    ir.DataType.FLOAT: "float_data",
    ir.DataType.COMPLEX64: "float_data",
    ir.DataType.DOUBLE: "double_data",
    ir.DataType.COMPLEX128: "double_data",
    ir.DataType.INT64: "int64_data",
    ir.DataType.UINT32: "uint64_data",
    ir.DataType.UINT64: "uint64_data",
}


def check_message(proto: onnx.ModelProto, name: str) -> None:
    """Refuse a message of which no graph can be made.

    Raises:
        OnnxNormError: names the node or the tensor at fault.
    """
    if not proto.ListFields():
        raise OnnxNormError(f"{name}: this is no ONNX model, it is empty; fetch or export it again")
    if not proto.HasField("graph") or not proto.opset_import:
        raise OnnxNormError(f"{name}: this is no ONNX model (it has no graph, or names no opset); export it again")
    # Those of a function become the model's where it is inlined.
    for entry in itertools.chain(proto.opset_import, *(function.opset_import for function in proto.functions)):
        if not 1 <= entry.version < 2**31:
            domain = entry.domain or "ai.onnx"
            raise OnnxNormError(f"{name}: opset {entry.version} of {domain!r} cannot be; export it again")
    _check_graph(proto.graph, name, 0, Arities(proto.opset_import))
    for function in proto.functions:
        where, arities = f"function {function.name!r}", Arities(function.opset_import)
        _check_nodes(function.node, name, 0, arities, set(function.input), where, in_function=True)
    check_functions(proto, name)


def _check_graph(graph: onnx.GraphProto, name: str, depth: int, arities: Arities, *, in_function: bool = False) -> None:
    if depth > _MAX_DEPTH:
        raise OnnxNormError(f"{name}: its graphs are nested more than {_MAX_DEPTH} deep; export it again")
    if graph.sparse_initializer:
        raise OnnxNormError(
            f"{name}: graph {graph.name!r} has sparse initializers, which are not supported; make them dense"
        )
    seen: set[str] = set()
    for value in graph.input:
        _check_text((value.name,), name, f"an input of graph {graph.name!r}")
        if value.name in seen:
            raise OnnxNormError(f"{name}: two inputs of graph {graph.name!r} are called {value.name!r}; rename one")
        seen.add(value.name)
    initializers: set[str] = set()
    for tensor in graph.initializer:
        _check_text((tensor.name,), name, "an initializer")
        if tensor.name in initializers:
            raise OnnxNormError(f"{name}: two initializers are called {tensor.name!r}; rename one")
        initializers.add(tensor.name)
        _check_tensor(tensor, name, f"initializer {tensor.name!r}")
    where = f"graph {graph.name!r}"
    _check_nodes(graph.node, name, depth, arities, seen | initializers, where, in_function=in_function)


def _check_nodes(
    nodes: Iterable[onnx.NodeProto],
    name: str,
    depth: int,
    arities: Arities,
    made: set[str],
    where: str,
    *,
    in_function: bool = False,
) -> None:
    for node in nodes:
        texts = (node.name, node.op_type, node.domain, *node.input, *node.output)
        # To say what is looked at for each node takes as long as to look.
        if bytes in map(type, texts):
            _check_text(texts, name, f"something in node {node.name!r} ({node.op_type})")
        if not node.op_type:
            raise OnnxNormError(f"{name}: node {node.name!r} of {where} names no operator; export the model again")
        wrong = arities.wrong(node) or (impossible(node) if node.domain in STANDARD_DOMAINS else None)
        if wrong is not None:
            raise _mistake(name, node, wrong)
        for output in node.output:
            if output and output in made:
                raise OnnxNormError(
                    f"{name}: node {node.name!r} ({node.op_type}) makes {output!r}, which something else in {where} "
                    "makes too; every value needs a name of its own"
                )
            made.add(output)
        _check_attributes(node, name, depth, arities, in_function=in_function)


def _mistake(name: str, node: onnx.NodeProto, what: str) -> OnnxNormError:
    return OnnxNormError(f"{name}: node {node.name!r} ({node.op_type}) {what}; export the model again")


def _check_attributes(node: onnx.NodeProto, name: str, depth: int, arities: Arities, *, in_function: bool) -> None:
    """Check the attributes of a node: their names, that each holds what it says, and the tensors and graphs in them."""
    names = set()
    for attribute in node.attribute:
        if attribute.name in names or not attribute.name:
            raise _mistake(name, node, f"has two attributes {attribute.name!r}, or one without a name")
        names.add(attribute.name)
        if not attribute.ref_attr_name:
            wrong = _wrong_value(attribute, is_standard=node.domain in STANDARD_DOMAINS)
            if wrong is not None:
                raise OnnxNormError(
                    f"{name}: attribute {attribute.name!r} of node {node.name!r} ({node.op_type}) {wrong}; export the "
                    "model again"
                )
        elif not in_function:
            told = f"takes its attribute {attribute.name!r} from a function around it, and there is none"
            raise _mistake(name, node, told)
        if attribute.HasField("t"):
            _check_tensor(attribute.t, name, f"attribute {attribute.name!r} of node {node.name!r}")
        if attribute.HasField("g"):
            _check_graph(attribute.g, name, depth + 1, arities, in_function=in_function)
        for graph in attribute.graphs:
            _check_graph(graph, name, depth + 1, arities, in_function=in_function)


def _wrong_value(attribute: onnx.AttributeProto, *, is_standard: bool) -> str | None:
    """Tell what is wrong with the value of an attribute; None where it holds what its type says."""
    kind = attribute.type
    if kind == onnx.AttributeProto.UNDEFINED:
        return "has no type"
    if (kind == onnx.AttributeProto.TENSOR and not attribute.HasField("t")) or (
        kind == onnx.AttributeProto.GRAPH and not attribute.HasField("g")
    ):
        return "has no value"
    # Operators of other domains may keep anything where texts are.
    texts = [attribute.s] if kind == onnx.AttributeProto.STRING else attribute.strings
    return None if not is_standard or all(map(_is_utf8, texts)) else "is no UTF-8 text"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_text(texts: Iterable[object], name: str, what: str) -> None:
    # protobuf gives bytes where a text is not UTF-8.
    if bytes in map(type, texts):
        raise OnnxNormError(f"{name}: {what} has a name that is no UTF-8 text; export the model again")


def _check_tensor(tensor: onnx.TensorProto, name: str, what: str) -> None:
    dtype = _TYPES.get(tensor.data_type)
    if dtype is None:
        raise OnnxNormError(f"{name}: {what} has the unknown element type {tensor.data_type}")
    dims = tuple(tensor.dims)
    if any(dim < 0 for dim in dims):
        raise OnnxNormError(f"{name}: {what} has a negative dimension: {list(dims)}; export the model again")
    if dtype is ir.DataType.UNDEFINED:
        raise OnnxNormError(f"{name}: {what} says no element type; export the model again")
    if tensor.HasField("segment"):
        raise OnnxNormError(f"{name}: {what} is one part of a tensor that was cut in segments; export it in one")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        for entry in tensor.external_data:
            _check_text((entry.key, entry.value), name, f"the file of {what}")
            if entry.key in ("offset", "length") and not (entry.value.isascii() and entry.value.isdecimal()):
                raise OnnxNormError(
                    f"{name}: {what} lies in a file at {entry.key} {entry.value[:40]!r}, which is no number of bytes; "
                    "export the model again"
                )
        return
    if dtype is ir.DataType.STRING:
        return
    own = _FIELDS.get(dtype, "int32_data")
    for field in ("float_data", "double_data", "int64_data", "uint64_data", "int32_data"):
        if field != own and getattr(tensor, field):
            raise OnnxNormError(
                f"{name}: {what} of type {dtype.name.lower()} has elements in {field}, where there can be none; the "
                "file is damaged, export it again"
            )
    if tensor.HasField("raw_data"):
        found, wanted, unit = len(tensor.raw_data), stored_bytes(dtype, dims), "bytes"
    elif dtype.bitwidth < 8:
        return  # several elements share an entry; the one who reads it finds out whether they are enough
    else:
        found, wanted, unit = len(getattr(tensor, own)), math.prod(dims), "elements"
        if dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128):
            wanted *= 2
    if found != wanted:
        raise OnnxNormError(
            f"{name}: {what} of shape {list(dims)} holds {found} {unit} where there should be {wanted}; "
            "the file is damaged, export it again"
        )


def check_structure(model: ir.Model, name: str) -> None:
    """Refuse values that nothing makes and nodes that wait for themselves; put nodes in order that are in none.

    Raises:
        OnnxNormError: names the node at fault.
    """
    for graph in graphs_of(model):
        done: set[ir.Node] = set()
        in_order = True
        for node in graph:
            if node.device_configurations and not all(map(_is_whole, node.device_configurations)):
                raise OnnxNormError(
                    f"{name}: node {node.name!r} ({node.op_type}) has a device configuration that the model does not "
                    "define, or one for a value that the node does not have; export the model again"
                )
            for value in node.inputs:
                if value is None:
                    continue
                producer = value.producer()
                if producer is None:
                    if value.is_graph_input() or value.is_initializer():
                        continue
                    raise OnnxNormError(
                        f"{name}: node {node.name!r} ({node.op_type}) reads {value.name!r}, which nothing makes; "
                        "the model is incomplete, export it again"
                    )
                in_order = in_order and (producer in done or producer.graph is not graph)
            done.add(node)
        if not in_order:
            _sort(graph, name)
        for value in graph.outputs:
            if value.producer() is None and not value.is_graph_input() and not value.is_initializer():
                raise OnnxNormError(
                    f"{name}: the output {value.name!r} of graph {graph.name!r} is made by nothing; "
                    "the model is incomplete, export it again"
                )


def _is_whole(configuration: ir.NodeDeviceConfiguration) -> bool:
    """Whether everything that the configuration refers to is there; it could not be written otherwise."""
    known = configuration.configuration is not None and bool(configuration.configuration.name)
    return known and all(spec.value is not None and spec.value.name for spec in configuration.sharding_specs)


def _sort(graph: ir.Graph, name: str) -> None:
    try:
        graph.sort()
    except ValueError as error:
        raise OnnxNormError(
            f"{name}: the nodes of graph {graph.name!r} wait for each other in a circle; export the model again"
        ) from error
