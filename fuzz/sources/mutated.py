"""Small random changes to a valid model: what a careless exporter, a broken disk or a malicious author does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper, numpy_helper

__all__ = ["mutated"]

_NUMBERS = [0, 1, -1, 2, 3, 7, 127, 128, 2**31 - 1, -(2**31), 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63)]
_FLOATS = [0.0, -0.0, 1e-45, 1e38, -1.0, float("inf"), float("-inf"), float("nan")]
_TEXTS = ["", "x", "\u0000", "Conv", "BatchNormalization", "Identity", "a" * 5000, "../../etc/passwd", "\U0001f600"]
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: 31,
    FieldDescriptor.CPPTYPE_INT64: 63,
    FieldDescriptor.CPPTYPE_UINT32: 32,
    FieldDescriptor.CPPTYPE_UINT64: 64,
}


def mutated(model: onnx.ModelProto, seed: int) -> bytes:
    """The model with one to four changes, as bytes; now and then the bytes are changed too."""
    source = random.Random(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(source.choice([1, 1, 1, 2, 4])):
        source.choice([_change_field, _change_field, _change_field, _rewire, _plant_bomb, _spoil_tensor, _nest])(
            copy, source
        )
    data = copy.SerializeToString()
    kind = source.random()
    if kind < 0.05:
        return data[: source.randrange(len(data) + 1)]
    if kind < 0.15:
        changed = bytearray(data)
        for _ in range(source.choice([1, 2, 8])):
            changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
        return bytes(changed)
    return data


def _messages(message: Any, depth: int = 0) -> list[Any]:
    found = [message]
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and depth < 12:
            for each in value if field.is_repeated else [value]:
                found.extend(_messages(each, depth + 1))
    return found


def _change_field(model: onnx.ModelProto, source: random.Random) -> None:
    message = source.choice(_messages(model))
    field = source.choice(message.DESCRIPTOR.fields)
    if field.is_repeated:
        _change_repeated(message, field, source)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if source.random() < 0.5:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    elif source.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(field, model, source))


def _change_repeated(message: Any, field: FieldDescriptor, source: random.Random) -> None:
    items = getattr(message, field.name)
    if len(items) and source.random() < 0.3:
        del items[source.randrange(len(items))]
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if len(items):
            items.add().CopyFrom(source.choice(items))
        else:
            items.add()
    elif len(items) and source.random() < 0.7:
        items[source.randrange(len(items))] = _value(field, None, source)
    else:
        items.append(_value(field, None, source))


def _value(field: FieldDescriptor, model: onnx.ModelProto | None, source: random.Random) -> Any:
    if field.cpp_type in _INTEGERS:
        bits = _INTEGERS[field.cpp_type]
        low = 0 if bits % 2 == 0 else -(2**bits)
        return min(max(source.choice([*_NUMBERS, source.randrange(30)]), low), 2**bits - 1)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return source.choice(_FLOATS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return source.choice([value.number for value in field.enum_type.values])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return source.random() < 0.5
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(source.randrange(256) for _ in range(source.choice([0, 1, 4, 64])))
    if model is not None and source.random() < 0.5:
        return source.choice(_names(model) or [""])
    return source.choice(_TEXTS)


def _names(model: onnx.ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in (*node.input, *node.output)]


def _rewire(model: onnx.ModelProto, source: random.Random) -> None:
    """An input becomes another value, perhaps one that comes later."""
    nodes = [node for node in model.graph.node if node.input]
    if nodes:
        node = source.choice(nodes)
        node.input[source.randrange(len(node.input))] = source.choice(_names(model))


def _plant_bomb(model: onnx.ModelProto, source: random.Random) -> None:
    """A few bytes that stand for terabytes, in place of an operand."""
    huge = [source.choice([2**20, 2**31, 2**40, 2**62]) for _ in range(source.choice([1, 2, 4]))]
    number = len(model.graph.node)

    def constant(name: str, values: Any, dtype: type = np.int64) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), f"{name}{number}"))
        return f"{name}{number}"

    def doubling() -> list[onnx.NodeProto]:
        name = constant("seed", [1.0, 2.0], np.float32)
        nodes = []
        for step in range(60):
            nodes.append(helper.make_node("Concat", [name, name], [f"bomb{number}_{step}"], axis=0))
            name = f"bomb{number}_{step}"
        nodes.append(helper.make_node("Identity", [name], [f"bomb{number}"]))
        return nodes

    def outer() -> list[onnx.NodeProto]:
        row, column = (
            constant("row", np.ones((1, 200_000)), np.float32),
            constant("column", np.ones((200_000, 1)), np.float32),
        )
        return [helper.make_node("Mul", [row, column], [f"bomb{number}"])]

    single: dict[str, Callable[[], list[str]]] = {
        "ConstantOfShape": lambda: [constant("shape", huge)],
        "Expand": lambda: [constant("one", [1.0], np.float32), constant("shape", huge)],
        "Tile": lambda: [constant("one", np.ones([1] * len(huge)), np.float32), constant("repeats", huge)],
        "Range": lambda: [constant("start", 0), constant("limit", huge[0]), constant("delta", 1)],
    }
    kind = source.choice([*single, "doubling", "outer"])
    if kind == "doubling":
        nodes = doubling()
    elif kind == "outer":
        nodes = outer()
    else:
        nodes = [helper.make_node(kind, single[kind](), [f"bomb{number}"])]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    users = [node for node in kept if node.input]
    if users:
        user = source.choice(users)
        user.input[source.randrange(len(user.input))] = f"bomb{number}"
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])


def _spoil_tensor(model: onnx.ModelProto, source: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor = source.choice(model.graph.initializer)
    kind = source.randrange(4)
    if kind == 0 and tensor.raw_data:
        tensor.raw_data = tensor.raw_data[: source.randrange(len(tensor.raw_data))]
    elif kind == 1 and len(tensor.dims):
        tensor.dims[source.randrange(len(tensor.dims))] = source.choice(_NUMBERS)
    elif kind == 2 and tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) // 4:
        # It may have been cut off before.
        values = np.frombuffer(tensor.raw_data, np.float32, len(tensor.raw_data) // 4).copy()
        values[source.randrange(len(values))] = source.choice(_FLOATS)
        tensor.raw_data = values.tobytes()
    else:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        entries = {
            "location": source.choice(["in.onnx", "../in.onnx", "/etc/passwd", "missing", "", "."]),
            "offset": source.choice(["0", "-1", "4096", "99999999999999999999", "zero"]),
            "length": source.choice(["0", "4", "-4", str(2**62), "many"]),
        }
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)


def _nest(model: onnx.ModelProto, source: random.Random) -> None:
    """The graph inside an If inside an If ..., or a function that calls itself."""
    if source.random() < 0.5:
        for node in model.graph.node[:1]:
            name = "loop"
            body = helper.make_node(name, ["a"], ["b"], domain="own")
            model.functions.append(helper.make_function("own", name, ["a"], ["b"], [body], list(model.opset_import)))
            model.opset_import.append(helper.make_opsetid("own", 1))
            if len(node.output) == 1 and node.input:
                node.op_type, node.domain = name, "own"
                del node.input[1:], node.attribute[:]
        return
    graph = helper.make_graph(
        [helper.make_node("Identity", [value.name], ["inner"]) for value in model.graph.input[:1]],
        "inner",
        [],
        [helper.make_empty_tensor_value_info("inner")],
    )
    for level in range(source.choice([2, 10, 20])):
        node = helper.make_node(
            "If", ["condition"], [f"level{level}"], then_branch=graph, else_branch=onnx.GraphProto()
        )
        graph = helper.make_graph([node], f"g{level}", [], [helper.make_empty_tensor_value_info(f"level{level}")])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    model.graph.node.extend(graph.node)
