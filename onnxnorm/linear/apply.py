"""Applies a plan: the constants are computed and rounded once, then the graph is changed, all of it or nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, add_tensor, drop_if_unused, set_inputs
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.size_budget import freed_bytes
from onnxnorm.linear.axis import TransposedAxis
from onnxnorm.linear.channels import realigned
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.plan import Plan
from onnxnorm.linear.reader import Reader
from onnxnorm.linear.step import Family
from onnxnorm.model.walk import bytes_of
from onnxnorm.numerics.rounding import rounded, smallest_normal

__all__ = ["write"]


def write(plan: Plan, reader: Reader) -> ir.Node | None:
    """Change the graph by `plan`.

    Returns:
        The node that computes the convolution, or None where its constants do not fit their type, or would be copies of
        shared weights beyond the budget of bytes: then nothing changed.
    """
    dtype, convolution = _element_type(plan, reader), plan.convolution
    if dtype is None:
        return None
    facts, root, graph = reader.facts, plan.root, plan.root.graph
    before = facts.spool.end
    with np.errstate(all="ignore"):
        shift = convolution.bias[:, None] if reader.family is Family.LEFT_PRODUCT else convolution.bias
        bias = rounded(shift, dtype.numpy())
        weight = _weight(convolution, dtype, reader) if bias.finite else None
    if weight is None:
        facts.spool.back_to(before)
        return None
    assert graph is not None
    unused = [value for node in (root, *plan.sums[1:], *plan.gone) for value in node.inputs]
    budget = facts.size_budget
    twin = budget.twin(weight, graph)
    copied = 0 if twin is not None else _copied_bytes(weight, unused, facts)
    if budget.refusal(copied) is not None:
        facts.spool.back_to(before)
        return None
    budget.spend(copied)
    name = _name(plan, reader)
    constants = [twin or add_tensor(graph, facts.fresh_name(f"{name}_merged_weight"), weight, facts)]
    budget.note(constants[0])
    if convolution.biased:
        assert bias.array is not None
        constants.append(add_constant(graph, facts.fresh_name(f"{name}_merged_bias"), bias.array, dtype, facts))
    if plan.left:
        node = _joined(plan, name, constants, reader)
    else:
        node = _become(root, plan.source, convolution, constants, reader)
    for old in (*plan.sums[1:], *plan.gone):
        # A branch may have been the only reader of what the graph around it computes.
        assert old.graph is not None
        old.graph.remove(old, safe=True)
    if node is not root and root.name == name:
        root.name = f"{name}_{root.op_type.lower()}"
    node.name = name
    for value in unused:
        drop_if_unused(value, facts)
    return node


def _copied_bytes(weight: ir.TensorProtocol, unused: Sequence[ir.Value | None], facts: Facts) -> int:
    """Count the bytes that the new weight adds because others go on reading the weights that it is made of."""
    lost = Counter(value for value in unused if value is not None)
    shared = sum(
        bytes_of(value.const_value)
        for value, count in lost.items()
        if value.is_initializer() and value.const_value is not None and len(value.uses()) > count
    )
    freed = freed_bytes(lost, (), inputs_are_weights=facts.initializers_are_inputs, fills_are_weights=True)
    return max(0, min(shared, weight.nbytes - freed))


def _element_type(plan: Plan, reader: Reader) -> ir.DataType | None:
    """Return the element type of the weights which are merged; None where they do not agree or cannot be computed."""
    steps = [
        reader.step(output)
        for term in plan.merged
        for node in reader.between(term.value, plan.source)
        for output in node.outputs
    ]
    weights = [step.weight for step in steps if step is not None and step.weight is not None]
    found = {weight.dtype for weight in weights}
    return found.pop() if len(found) == 1 and all(weight.is_known for weight in weights) else None


def _weight(convolution: Convolution, dtype: ir.DataType, reader: Reader) -> ir.TensorProtocol | None:
    """Compute the weight as the operator wants it, in its type; None where it does not fit that type."""
    outputs, inputs, group = convolution.outputs, convolution.inputs, convolution.group
    shape: tuple[int, ...]
    if reader.family is not Family.CONVOLUTION:
        shape = (inputs, outputs) if reader.family is Family.PRODUCT else (outputs, inputs)
    elif convolution.transposed:
        shape = (inputs, outputs // group, *convolution.taps)
    else:
        shape = (outputs, inputs // group, *convolution.taps)
    by_rows = reader.family is not Family.PRODUCT and not convolution.transposed
    room = reader.facts.spool.room(shape, dtype) if by_rows else None
    whole = np.empty(shape, dtype.numpy()) if room is None else None
    for rows, exact in convolution.blocks():
        if reader.family is not Family.CONVOLUTION:
            exact = realigned(exact, convolution.starts[rows], np.zeros(len(rows), np.int64), inputs)
        result = rounded(exact, dtype.numpy(), 0, smallest_normal(dtype.numpy()))
        if not result.finite or result.underflows or result.vast:
            return None
        block = result.array
        assert block is not None
        if whole is None:
            assert room is not None
            room.put(int(rows[0]) * math.prod(shape[1:]), block)
        elif by_rows:
            whole[rows] = block
        elif convolution.transposed:
            columns = outputs // group
            whole.reshape(group, -1, *shape[1:])[rows // columns, :, rows % columns] = block
        else:
            whole[:, rows] = block.T
    if room is not None:
        return room.tensor
    assert whole is not None
    return reader.facts.new_tensor(whole, dtype, None)


def _name(plan: Plan, reader: Reader) -> str:
    """Return the name of the largest operator which goes, so that people find the new node where it was."""
    best, size = plan.root, -1
    for node in (plan.root, *plan.gone):
        step = reader.step(node.outputs[0])
        weight = None if step is None else step.weight
        if weight is not None and weight.size > size and node.name:
            best, size = node, weight.size
    return best.name or plan.root.name or reader.facts.fresh_name("merged")


def _become(
    node: ir.Node, source: ir.Value, convolution: Convolution, constants: list[ir.Value], reader: Reader
) -> ir.Node:
    """Turn the node into the one that computes the convolution; its output stays the value that it was."""
    graph, facts = node.graph, reader.facts
    assert graph is not None
    node.attributes.clear()
    node.domain = ""
    if reader.family is Family.CONVOLUTION:
        node.op_type = "ConvTranspose" if convolution.transposed else "Conv"
        node.attributes.update({name: ir.AttrInt64s(name, list(value)) for name, value in _window(convolution).items()})
        node.attributes["group"] = ir.AttrInt64("group", convolution.group)
        set_inputs(node, [source, *constants])
        return node
    factors = [source, constants[0]] if reader.family is Family.PRODUCT else [constants[0], source]
    if len(constants) == 1 or facts.rank(source) == 2:
        node.op_type = "Gemm" if len(constants) > 1 else "MatMul"
        set_inputs(node, [*factors, *constants[1:]])
        return node
    output = node.outputs[0]
    product = ir.node("MatMul", factors)
    value = product.outputs[0]
    value.name, value.shape, value.type = facts.fresh_name(f"{output.name}_product"), output.shape, output.type
    graph.insert_before(node, product)
    node.op_type = "Add"
    set_inputs(node, [value, constants[1]])
    return product


def _window(convolution: Convolution) -> Mapping[str, tuple[int, ...]]:
    axes = convolution.axes
    extra = tuple(axis.extra for axis in axes if isinstance(axis, TransposedAxis))
    return {
        **({"output_padding": extra} if any(extra) else {}),
        "kernel_shape": convolution.taps,
        "strides": tuple(axis.stride for axis in axes),
        "dilations": tuple(axis.dilation for axis in axes),
        "pads": (*(axis.begin for axis in axes), *(axis.end for axis in axes)),
    }


def _joined(plan: Plan, name: str, constants: list[ir.Value], reader: Reader) -> ir.Node:
    """Add a new node that computes the convolution; a chain of sums that ends in the root adds what is left."""
    root, facts, graph = plan.root, reader.facts, plan.root.graph
    assert graph is not None
    output = root.outputs[0]
    node = ir.node("Identity", [plan.source])
    current = node.outputs[0]
    current.name, current.type = facts.fresh_name(f"{name}_merged"), output.type
    current.shape = plan.merged[0].value.shape
    graph.insert_before(root, node)
    made = _become(node, plan.source, plan.convolution, constants, reader)
    added = [term.value for term in plan.left if term.sign > 0]
    taken_away = [term.value for term in plan.left if term.sign < 0]
    steps: list[tuple[str, list[ir.Value]]] = [("Add", [value]) for value in added]
    # One Sum where there was one; before opset 8 it did not broadcast.
    if len(added) > 1 and facts.opset(root) >= 8 and any(each.op_type == "Sum" for each in plan.sums):
        steps = [("Sum", added)]
    steps += [("Sub", [value]) for value in taken_away]
    for index, (op_type, values) in enumerate(steps):
        if index + 1 == len(steps):
            root.op_type = op_type
            root.attributes.clear()
            set_inputs(root, [current, *values])
            break
        adder = ir.node(op_type, [current, *values], name=f"{root.name}_{index}")
        total = adder.outputs[0]
        total.name, total.type = facts.fresh_name(f"{output.name}_{index}"), output.type
        total.shape = current.shape if all(current.shape == value.shape for value in values) else None
        graph.insert_before(root, adder)
        current = total
    return made
