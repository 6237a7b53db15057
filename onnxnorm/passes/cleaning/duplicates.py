"""Merges nodes that compute what another node computes, and large initializers that hold what another holds.

Before: two nodes of one graph with the same operator, attributes and operands; small constants are the same where their
bits are. After: the first of them, which all readers of both read.
onnx-ir's CommonSubexpressionEliminationPass looks at the main graph alone, takes 0.0 and -0.0 for the same attribute,
merges whatever is in a custom domain, stateful or not, and what runtimes run as one node; its pass for initializers
holds the bytes of all of them at once. Hence these rules.
Conditions: operators of ONNX's own domain that are functions of their operands, without subgraphs. No node of a unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.edit import set_inputs
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.size_budget import HEAD, bits_of
from onnxnorm.journal.words import naming_node, say
from onnxnorm.model.walk import bytes_of, subgraphs_of, tensor_in
from onnxnorm.passes.cleaning.site import Site

__all__ = ["merge_duplicates", "merge_initializers"]

_NOT_MERGED = frozenset(
    {
        # Another result at each inference.
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        # Runtimes want one for each reader.
        "DequantizeLinear",
        # Nothing is gained: names of outputs, and constants, which are merged as such.
        "Constant", "Identity",
        # Weights written by their one element: a fold into one of two readers would copy what they share.
        "ConstantOfShape",
    }
)  # fmt: skip
_MAY_TRAIN = frozenset({"BatchNormalization", "Dropout"})
_SMALL = 256
# Below that nothing is gained, and the names that people know are worth more.
_LARGE = 1024


def merge_duplicates(graph: ir.Graph, site: Site) -> list[tuple[ir.Node, str, str]]:
    """Merge the nodes of one graph; return those that went, of which type they were, and why they went."""
    first: dict[object, ir.Node] = {}
    done: list[tuple[ir.Node, str, str]] = []
    for node in list(graph):
        key = _key(node, site.facts)
        if key is None:
            continue
        other = first.setdefault(key, node)
        if other is node or node in site.units or other in site.units:
            continue
        op_type = node.op_type
        if _merge(node, other, graph):
            done.append((node, op_type, say("computes what {} computes", naming_node(other))))
    return done


def _key(node: ir.Node, facts: Facts) -> object | None:
    if not is_standard(node) or node.op_type in _NOT_MERGED or not node.inputs or any(subgraphs_of(node)):
        return None
    if node.op_type in _MAY_TRAIN and (node.attributes.get_int("training_mode", False) or len(node.outputs) > 1):
        return None
    if node.op_type == "Dropout" and len(node.inputs) > 2:
        return None
    attributes = [_key_of_attribute(attribute) for attribute in node.attributes.values()]
    if None in attributes:
        return None
    outputs = tuple(bool(value.name) for value in node.outputs)
    operands = tuple(_key_of_operand(value, facts) for value in node.inputs)
    return node.op_type, node.overload, node.version, outputs, frozenset(attributes), operands


def _key_of_attribute(attribute: ir.Attr) -> object | None:
    if attribute.is_ref():
        return None
    kind, value = attribute.type, attribute.value
    if kind is ir.AttributeType.TENSOR:
        tensor = tensor_in(attribute)
        if tensor.dtype is ir.DataType.STRING or bytes_of(tensor) > _SMALL:
            return None
        return attribute.name, tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()
    if kind is ir.AttributeType.FLOAT:
        return attribute.name, float(value).hex()
    if kind is ir.AttributeType.FLOATS:
        return attribute.name, tuple(float(number).hex() for number in value)
    if kind in (ir.AttributeType.INTS, ir.AttributeType.STRINGS):
        return attribute.name, tuple(value)
    return (attribute.name, value) if kind in (ir.AttributeType.INT, ir.AttributeType.STRING) else None


def _key_of_operand(value: ir.Value | None, facts: Facts) -> object:
    tensor = None if value is None else value.const_value
    if value is None or tensor is None or not value.is_initializer() or facts.overridable(value):
        return value
    if not 0 < bytes_of(tensor) <= _SMALL:
        return value
    return tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()


def _merge(node: ir.Node, other: ir.Node, graph: ir.Graph) -> bool:
    if any(value.is_graph_output() for value in node.outputs):
        if len(node.outputs) > 1 or any(user.op_type == "Identity" for user in node.outputs[0].consumers()):
            return False
        if other.outputs[0].is_graph_output():
            node.op_type, node.overload = "Identity", ""
            node.attributes.clear()
            set_inputs(node, other.outputs[:1])
            return True
    for mine, kept in zip(node.outputs, other.outputs, strict=True):
        name, is_output = mine.name, mine.is_graph_output()
        if mine.shape is not None and (is_output or kept.shape is None):
            kept.shape = mine.shape
        mine.replace_all_uses_with(kept, replace_graph_outputs=True)
        if is_output:
            mine.name, kept.name = None, name
    graph.remove(node, safe=True)
    return True


def merge_initializers(graphs: Iterable[ir.Graph], facts: Facts) -> int:
    """Keep one of the large initializers of each graph that are the same bit for bit; return how many went.

    Weights that lie in files are read whole only where their type, shape and first bytes agree.
    """
    gone = 0
    for graph in graphs:
        alike: dict[object, list[ir.Value]] = {}
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or value.is_graph_output() or value.is_graph_input() or bytes_of(tensor) < _LARGE:
                continue
            if tensor.dtype is not ir.DataType.STRING:
                alike.setdefault((tensor.dtype, tuple(tensor.shape.numpy())), []).append(value)
        for values in _agreeing(alike.values(), lambda value: _bits_in(value)[:HEAD].tobytes()):
            for same in _agreeing([values], lambda value: hashlib.sha256(_bits_in(value).data).digest()):
                kept, *others = same
                for value in others:
                    assert value.name is not None
                    value.replace_all_uses_with(kept)
                    del graph.initializers[value.name]
                    gone += 1
    return gone


def _agreeing(groups: Iterable[list[ir.Value]], key: Callable[[ir.Value], bytes]) -> Iterator[list[ir.Value]]:
    """Yield the parts of each group, of two and more values, whose keys are the same."""
    for group in groups:
        parts: dict[bytes, list[ir.Value]] = {}
        for value in group if len(group) > 1 else ():
            parts.setdefault(key(value), []).append(value)
        yield from (part for part in parts.values() if len(part) > 1)


def _bits_in(value: ir.Value) -> npt.NDArray[np.uint8]:
    assert value.const_value is not None
    return bits_of(value.const_value)
