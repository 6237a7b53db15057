"""Types of tensors: CastLike takes one from a value, definitions of operators name them."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["settle_casts", "type_string"]


def settle_casts(graph: ir.Graph) -> bool:
    """Every CastLike of the graph whose type is known becomes a Cast; tells whether there was one.

    What it makes of a constant then is a constant: PyTorch's dynamo exporter writes one around every number.
    """
    modified = False
    for node in graph:
        if node.op_type != "CastLike" or node.domain not in ("", "ai.onnx") or len(node.inputs) != 2:
            continue
        like = node.inputs[1]
        if like is None or like.dtype is None or not _rounds_as_cast(node):
            continue
        node.op_type = "Cast"
        node.attributes["to"] = ir.AttrInt64("to", int(like.dtype))
        node.resize_inputs(1)
        modified = True
    return modified


def _rounds_as_cast(node: ir.Node) -> bool:
    # Where nothing rounds, runtimes do not look at what CastLike says of it; at Cast they do.
    mode = node.attributes.get("round_mode")
    return mode is None or mode.value in ("up", "down", "nearest")


def type_string(dtype: ir.DataType) -> str:
    """As ONNX's definitions of operators name the type of a tensor, such as "tensor(float)"."""
    return f"tensor({dtype.name.lower()})"
