"""Makes a model of one node alone, for evaluators and for ONNX's shape inference."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

__all__ = ["model_of_node"]


def model_of_node(node: ir.Node, inputs: Sequence[str], outputs: Sequence[str], opset: int) -> onnx.ModelProto:
    """Make a model of the node, with other names for what it reads and makes.

    Args:
        node: of ONNX's own domain.
        inputs: a name for each, empty where it is left out; one name twice is one value.
        outputs: a name for each, empty where it is left out.
        opset: the version of the standard operators that defines it.
    """
    proto = ir.serde.serialize_node(node)
    del proto.input[:], proto.output[:]
    proto.input.extend(inputs)
    proto.output.extend(outputs)
    given, made = (
        [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name] for names in (inputs, outputs)
    )
    graph = onnx.helper.make_graph([proto], "one", given, made)
    version = min(opset, onnx.defs.onnx_opset_version())
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
