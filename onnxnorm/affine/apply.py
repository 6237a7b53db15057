"""Applies a region: new constants are computed and rounded first, then the graph is changed, all of it or nothing."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.added_bytes import growth_of
from onnxnorm.affine.channel import FloatArray, leading_axes_dropped
from onnxnorm.affine.integer_kernels import biases_in_full, completed, products_near
from onnxnorm.affine.interface import Constant, Edit, Scaling
from onnxnorm.affine.parties import Outside, owner_of_output
from onnxnorm.affine.region import Insertion, Refusal, Region
from onnxnorm.graph.edit import add_constant, add_tensor, drop_if_unused, set_inputs, splice_out
from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import Code
from onnxnorm.journal.words import naming_node, naming_value, say
from onnxnorm.numerics.rounding import Rounded, rounded, smallest_normal
from onnxnorm.numerics.scaled_weights import scaled

__all__ = ["apply"]

# Where nothing but subnormal numbers is a loss.
_FACTORS = frozenset({"weight", "scale"})


def apply(region: Region, facts: Facts) -> Refusal | None:
    """Change the graph by the edits of `region`; where a new constant does not fit its type, nothing is changed.

    Returns:
        None, or why the region cannot be applied.
    """
    if (found := completed(region, facts)) is not None:
        product, told = found
        return Refusal(say("{} {}", naming_node(product), told), Code.QUANTIZED, product.inputs[1], product)
    tensors: dict[Constant, ir.TensorProtocol] = {}
    before = facts.spool.end
    for node, edit in region.edits.items():
        for constant in edit.inputs:
            if isinstance(constant, Constant):
                rounded = _computed_and_rounded(constant, facts)
                if isinstance(rounded, str):
                    facts.spool.back_to(before)
                    owner = naming_node(node)
                    reason = say("the new {} of {} {}", constant.role, owner, rounded)
                    return Refusal(reason, Code.OUT_OF_RANGE, constant.old, node)
                tensors[constant] = rounded
    operands: list[list[npt.NDArray[np.generic]]] = []
    for insertion in region.insertions:
        rounded_operands = _operands(insertion, facts)
        if isinstance(rounded_operands, str):
            facts.spool.back_to(before)
            reason = say("what would be left at {} {}", naming_value(insertion.value), rounded_operands)
            return Refusal(reason, Code.OUT_OF_RANGE, insertion.value)
        operands.append(rounded_operands)
    growth = growth_of(region, tensors, operands, facts)
    if (refused := facts.size_budget.refusal(growth)) is not None:
        facts.spool.back_to(before)
        return Refusal(f"moving it {refused}", Code.WEIGHTS_GROW, growth=growth)
    facts.size_budget.spend(growth)
    for node in region.edits:
        facts.read_nodes.pop(node, None)
    for insertion, own in zip(region.insertions, operands, strict=True):
        _insert(insertion, own, facts)
    for node, edit in region.edits.items():
        if not edit.removed:
            _change(node, edit, tensors, facts)
    products = products_near(region)
    for node, edit in region.edits.items():
        if edit.removed:
            kept = edit.inputs[0]
            assert isinstance(kept, int)
            splice_out(node, kept)
    biases_in_full(products, facts)
    return None


def _operands(insertion: Insertion, facts: Facts) -> list[npt.NDArray[np.generic]] | str:
    """Compute the constants of the new nodes, or the one that replaces a constant value, rounded to their type."""
    value, affine = insertion.value, insertion.affine
    dtype = value.dtype
    assert dtype is not None
    constant = facts.constant(value)
    if constant is not None:
        exact = [np.asarray(constant, np.float64) * affine.scale + affine.shift]
    elif insertion.op_types == ("BatchNormalization",):
        shape = facts.shape(value)
        assert shape is not None and isinstance(shape[1], int)
        vectors = affine.along_axis(1, shape[1])
        assert vectors is not None
        exact = [*vectors, np.zeros(shape[1]), np.ones(shape[1])]
    else:
        parts: dict[str, FloatArray] = {"Mul": affine.scale, "Add": affine.shift}
        exact = [leading_axes_dropped(parts[op_type]) for op_type in insertion.op_types]
    result = []
    for array, role in zip(exact, insertion.roles, strict=True):
        rounded = _rounded(np.asarray(array, np.float64), Constant(role, partial(np.array, array), dtype), facts)
        if isinstance(rounded, str):
            return rounded
        result.append(rounded)
    return result


def _insert(insertion: Insertion, operands: list[npt.NDArray[np.generic]], facts: Facts) -> None:
    value, graph = insertion.value, insertion.value.graph
    assert graph is not None and value.dtype is not None
    # Whoever reads the graph's outputs finds the old value under the old name.
    is_output = owner_of_output(value, facts) in insertion.readers
    name = value.name or facts.fresh_name("value")
    if facts.is_constant(value):
        current = add_constant(graph, facts.fresh_name(f"{name}_folded"), operands[0], value.dtype, facts)
    else:
        current = _computed(insertion, operands, name, facts)
    if is_output:
        graph.outputs[:] = [current if output is value else output for output in graph.outputs]
        if not facts.is_constant(value):
            value.name = facts.fresh_name(f"{name}_folded")
            current.name = name
    for reader in insertion.readers:
        if isinstance(reader, Outside):
            continue
        for index, operand in enumerate(reader.inputs):
            if operand is value:
                reader.replace_input_with(index, current)


def _computed(insertion: Insertion, operands: list[npt.NDArray[np.generic]], name: str, facts: Facts) -> ir.Value:
    """Insert the insertion's nodes, with `operands` as constants, right behind its value and return their result."""
    value, graph = insertion.value, insertion.value.graph
    assert graph is not None and value.dtype is not None
    constants = [
        add_constant(graph, facts.fresh_name(f"{name}_{role}"), array, value.dtype, facts)
        for role, array in zip(insertion.roles, operands, strict=True)
    ]
    # In the body of a function constants are nodes, put at its beginning in turn: the first of them stands last.
    current, place = value, value.producer() or constants[0].producer()
    for op_type in insertion.op_types:
        own = constants if op_type == "BatchNormalization" else [constants.pop(0)]
        attributes = {"epsilon": 0.0} if op_type == "BatchNormalization" else {}
        node = ir.node(op_type, [current, *own], attributes=attributes, name=facts.fresh_name(f"{name}_{op_type}"))
        made = node.outputs[0]
        made.name, made.shape, made.type = facts.fresh_name(f"{name}_restored"), value.shape, value.type
        if place is None:
            graph.insert_before(graph[0], node)
        else:
            graph.insert_after(place, node)
        current, place = made, node
    return current


