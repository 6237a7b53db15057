"""Every operator of the standard, with attributes and inputs at random, beside a BatchNormalization.

    python -m fuzz operators [--minutes 60] [--seed 0] [--jobs 2]

Nothing of it has to make sense; it must be optimized, and verified, or refused. Findings land in fuzz/findings/, from
where the tests run them for ever after; the exit code is 1 where there are any.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.defs import OpSchema

from fuzz.harness.limits import limited, survives
from fuzz.harness.processes import CURRENT, arguments_of, run_seeds, tell_outcome

__all__ = ["main", "model_of", "try_seed"]

_SECONDS = 120
_LARGE, _SMALL = 10**6, 10
_QUICK = 4 * 10**6  # elements that every operator works through in a second
_OPSETS = (9, 11, 13, 18, 21, 26)
_WHOLE = (0, 1, -1, 2, -2, 3, -3, 5, -7, 100, 2**31, -(2**31), 2**62, -(2**62), -(2**63))
_REAL = (0.0, 1.0, -1.0, 0.5, 1e38, float("inf"), float("nan"))
_TEXTS = ("", "SAME_UPPER", "VALID", "linear", "constant", "bij,bjk->bik", "b...->...", "->", "tf_crop_and_resize")
_NAMES = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})


def model_of(seed: int) -> onnx.ModelProto | None:
    """A model around a node of the operator whose turn it is; None where its opset has no such operator."""
    source = random.Random(seed)
    opset = source.choice(_OPSETS)
    try:
        schema = onnx.defs.get_schema(_NAMES[seed % len(_NAMES)], opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else _Builder(schema, opset, source).model()


class _Builder:
    def __init__(self, schema: OpSchema, opset: int, source: random.Random) -> None:
        self.schema = schema
        self.opset = opset
        self.source = source
        self.numbers = np.random.default_rng(source.randrange(2**32))
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        least, most = self.schema.min_input, self.schema.max_input
        inputs = [self.operand(place) for place in range(self.source.randint(least, min(most, least + 3)))]
        least, most = max(1, self.schema.min_output), max(1, self.schema.max_output)
        outputs = [f"o{place}" for place in range(self.source.randint(least, min(most, least + 1)))]
        node = helper.make_node(self.schema.name, inputs, outputs, name="node")
        node.attribute.extend(self.attributes())
        self.nodes.append(node)
        if self.source.random() < 0.5:
            self.norm(outputs[0], "y")
            outputs.append("y")
        graph = helper.make_graph(
            self.nodes, "operator", self.inputs, [onnx.ValueInfoProto(name=name) for name in outputs], self.constants
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("own", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def norm(self, value: str, made: str) -> None:
        channels, names = self.source.choice([1, 2, 3, 4]), [f"{made}_{place}" for place in range(4)]
        for name in names:
            self.constants.append(
                numpy_helper.from_array(self.numbers.uniform(0.5, 2, channels).astype(np.float32), name)
            )
        self.nodes.append(helper.make_node("BatchNormalization", [value, *names], [made]))

    def operand(self, place: int) -> str:
        """A constant, an input, what a BatchNormalization makes of it, or a value of which nothing is known."""
        name = f"i{place}"
        types = self.schema.inputs[min(place, len(self.schema.inputs) - 1)].types if self.schema.inputs else ()
        element = TensorProto.FLOAT if "tensor(float)" in types else TensorProto.INT64
        if "tensor(int64)" in types and self.source.random() < 0.5:
            element = TensorProto.INT64
        rank, kind = self.source.choice([0, 1, 1, 2, 3, 4, 5]), self.source.random()
        if kind < 0.1:
            self.nodes.append(helper.make_node("Unheard", [], [name], domain="own"))
        elif kind < 0.5:
            shape = [self.source.choice([0, 1, 2, 3, 4]) for _ in range(rank)]
            array = np.asarray(self.numbers.normal(size=shape), np.float32)
            if element == TensorProto.INT64:
                few = [self.whole() for _ in range(array.size)]
                array = np.array(few, np.int64).reshape(shape)
            self.constants.append(numpy_helper.from_array(array, name))
        else:
            odd = (0, 7, "n", None, -1, 2**31, 2**62, _LARGE)
            dims = [self.source.choice(odd if self.source.random() < 0.2 else (1, 2, 3, 4)) for _ in range(rank)]
            shape = None if self.source.random() < 0.1 else _quick(dims)
            self.inputs.append(helper.make_tensor_value_info(name, element, shape))
            if element == TensorProto.FLOAT and self.source.random() < 0.4:
                self.norm(name, f"n{place}")
                return f"n{place}"
        return name

    def whole(self) -> int:
        return self.source.choice(_WHOLE if self.source.random() < 0.5 else (0, 1, 2))

    def attributes(self) -> list[AttributeProto]:
        found = []
        for name, schema in self.schema.attributes.items():
            if not schema.required and self.source.random() < 0.5:
                continue
            attribute = AttributeProto(name=name, type=int(schema.type.value))
            length = self.source.choice([0, 1, 2, 3, 4])
            if schema.type == OpSchema.AttrType.INT:
                attribute.i = self.whole()
            elif schema.type == OpSchema.AttrType.INTS:
                attribute.ints.extend(self.whole() for _ in range(length))
            elif schema.type == OpSchema.AttrType.FLOAT:
                attribute.f = self.source.choice(_REAL)
            elif schema.type == OpSchema.AttrType.FLOATS:
                attribute.floats.extend(self.source.choice(_REAL) for _ in range(length))
            elif schema.type == OpSchema.AttrType.STRING:
                attribute.s = self.source.choice(_TEXTS).encode()
            elif schema.type == OpSchema.AttrType.STRINGS:
                attribute.strings.extend([b"a"] * length)
            elif schema.type == OpSchema.AttrType.TENSOR:
                attribute.t.CopyFrom(helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]))
            else:
                continue
            found.append(attribute)
        return found


def _quick(dims: list[int | str | None]) -> list[int | str | None]:
    """The extents, the large one made small where the tensor fits into memory but takes minutes to compute with."""
    size = math.prod(dim for dim in dims if isinstance(dim, int) and dim > 0)
    return [_SMALL if dim == _LARGE and size > _QUICK else dim for dim in dims]


def try_seed(seed: int, folder: Path) -> bool:
    """Put the model of this seed through the toolkit; tells whether it was optimized."""
    model = model_of(seed)
    if model is None:
        return False
    data = model.SerializeToString()
    (folder / CURRENT).write_bytes(data)
    # Each operator is verified every other time.
    with limited(_SECONDS):
        return survives(data, folder, verify=bool(seed // len(_NAMES) % 2))


def main() -> int:
    counts = run_seeds(try_seed, arguments_of(__doc__).parse_args(), "operator")
    return tell_outcome(counts, "nodes")
