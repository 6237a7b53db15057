"""Changes of operators that go by axes and shapes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.convert.step import Step

__all__ = [
    "counted_from_the_front",
    "dft_20",
    "pad_18",
    "reshape_14",
    "scan_9",
    "shape_15",
    "slice_11",
    "soft_13",
    "split_18",
]

_LAST = 2**63 - 1
_SPLIT_TAKES_AN_OPERAND = 13
# The one axis counted from behind that these had always.
_LAST_AXIS = frozenset({"OneHot", "TopK"})


def counted_from_the_front(step: Step) -> bool | str:
    """Axes counted from behind, which older definitions did not know."""
    if step.up:
        return True
    for name in ("axis", "axes", "scan_input_axes", "scan_output_axes"):
        given = step.node.attributes.get(name)
        if given is None:
            continue
        if given.is_ref():
            return False
        several = given.type is ir.AttributeType.INTS
        numbers = list(given.as_ints()) if several else [given.as_int()]
        if all(n >= 0 for n in numbers) or (step.node.op_type in _LAST_AXIS and numbers == [-1]):
            continue
        rank = step.rank()
        if not rank or name.startswith("scan"):
            return "counts an axis from behind, which it does since opset 11"
        rank += {"Unsqueeze": len(numbers), "OneHot": 1}.get(step.node.op_type, 0)
        numbers = [n % rank for n in numbers]
        step.node.attributes[name] = ir.AttrInt64s(name, numbers) if several else ir.AttrInt64(name, numbers[0])
    return True


def slice_11(step: Step) -> bool | str:
    """Slice since opset 11: axes may be counted from behind."""
    known, rank = step.known(3), step.rank()
    if step.up or known is None or rank is None:
        return True
    axes = known.astype(np.int64)
    if np.any(axes < 0):
        step.put(3, step.constant(axes % rank, ir.DataType.INT64, "axes"))
    return True


def soft_13(step: Step) -> bool | str:
    """Softmax and its kin since opset 13: until then all axes from one on were one.

    The two mean the same for the last axis.
    """
    node, rank = step.node, step.rank()
    if not step.up:
        return _over_the_last_axis(step, rank)
    axis = step.whole("axis", 1)
    if rank is not None and axis in (-1, rank - 1):
        node.attributes["axis"] = ir.AttrInt64("axis", rank - 1)
        return True
    x = step.operand(0)
    if x is None:
        return False
    flat = step.insert(ir.node("Flatten", [x], attributes={"axis": axis}))
    flat.type = x.type
    shape = step.insert(ir.node("Shape", [x]))
    shape.type = ir.TensorType(ir.DataType.INT64)
    step.put(0, flat)
    node.attributes["axis"] = ir.AttrInt64("axis", -1)
    step.follow("Reshape", [shape], {})
    return True


def _over_the_last_axis(step: Step, rank: int | None) -> bool | str:
    """Make the axis that Softmax goes over the last one, by a Transpose before it and one behind it if need be."""
    node, x, axis = step.node, step.operand(0), step.whole("axis", -1)
    if not rank or x is None or not -rank <= axis < rank:
        return "goes over one axis of a tensor whose rank is not known, which it does since opset 13"
    axis %= rank
    behind = (step.shape() or ())[axis + 1 :]
    if all(extent == 1 for extent in behind):
        # All axes from this one on are this one.
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return True
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    swapped = step.insert(ir.node("Transpose", [x], attributes={"perm": order}))
    swapped.type = x.type
    step.put(0, swapped)
    node.attributes["axis"] = ir.AttrInt64("axis", rank - 1)
    step.follow("Transpose", [], {"perm": ir.AttrInt64s("perm", order)})
    return True


def shape_15(step: Step) -> bool | str:
    """Shape since opset 15: before, a part of a shape was a Slice of it."""
    node = step.node
    if step.up:
        return True
    start, end = node.attributes.get("start"), node.attributes.get("end")
    if any(given is not None and given.is_ref() for given in (start, end)):
        return False
    bounds = {"starts": step.whole("start", 0), "ends": step.whole("end", _LAST)}
    node.attributes.clear()
    if bounds == {"starts": 0, "ends": _LAST}:
        return True
    bounds["axes"] = 0
    if step.opset >= 10:
        step.follow("Slice", [step.constant([n], ir.DataType.INT64, name) for name, n in bounds.items()], {})
    else:
        step.follow("Slice", [], {name: ir.AttrInt64s(name, [n]) for name, n in bounds.items()})
    return True


def reshape_14(step: Step) -> bool | str:
    """Reshape since opset 14: a shape without zeros says the same whatever a zero stands for."""
    if step.up or step.whole("allowzero", 0) == 0:
        return True
    shape, result = step.known(1), step.facts.shape(step.node.outputs[0])
    is_without = result is not None and all(isinstance(extent, int) and extent > 0 for extent in result)
    if not is_without and (shape is None or np.any(shape == 0)):
        return "makes axes without elements of zeros in its shape, which it does since opset 14"
    del step.node.attributes["allowzero"]
    return True


def split_18(step: Step) -> bool | str:
    """Split since opset 18: the number of equal parts is an attribute; before, the outputs told it."""
    node = step.node
    if step.up:
        if step.operand(1) is None and "num_outputs" not in node.attributes:
            node.resize_inputs(1)
            node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))
        return True
    if "num_outputs" not in node.attributes:
        return True
    shape, axis, count = step.shape(), step.whole("axis", 0), step.whole("num_outputs", 0)
    extent = None if shape is None or not -len(shape) <= axis < len(shape) else shape[axis]
    if count < 1:
        return False
    if not isinstance(extent, int):
        return _split_at_run_time(step, axis, count)
    size = -(-extent // count)
    last = extent - size * (count - 1)
    if last < 0:
        return False
    del node.attributes["num_outputs"]
    step.put(1, step.constant([size] * (count - 1) + [last], ir.DataType.INT64, "split"))
    return True


def _split_at_run_time(step: Step, axis: int, count: int) -> bool | str:
    """Compute the sizes of the parts from that of the axis, which is not known."""
    if step.opset < _SPLIT_TAKES_AN_OPERAND:
        return "makes parts of an axis whose size is not known, of which the last may be smaller"
    x = step.operand(0)
    if x is None:
        return False

    def made(op_type: str, *operands: ir.Value, **attributes: int) -> ir.Value:
        value = step.insert(ir.node(op_type, operands, attributes=attributes))
        value.type = ir.TensorType(ir.DataType.INT64)
        return value

    def number(n: int, what: str) -> ir.Value:
        return step.constant([n], ir.DataType.INT64, what)

    extent = made("Gather", made("Shape", x), number(axis, "axis"), axis=0)
    parts = number(count, "parts")
    size = made("Div", made("Add", extent, number(count - 1, "rest")), parts)
    sizes = [size] * (count - 1)
    last = made("Sub", extent, made("Mul", size, number(count - 1, "others")))
    del step.node.attributes["num_outputs"]
    step.put(1, made("Concat", *sizes, last, axis=0))
    return True


def pad_18(step: Step) -> bool | str:
    """Pad since opset 18: until then there was a number for each axis."""
    if step.up or step.operand(3) is None:
        return True
    axes, pads, rank = step.known(3), step.known(1), step.rank()
    if axes is None or pads is None or rank is None or pads.size != 2 * axes.size:
        return "has axes or pads that are no constants, or a rank that is not known"
    both = np.zeros((2, rank), np.int64)
    both[:, axes.astype(np.int64) % rank] = pads.reshape(2, -1)
    step.cut(3)
    step.put(1, step.constant(both.ravel(), ir.DataType.INT64, "pads"))
    if step.operand(2) is None:
        step.cut(2)
    return True


def dft_20(step: Step) -> bool | str:
    """DFT since opset 20: the axis is an operand; before, it was an attribute."""
    node = step.node
    if step.up:
        axis = step.whole("axis", 1)
        node.attributes.pop("axis", None)
        step.put(2, step.constant(axis, ir.DataType.INT64, "axis"))
        return True
    rank = step.rank()
    known = np.array(-2) if step.operand(2) is None else step.known(2)
    if known is None or rank is None:
        return "goes over an axis that is no constant, or has a rank that is not known"
    axis = int(known.astype(np.int64).ravel()[0]) % rank
    step.cut(2)
    node.attributes["axis"] = ir.AttrInt64("axis", axis)
    return True


def scan_9(step: Step) -> bool | str:
    """Scan since opset 9: it does not go over a batch any more."""
    return "goes over a batch, which Scan does not since opset 9" if step.up else False
