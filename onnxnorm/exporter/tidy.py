"""Makes of the exporter's raw graph one that a person can read: constants folded, names kept, plain shapes.

It works on the exporter's `onnx_ir.Model` in place. BatchNormalizations are never folded into their neighbours here;
that is the work of `onnxnorm.fold`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import onnxscript.optimizer
from onnx_ir.passes import common

from onnxnorm.exporter.messages import SCOPES
from onnxnorm.graph.edit import rename_initializer
from onnxnorm.model.names import fresh_name

__all__ = ["clean"]

_LAYOUT_OPS = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
_KEPT_METADATA = frozenset({SCOPES, "pkg.torch.onnx.class_hierarchy"})

# Folding makes no file larger by more than a small table; otherwise weights of any size are folded.
_LARGEST_GROWTH = 2**14
_ANY_SIZE = 2**62
_GROWING_OPS = frozenset({"ConstantOfShape", "EyeLike", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile"})


def clean(model: ir.Model, between: Callable[[ir.Model], object] = lambda model: None) -> None:
    """Tidy a freshly exported model: see the functions below, one for each step.

    `between` may change the graph once its constants are folded and its shapes known, before nodes get their names.
    """
    origins = _views_of_initializers(model.graph)
    _make_reshapes_constant(model.graph)
    onnxscript.optimizer.fold_constants(
        model, input_size_limit=_ANY_SIZE, output_size_limit=_ANY_SIZE, should_fold=_foldable
    )
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.IdentityEliminationPass()(model)
    _separate_outputs(model.graph)
    common.RemoveUnusedNodesPass()(model)
    common.ShapeInferencePass()(model)
    between(model)
    _give_back_names(model.graph, origins)
    _name_outputs(model.graph)
    _name_nodes(model.graph)
    _drop_notes(model)


def _foldable(node: ir.Node) -> bool | None:
    """Return False where folding would make the model larger, else None: the folder's own rules decide."""
    made = _elements(node.outputs[0])
    if made is None:
        return False if node.op_type in _GROWING_OPS else None
    given = sum(_elements(value) or 0 for value in node.inputs if value is not None)
    return False if made > max(given, _LARGEST_GROWTH) else None


def _elements(value: ir.Value) -> int | None:
    shape = value.const_value.shape if value.const_value is not None else value.shape
    if shape is None:
        return None
    lengths: list[int] = [d for d in shape if isinstance(d, int)]
    return math.prod(lengths) if len(lengths) == len(list(shape)) else None


def _views_of_initializers(graph: ir.Graph) -> dict[str, str]:
    """Map the names of values that only lay out a parameter anew to the parameter's name."""
    origins: dict[str, str] = {}
    for node in graph:
        if node.op_type not in _LAYOUT_OPS or node.domain:
            continue
        source = node.inputs[0]
        if source is None or source.name is None:
            continue
        origin = source.name if source.is_initializer() else origins.get(source.name)
        name = node.outputs[0].name
        if origin is not None and name is not None:
            origins[name] = origin
    return origins


def _give_back_names(graph: ir.Graph, origins: dict[str, str]) -> None:
    """Give parameters that were only laid out anew their names back."""
    for name, origin in origins.items():
        value = graph.initializers.get(name)
        if value is None or origin in graph.initializers:
            continue
        rename_initializer(graph, value, origin)


def _make_reshapes_constant(graph: ir.Graph) -> None:
    """Give each Reshape with one open dimension a constant shape with -1 in its place.

    The exporter builds such a shape at run time from Shape, Squeeze and Concat. The two are the same wherever no other
    dimension is zero, since a Reshape keeps the number of elements.
    """
    for node in graph:
        shape = node.outputs[0].shape
        if node.op_type != "Reshape" or node.domain or shape is None:
            continue
        dims = list(shape)
        fixed = [d for d in dims if isinstance(d, int)]
        if len(dims) - len(fixed) > 1 or 0 in fixed:
            continue
        target = np.array([d if isinstance(d, int) else -1 for d in dims], dtype=np.int64)
        value = ir.Value(name=_unused_name(graph, f"{node.outputs[0].name}_shape"))
        value.const_value = ir.tensor(target, name=value.name)
        value.type, value.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([len(dims)])
        graph.initializers[value.name] = value  # type: ignore[index]
        node.replace_input_with(1, value)
        node.attributes.pop("allowzero", None)


def _unused_name(graph: ir.Graph, wish: str) -> str:
    return fresh_name(wish, set(_value_names(graph)))


def _value_names(graph: ir.Graph) -> Iterator[str]:
    for value in (*graph.inputs, *graph.initializers.values()):
        yield value.name or ""
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for value in node.outputs:
            yield value.name or ""


def _separate_outputs(graph: ir.Graph) -> None:
    """Give an output that is an input, a parameter or another output too a node of its own: runtimes expect that."""
    seen: set[int] = set()
    for i, value in enumerate(graph.outputs):
        if value.producer() is None or id(value) in seen:
            node = ir.node("Identity", [value])
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.append(node)
            graph.outputs[i] = node.outputs[0]
        seen.add(id(value))


def _name_outputs(graph: ir.Graph) -> None:
    """Name the outputs `output`, or `output_0`, `output_1`, ...

    The exporter's names are those of the last operators.
    """
    for i, value in enumerate(graph.outputs):
        value.name = _unused_name(graph, "output" if len(graph.outputs) == 1 else f"output_{i}")


def _name_nodes(graph: ir.Graph) -> None:
    """Name each node after the module it came from, such as `layer1.0.bn1/BatchNormalization`."""
    taken: set[str] = set()
    for node in ir.traversal.RecursiveGraphIterator(graph):
        module = _module_of(node)
        wish = f"{module}/{node.op_type}" if module else node.op_type
        node.name = fresh_name(wish, taken)


def _module_of(node: ir.Node) -> str:
    """Return the path of a node's module.

    The exporter's note reads "['', 'layer1', 'layer1.0', 'relu']", from the root.
    """
    try:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    except (SyntaxError, ValueError):
        return ""
    module = scopes[-2] if isinstance(scopes, list) and len(scopes) >= 2 else ""
    return "" if str(module).startswith("_empty") else str(module)


def _drop_notes(model: ir.Model) -> None:
    """Drop the exporter's debugging notes, which hold stack traces of the machine it ran on.

    The notes on where a node came from stay.
    """
    model.graph.metadata_props.clear()
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for key in [k for k in node.metadata_props if k not in _KEPT_METADATA]:
            del node.metadata_props[key]
        for value in node.outputs:
            value.metadata_props.clear()
        if node.op_type == "BatchNormalization":
            node.attributes.pop("momentum", None)
            if node.attributes.get_int("training_mode", 0) == 0:
                node.attributes.pop("training_mode", None)
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
