"""Changes to a model after which it is another one that most likely still runs: what people and tools do to models."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.defs import OpSchema

from onnxnorm.validate.attributes import SWITCHES

__all__ = ["altered"]

_REALS = (TensorProto.FLOAT, TensorProto.DOUBLE)
# Each of a group takes what the others take.
_ALIKE = (
    ("Add", "Sub", "Mul", "Div"),
    ("Max", "Min", "Sum", "Mean", "Add"),
    ("Relu", "Identity", "Neg", "Abs", "Sigmoid", "Tanh", "Exp", "Softplus", "Sqrt", "Reciprocal"),
    ("MaxPool", "AveragePool", "LpPool"),
    ("GlobalAveragePool", "GlobalMaxPool"),
    ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ReduceSumSquare"),
    ("LeakyRelu", "Elu", "ThresholdedRelu"),
    ("Softmax", "LogSoftmax", "Hardmax"),
)


def altered(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """A copy with one to five changes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    alteration = _Alteration(copy, random.Random(seed))
    for _ in range(alteration.source.choice([1, 2, 3, 5])):
        alteration.source.choice(_CHANGES)(alteration)
    return copy


class _Alteration:
    """A model in the making. Each change leaves it alone where there is nothing to change."""

    def __init__(self, model: onnx.ModelProto, source: random.Random) -> None:
        self.model = model
        self.graph = model.graph
        self.source = source

    def types(self) -> dict[str, tuple[int, tuple[int | None, ...]]]:
        """Element types and extents of values, as far as they can be told."""
        try:
            graph = onnx.shape_inference.infer_shapes(self.model).graph
        except Exception:
            return {}
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim),
            )
            for value in (*graph.value_info, *graph.input, *graph.output)
        }

    def replace_nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(kept)

    def put_behind(self, place: int, made: str, nodes: Sequence[onnx.NodeProto]) -> None:
        """Put nodes, of which the last makes `made`, behind the one that makes it now and is to make `made`_before."""
        outputs = self.graph.node[place].output
        outputs[list(outputs).index(made)] = f"{made}_before"
        everything = list(self.graph.node)
        self.replace_nodes([*everything[: place + 1], *nodes, *everything[place + 1 :]])

    def constants(self, *elements: int) -> list[onnx.TensorProto]:
        return [tensor for tensor in self.graph.initializer if tensor.data_type in elements and 0 not in tensor.dims]

    def computed(self) -> tuple[int, str, int, tuple[int | None, ...]] | None:
        """A real value that a node of the graph makes: place of the node, name, element type, extents."""
        place = self.source.randrange(len(self.graph.node))
        name = self.source.choice([*self.graph.node[place].output] or [""])
        element, extents = self.types().get(name, (0, ()))
        if element not in _REALS or any(f"{name}_before" in node.output for node in self.graph.node):
            return None
        return place, name, element, extents

    def rewire(self) -> None:
        """An input becomes an earlier value of the same type and shape."""
        place = self.source.randrange(len(self.graph.node))
        node, types = self.graph.node[place], self.types()
        before = [name for node in list(self.graph.node)[:place] for name in node.output]
        before += [value.name for value in self.graph.input]
        if not node.input:
            return
        index = self.source.randrange(len(node.input))
        wanted = types.get(node.input[index])
        fitting = [name for name in before if wanted is not None and types.get(name) == wanted]
        if fitting:
            node.input[index] = self.source.choice(fitting)

    def share(self) -> None:
        """Two constants of one type and shape become one."""
        pairs = [
            (one, other)
            for one in self.graph.initializer
            for other in self.graph.initializer
            if one is not other and one.data_type == other.data_type and list(one.dims) == list(other.dims)
        ]
        if pairs:
            one, other = self.source.choice(pairs)
            for node in self.graph.node:
                for index, name in enumerate(node.input):
                    if name == other.name:
                        node.input[index] = one.name

    def integer(self, name: str, old: int = 0) -> int:
        return self.source.choice([0, 1] if name in SWITCHES else [0, 1, -1, 2, -2, 3, old + 1])

    def change_attribute(self) -> None:
        kinds = (AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT)
        found = [attribute for node in self.graph.node for attribute in node.attribute if attribute.type in kinds]
        if not found:
            return
        attribute = self.source.choice(found)
        if attribute.type == AttributeProto.INT:
            attribute.i = self.integer(attribute.name, attribute.i)
        elif attribute.type == AttributeProto.FLOAT:
            attribute.f = self.source.choice([0.0, 1.0, -1.0, 0.5, 2.0, 1e-3, -0.25])
        elif attribute.ints:
            attribute.ints[self.source.randrange(len(attribute.ints))] = self.source.choice([0, 1, 2, 3, -1])

    def add_attribute(self) -> None:
        node = self.source.choice(self.graph.node)
        try:
            schema = onnx.defs.get_schema(node.op_type, self.model.opset_import[0].version, "")
        except onnx.defs.SchemaError:
            return
        present = {attribute.name for attribute in node.attribute}
        kinds = (OpSchema.AttrType.INT, OpSchema.AttrType.FLOAT)
        missing = [name for name, a in schema.attributes.items() if name not in present and a.type in kinds]
        if missing:
            name = self.source.choice(missing)
            whole = schema.attributes[name].type == OpSchema.AttrType.INT
            value = self.integer(name) if whole else self.source.choice([0.5, 2.0, -1.0, 0.0])
            node.attribute.append(helper.make_attribute(name, value))

    def change_operator(self) -> None:
        node = self.source.choice(self.graph.node)
        for group in _ALIKE:
            if node.op_type in group:
                node.op_type = self.source.choice(group)
                return

    def change_opset(self) -> None:
        self.model.opset_import[0].version = self.source.choice([9, 11, 12, 13, 15, 17, 18, 20, 21, 22])

    def change_numbers(self) -> None:
        tensors = self.constants(*_REALS)
        if not tensors:
            return
        tensor = self.source.choice(tensors)
        array = numpy_helper.to_array(tensor).copy()
        kind = self.source.choice(["one", "negated", "zeros", "ones", "scaled"])
        if kind == "one":
            array.flat[self.source.randrange(array.size)] = self.source.choice([0.0, -1.0, 1.0, -3.0])
        elif kind in ("zeros", "ones"):
            array[...] = kind == "ones"
        else:
            array *= -1.0 if kind == "negated" else self.source.choice([10.0, 0.1, 2.0])
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    def change_integers(self) -> None:
        tensors = self.constants(TensorProto.INT64)
        if tensors:
            tensor = self.source.choice(tensors)
            array = numpy_helper.to_array(tensor).copy()
            array.flat[self.source.randrange(array.size)] = self.source.choice([0, 1, 2, -1, -2, 3])
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    def change_rank(self) -> None:
        """A constant gets an axis more or less, or becomes one number."""
        tensors = self.constants(*_REALS)
        if not tensors:
            return
        tensor = self.source.choice(tensors)
        array = numpy_helper.to_array(tensor)
        kind = self.source.choice(["front", "back", "less", "one"])
        if kind == "front":
            array = array[None]
        elif kind == "back":
            array = array.reshape((*array.shape, 1))
        elif kind == "one":
            array = np.full((1,) * array.ndim, array.flat[0])
        elif array.ndim and array.shape[0] == 1:
            array = array[0]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))

    def give_out(self) -> None:
        """An inner value becomes an output as well."""
        found = self.computed()
        if found is not None and found[1] not in {value.name for value in self.graph.output}:
            self.graph.output.append(helper.make_tensor_value_info(found[1], found[2], None))

    def give_back(self) -> None:
        """An input or a constant is given out as it is."""
        values = [*self.graph.input, *self.graph.initializer]
        present = {value.name for value in self.graph.output}
        fitting = [value for value in values if value.name not in present]
        if fitting:
            value = self.source.choice(fitting)
            element = value.data_type if isinstance(value, TensorProto) else value.type.tensor_type.elem_type
            self.graph.output.append(helper.make_tensor_value_info(value.name, element, None))

    def make_node_of_constant(self) -> None:
        tensors = self.constants(*_REALS, TensorProto.INT64)
        given = {value.name for value in (*self.graph.input, *self.graph.output)}
        tensors = [tensor for tensor in tensors if tensor.name not in given]
        if tensors:
            tensor = self.source.choice(tensors)
            node = helper.make_node("Constant", [], [tensor.name], value=tensor)
            self.graph.initializer.remove(tensor)
            self.replace_nodes([node, *self.graph.node])

    def do_twice(self) -> None:
        """A node is there twice, with the same constants, and one reader has the second."""
        place = self.source.randrange(len(self.graph.node))
        node = self.graph.node[place]
        readers = [
            (reader, index)
            for reader in list(self.graph.node)[place + 1 :]
            for index, name in enumerate(reader.input)
            if name and name in node.output
        ]
        made = {name for each in self.graph.node for name in each.output}
        if not readers or any(f"{name}_again" in made for name in node.output):
            return
        reader, index = self.source.choice(readers)
        reader.input[index] = f"{reader.input[index]}_again"
        again = onnx.NodeProto.FromString(node.SerializeToString())
        again.name = ""
        again.output[:] = [f"{name}_again" if name else "" for name in node.output]
        nodes = list(self.graph.node)
        self.replace_nodes([*nodes[: place + 1], again, *nodes[place + 1 :]])

    def let_override(self) -> None:
        """A constant becomes an input with a default."""
        given = {value.name for value in self.graph.input}
        tensors = [tensor for tensor in self.graph.initializer if tensor.name not in given]
        if tensors:
            tensor = self.source.choice(tensors)
            self.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))

    def go_round(self) -> None:
        """A value is transposed, sent through an operator for each element, and transposed back."""
        found = self.computed()
        if found is None or not found[3]:
            return
        place, name, _, extents = found
        order = list(range(len(extents)))
        self.source.shuffle(order)
        back = [order.index(axis) for axis in range(len(order))]
        op_type = self.source.choice(["Identity", "Relu", "Neg", "Sigmoid", "Dropout", "Abs"])
        steps = [f"{name}_{step}" for step in ("before", "turned", "changed")]
        nodes = [
            helper.make_node("Transpose", steps[:1], steps[1:2], perm=order),
            helper.make_node(op_type, steps[1:2], steps[2:]),
            helper.make_node("Transpose", steps[2:], [name], perm=back),
        ]
        self.put_behind(place, name, nodes)

    def normalize(self) -> None:
        """A BatchNormalization is put behind a value."""
        found = self.computed()
        if found is None or len(found[3]) < 2 or not found[3][1]:
            return
        place, name, element, extents = found
        channels = extents[1] or 0
        numbers = np.random.default_rng(self.source.randrange(2**32))
        limits = {"scale": (-2.0, 2.0), "bias": (-1.0, 1.0), "mean": (-1.0, 1.0), "variance": (0.3, 2.0)}
        dtype = helper.tensor_dtype_to_np_dtype(element)
        inputs = [f"{name}_before"]
        for role, (low, high) in limits.items():
            array = numbers.uniform(low, high, channels).astype(dtype)
            self.graph.initializer.append(numpy_helper.from_array(array, f"{name}_{role}"))
            inputs.append(f"{name}_{role}")
        self.put_behind(place, name, [helper.make_node("BatchNormalization", inputs, [name], epsilon=1e-3)])

    def change_extent(self) -> None:
        """An input or output gets another extent, or one that is open; what was said of inner values stays said."""
        try:
            self.model.CopyFrom(onnx.shape_inference.infer_shapes(self.model, data_prop=True))
        except Exception:
            return
        given = {tensor.name for tensor in self.graph.initializer}
        values = [*self.graph.input, *self.source.choice([(), self.graph.output, self.graph.value_info])]
        shapes = [value.type.tensor_type.shape for value in values if value.name not in given]
        shapes = [shape for shape in shapes if shape.dim]
        if not shapes:
            return
        dims = self.source.choice(shapes).dim
        dim = dims[self.source.choice([0, self.source.randrange(len(dims))])]
        dim.Clear()
        if self.source.random() < 0.3:
            dim.dim_param = "N"
        else:
            dim.dim_value = self.source.choice([1, 2, 3, 4, 5, 8])


_CHANGES = (
    *[_Alteration.rewire] * 3,
    *[_Alteration.change_attribute, _Alteration.change_operator, _Alteration.go_round, _Alteration.normalize] * 2,
    *[_Alteration.change_extent] * 2,
    _Alteration.add_attribute,
    _Alteration.change_integers,
    _Alteration.change_numbers,
    _Alteration.change_opset,
    _Alteration.change_rank,
    _Alteration.do_twice,
    _Alteration.do_twice,
    _Alteration.give_back,
    _Alteration.give_out,
    _Alteration.let_override,
    _Alteration.make_node_of_constant,
    _Alteration.share,
)
