"""Writes what is known of a model when its file is written as plainly as the oldest runtimes read it.

Before: CastLike, `auto_pad`, nodes that hold a constant, two nodes of one name. After: Cast, `pads`, initializers, and
names that are unique. Nothing of it changes a result.
Conditions: a CastLike whose type is known; `auto_pad` of convolutions and pools where the stride is 1 or the extents
are known; constants of the main graph become initializers, those of subgraphs hold a tensor from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxnorm.graph.constant_nodes import tensor_of_constant_node
from onnxnorm.graph.edit import settle_casts
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.windows import read_window
from onnxnorm.model.names import name_apart
from onnxnorm.model.walk import graphs_of, graphs_within

__all__ = ["make_plain"]

# The operators whose `auto_pad` is resolved, with the place of the weight that says how large their window is.
_PADDED = {"AveragePool": None, "Conv": 1, "ConvInteger": 1, "LpPool": None, "MaxPool": None, "QLinearConv": 3}
_LOOSE_INITIALIZERS = 4
"""The IR version from which an initializer need not be an input."""


def make_plain(model: ir.Model, facts: Facts) -> bool:
    """Write everything as plainly as it can be; tell whether anything changed."""
    modified = False
    for graph in graphs_within(model.graph):
        modified |= settle_casts(graph)
        for node in list(graph):
            if not is_standard(node):
                continue
            if node.op_type in _PADDED:
                modified |= _say_pads(node, facts)
            elif node.op_type == "Constant" and (tensor := tensor_of_constant_node(node)) is not None:
                if graph is not model.graph or (model.ir_version or 0) < _LOOSE_INITIALIZERS:
                    modified |= _hold(node, tensor)
                else:
                    modified |= _lift(node, graph, tensor) or _hold(node, tensor)
    return name_apart(node for graph in graphs_of(model) for node in graph) or modified


def _hold(node: ir.Node, tensor: ir.TensorProtocol) -> bool:
    """Write numbers as a tensor."""
    if "value" in node.attributes:
        return False
    node.attributes.clear()
    node.attributes["value"] = ir.AttrTensor("value", tensor)
    return True


def _lift(node: ir.Node, graph: ir.Graph, tensor: ir.TensorProtocol) -> bool:
    """Make an initializer of a constant; one that the graph gives as its output stays a node."""
    (value,) = node.outputs
    if value.is_graph_output() or not value.name or value.name in graph.initializers:
        return False
    # The tensor may be that of the model that was given, which keeps its name.
    own = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
    held = ir.Value(name=value.name, shape=ir.Shape(own.shape.numpy()), type=ir.TensorType(own.dtype), const_value=own)
    value.replace_all_uses_with(held)
    graph.remove(node, safe=True)
    graph.register_initializer(held)
    return True


def _say_pads(node: ir.Node, facts: Facts) -> bool:
    """Write the pads that `auto_pad` stands for."""
    auto = node.attributes.get("auto_pad")
    if auto is None or auto.is_ref() or "pads" in node.attributes:
        return False
    mode = auto.as_string()
    if mode == "NOTSET":
        del node.attributes["auto_pad"]
        return True
    kernel = _kernel_of(node, facts)
    # A pool that rounds its extents up may have a window more than the pads say.
    if kernel is None or _whole(node, "ceil_mode") or not mode.startswith(("SAME_", "VALID")):
        return False
    if mode == "VALID":
        del node.attributes["auto_pad"]
        return True
    window, x = read_window(node, kernel), node.inputs[0]
    shape = None if x is None else facts.shape(x)
    padding = None if window is None else window.padding_on(() if shape is None else shape[2:])
    if padding is None:
        return False
    pads = [*(before for before, _ in padding), *(behind for _, behind in padding)]
    del node.attributes["auto_pad"]
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return True


def _whole(node: ir.Node, name: str) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None or attribute.is_ref() else attribute.as_int()


def _kernel_of(node: ir.Node, facts: Facts) -> Sequence[int] | None:
    attribute = node.attributes.get("kernel_shape")
    if attribute is not None:
        return None if attribute.is_ref() else list(attribute.as_ints())
    place = _PADDED[node.op_type]
    weight = None if place is None or len(node.inputs) <= place else node.inputs[place]
    shape = None if weight is None else facts.shape(weight)
    if shape is None or not all(isinstance(dim, int) for dim in shape[2:]):
        return None
    return [dim for dim in shape[2:] if isinstance(dim, int)]
