"""Concat and Split asked by themselves: a node that joined gauges knows their parts, and reads its operands anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Declined, Settled, Site
from onnxnorm.affine.rules.concat_split_slice import concat
from onnxnorm.graph.facts import Facts

EXTENTS = (2, 1, 3)


def _value(name: str, channels: int | None) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, channels, 4]))


def _row(extents: Sequence[int | None]) -> tuple[ir.Node, Facts]:
    inputs = [_value(f"x{index}", channels) for index, channels in enumerate(extents)]
    total = None if None in extents else sum(channels or 0 for channels in extents)
    node = ir.node("Concat", inputs, attributes={"axis": 1}, outputs=[_value("y", total)], name="concat")
    graph = ir.Graph(inputs, list(node.outputs), nodes=[node], opset_imports={"": 18}, name="g")
    return node, Facts(ir.Model(graph, ir_version=8))


def _gauge(channels: int, *, zero: bool = False) -> Gauge:
    scale = np.arange(1.0, channels + 1) * (-1.5 if channels > 1 else 2.0)
    if zero:
        scale[0] = 0.0
    return Gauge.new(ChannelAffine.along(1, scale, np.linspace(0.5, 1.5, channels), 3))


def _settled(node: ir.Node, gauges: dict[ir.Value, Gauge], facts: Facts) -> Settled:
    answer = concat(Site(node, gauges, facts))
    assert isinstance(answer, Settled) and answer.edit is None
    return answer


def _inputs(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None]


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("carrying", [(0,), (2,), (0, 1), (0, 1, 2)])
def test_what_a_concat_joins_is_there_part_by_part(carrying: tuple[int, ...], zero: bool) -> None:
    node, facts = _row(EXTENTS)
    inputs = _inputs(node)
    given = {inputs[index]: _gauge(EXTENTS[index], zero=zero) for index in carrying}
    ((target, whole),) = _settled(node, given, facts).demands
    assert target is node.outputs[0]
    assert (whole.to_old is None) is zero
    assert whole.to_new is not None
    start = 0
    for index, extent in enumerate(EXTENTS):
        wanted = given[inputs[index]].to_new if index in carrying else ChannelAffine.identity(3)
        assert wanted is not None
        place = (slice(None), slice(start, start + extent))
        for got, expected in ((whole.to_new.scale, wanted.scale), (whole.to_new.shift, wanted.shift)):
            assert np.array_equal(got[place], np.broadcast_to(expected, (1, extent, 1)))
        start += extent
    assert _settled(node, given | {target: whole}, facts).demands == ()


def test_the_node_that_joined_gauges_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    node, facts = _row(EXTENTS)
    given = {_inputs(node)[0]: _gauge(2)}
    (demand,) = _settled(node, given, facts).demands
    monkeypatch.setattr(Gauge, "map", lambda *_: pytest.fail("the gauge was cut"))
    assert _settled(node, given | {demand[0]: demand[1]}, facts).demands == ()


def test_a_part_that_differs_from_what_its_value_carries_is_demanded() -> None:
    node, facts = _row(EXTENTS)
    inputs = _inputs(node)
    ((target, whole),) = _settled(node, {inputs[0]: _gauge(2)}, facts).demands
    demands = _settled(node, {inputs[1]: _gauge(1), target: whole}, facts).demands
    assert [value for value, _ in demands] == [inputs[0], inputs[1]]
    assert demands[0][1].same_as(_gauge(2)) and demands[1][1].is_identity


def test_a_concat_with_another_operand_is_read_anew() -> None:
    node, facts = _row(EXTENTS)
    _settled(node, {_inputs(node)[0]: _gauge(2)}, facts)
    node.replace_input_with(1, _value("open", None))
    assert isinstance(concat(Site(node, {_inputs(node)[0]: _gauge(2)}, facts)), Declined)
    node.replace_input_with(1, _value("wider", 5))
    ((_, whole),) = _settled(node, {_inputs(node)[0]: _gauge(2)}, facts).demands
    assert whole.any.scale.shape == (1, 2 + 5 + 3, 1)
