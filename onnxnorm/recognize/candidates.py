"""Finds the values from which a written-out normalization may start."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.nodes import is_standard
from onnxnorm.recognize.readers.arithmetic import READERS, REDUCTIONS
from onnxnorm.recognize.readers.windows import WINDOWS
from onnxnorm.recognize.reading import LONGEST_WAY_BACK, STEPS_BACK

__all__ = ["candidates"]


def candidates(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield the tensors whose squares or absolute values are averaged or summed up, over axes or windows.

    Where a cast stands between, the tensor before it comes first: it is what is normalized if the result is cast back.
    """
    seen: set[ir.Value] = set()
    for node in graph:
        if is_standard(node) and (node.op_type in REDUCTIONS or node.op_type in WINDOWS) and node.inputs:
            for value in _bases(node):
                if value not in seen:
                    seen.add(value)
                    yield value


def _bases(node: ir.Node) -> Iterator[ir.Value]:
    value = node.inputs[0]
    squared = node.op_type in ("ReduceL1", "ReduceL2", "ReduceSumSquare")
    for _ in range(LONGEST_WAY_BACK):
        if value is None:
            return
        producer = value.producer()
        if producer is None or not is_standard(producer) or producer.graph is not node.graph:
            break
        operands = [operand for operand in producer.inputs if operand is not None]
        if producer.op_type == "Abs" or (producer.op_type == "Mul" and _are_one(operands)) or producer.op_type == "Pow":
            value, squared = operands[0], True
        elif producer.op_type == "Concat" and not squared:
            # Beside it zeros.
            computed = [v for v in operands if (own := v.producer()) is not None and own.op_type != "Constant"]
            value = computed[0] if len(computed) == 1 else None
        elif producer.op_type == "Pad" or (producer.op_type in STEPS_BACK and not squared):
            # Zeros squared are zeros.
            value = operands[0]
        else:
            break
    if value is None or not squared:
        return
    yield from _centred(value)


def _are_one(operands: list[ir.Value]) -> bool:
    """Whether all are one value, or the same difference computed twice, as TensorFlow's moments leave it."""
    if len({*operands}) == 1:
        return True
    makers = [operand.producer() for operand in operands]
    first = makers[0]
    return first is not None and all(
        maker is not None and maker.op_type == "Sub" and is_standard(maker) and maker.inputs == first.inputs
        for maker in makers
    )


def _centred(value: ir.Value) -> Iterator[ir.Value]:
    """Yield the tensors from which a mean was subtracted to make the value; before a cast first."""
    before, producer = value, value.producer()
    for _ in range(3):
        if producer is not None and is_standard(producer) and producer.op_type in ("Cast", "Identity"):
            source = producer.inputs[0] if producer.inputs else None
            if source is None:
                break
            before, producer = source, source.producer()
    if producer is not None and is_standard(producer) and producer.op_type == "Sub" and len(producer.inputs) == 2:
        first, second = producer.inputs
        for centre, other in ((first, second), (second, first)):
            if centre is not None and other is not None and _averages(other, centre):
                yield from _uncast(centre)
                return
    if before is not value:
        yield before
    yield from _uncast(value)


def _uncast(value: ir.Value) -> Iterator[ir.Value]:
    producer = value.producer()
    if producer is not None and is_standard(producer) and producer.op_type in ("Cast", "CastLike"):
        source = producer.inputs[0] if producer.inputs else None
        if source is not None:
            yield source
    yield value


def _averages(value: ir.Value, of: ir.Value) -> bool:
    """Whether `value` is a reduction of `of`, perhaps laid out anew or scaled."""
    stack, seen = [value], 0
    while stack and seen < LONGEST_WAY_BACK:
        seen += 1
        producer = stack.pop().producer()
        if producer is None or not is_standard(producer):
            continue
        if producer.op_type in REDUCTIONS and producer.inputs:
            source = producer.inputs[0]
            if source is of:
                return True
            if source is not None:
                stack.append(source)
        elif producer.op_type in READERS:
            stack.extend(operand for operand in producer.inputs[:2] if operand is not None and operand is not of)
    return False