def _computed_and_rounded(constant: Constant, facts: Facts) -> ir.TensorProtocol | str:
    with np.errstate(all="ignore"):
        exact = constant.compute()
    if not isinstance(exact, Scaling):
        rounded = _rounded(np.asarray(exact, np.float64), constant, facts)
        return rounded if isinstance(rounded, str) else facts.new_tensor(rounded, constant.dtype, None)
    dtype = constant.dtype.numpy()
    room = facts.spool.room(exact.array.shape, constant.dtype)
    put = None if room is None else room.put
    product = scaled(exact.array, exact.factors, dtype, constant.channel_axis, smallest_normal(dtype), put)
    problem = _loss(product, constant, facts)
    if problem is not None:
        return problem
    if room is not None:
        return room.tensor
    assert product.array is not None
    return facts.new_tensor(product.array, constant.dtype, None)


def _rounded(exact: npt.NDArray[np.float64], constant: Constant, facts: Facts) -> npt.NDArray[np.generic] | str:
    """Round the exact float64 array to the type of `constant`, or give the reason why that loses what was there."""
    dtype = constant.dtype.numpy()
    result = rounded(exact, dtype, constant.channel_axis, smallest_normal(dtype) if constant.role in _FACTORS else 0.0)
    problem = _loss(result, constant, facts)
    assert result.array is not None
    return result.array if problem is None else problem


def _loss(result: Rounded, constant: Constant, facts: Facts) -> str | None:
    """Give the reason why the rounded constant cannot stand in for the original's; None where it can."""
    old = None if result.finite else facts.constant(constant.old)
    if not result.finite and (old is None or bool(np.isfinite(np.asarray(old, np.float64)).all())):
        return f"overflows {constant.dtype.name.lower()}"
    if result.underflows and constant.role in _FACTORS:
        return f"underflows {constant.dtype.name.lower()}"
    if result.vast and constant.role == "weight" and not _is_vast(constant, facts):
        return f"leaves no room in {constant.dtype.name.lower()} for sums of products"
    return None


def _is_vast(constant: Constant, facts: Facts) -> bool:
    old = facts.constant(constant.old)
    dtype = constant.dtype.numpy()
    return isinstance(old, np.ndarray) and rounded(old.astype(np.float64), dtype, None, smallest_normal(dtype)).vast


def _change(node: ir.Node, edit: Edit, tensors: dict[Constant, ir.TensorProtocol], facts: Facts) -> None:
    old = list(node.inputs)
    new: list[ir.Value | None] = []
    for item in edit.inputs:
        if isinstance(item, Constant):
            new.append(_new_constant(node, item, tensors[item], facts))
        else:
            new.append(None if item is None else old[item])
    if edit.op_type is not None and edit.op_type != node.op_type:
        node.op_type = edit.op_type
    for name, attribute in edit.attributes.items():
        if attribute is None:
            node.attributes.pop(name, None)
        else:
            node.attributes[name] = attribute
    set_inputs(node, new)
    if edit.op_type is not None and len(node.outputs) > 1:
        node.resize_outputs(1)
    for value in old:
        drop_if_unused(value, facts)


def _new_constant(node: ir.Node, constant: Constant, tensor: ir.TensorProtocol, facts: Facts) -> ir.Value:
    """Add a new initializer; it inherits the name of the one it replaces where nobody else reads that."""
    graph = node.graph
    assert graph is not None
    if (twin := facts.size_budget.twin(tensor, graph)) is not None:
        return twin
    old = constant.old
    if (
        old is not None
        and old.is_initializer()
        and old.graph is graph
        and not old.is_graph_output()
        and len(old.uses()) == 1
        and (not old.is_graph_input() or facts.initializers_are_inputs)
    ):
        shape = tuple(tensor.shape.numpy())
        tensor.name = old.name
        old.const_value = tensor
        if facts.shape(old) != shape:
            old.shape = ir.Shape(shape)
        old.dtype = constant.dtype
        facts.forget(old)
        facts.size_budget.note(old)
        return old
    name = facts.fresh_name(f"{node.name}_{constant.role}" if old is None or not old.name else f"{old.name}_folded")
    value = add_tensor(graph, name, tensor, facts)
    facts.size_budget.note(value)
    return value
