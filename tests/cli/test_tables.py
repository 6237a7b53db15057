"""Tests of onnxnorm/cli/tables.py."""

from __future__ import annotations

import dataclasses
import enum
import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnorm.cli import tables
from onnxnorm.cli.tables import Table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class _Point:
    x: float
    colour: _Colour
    path: Path


def _json_of(value: object) -> object:
    stream = io.StringIO()
    tables.print_json(value, stream)
    return json.loads(stream.getvalue(), parse_constant=lambda text: pytest.fail(f"{text} is not strict JSON"))


def test_plain_table_aligns_its_columns() -> None:
    table = Table.of("node >elements latest_reason", [("a", 10, "short"), ("longer", 7, "")])
    assert table.plain().splitlines() == [
        "node    elements  latest reason",
        "a             10  short",
        "longer         7",
    ]


def test_table_without_rows_is_its_headings() -> None:
    assert Table.of("a b", []).plain() == "a  b"


def test_plain_text_where_there_is_no_terminal() -> None:
    reason = "left because " + "of a very long reason " * 20
    stream = io.StringIO()
    tables.print_table(Table.of("node reason", [("n", reason)]), stream)
    assert "\x1b" not in stream.getvalue()
    assert reason.strip() in stream.getvalue()


def test_names_with_brackets_survive_on_a_terminal() -> None:
    stream = _Terminal()
    tables.print_table(Table.of("node kind", [("/layers/[bold]/0", "LRN")]), stream)
    assert "/layers/[bold]/0" in stream.getvalue()


def test_json_of_every_kind_of_value() -> None:
    point = _Point(math.nan, _Colour.RED, Path("a/b"))
    values = {
        "point": point,
        "array": np.array([[1.5, np.inf]], dtype=np.float32),
        "scalar": np.int64(3),
        "nested": ((1, None), [True]),
        "infinite": -math.inf,
    }
    assert _json_of(values) == {
        "point": {"x": "NaN", "colour": "red", "path": str(Path("a/b"))},
        "array": [[1.5, "Infinity"]],
        "scalar": 3,
        "nested": [[1, None], [True]],
        "infinite": "-Infinity",
    }


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_plain_values_come_back_from_json_unchanged(value: object) -> None:
    assert _json_of(value) == value


def test_operators_are_counted_through_subgraphs_and_with_their_domain() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 17, "custom": 1]>
        g (bool c, float[2] x) => (float[2] y) {
            a = Relu(x)
            b = custom.Relu(a)
            y = If (c) <
                then_branch = t () => (float[2] u) { u = Relu(b) },
                else_branch = e () => (float[2] v) { v = Neg(b) }
            >
        }"""
    )
    counts = tables.count_operators(ir.from_proto(model).graph.all_nodes())
    assert counts == {"Relu": 2, "custom::Relu": 1, "If": 1, "Neg": 1}


def test_operator_table_has_a_row_for_each_operator_of_either_side() -> None:
    rows = tables.operator_table({"Conv": 2, "BatchNormalization": 2}, {"Conv": 2, "Relu": 1}).rows
    assert rows == (
        ("BatchNormalization", "2", "0", "-2"),
        ("Conv", "2", "2", ""),
        ("Relu", "0", "1", "+1"),
        ("all nodes", "4", "3", "-1"),
    )


def test_external_data_counts_as_part_of_the_model(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 64])],
        [weight],
    )
    path = tmp_path / "m.onnx"
    onnx.save_model(
        onnx.helper.make_model(graph), path, save_as_external_data=True, location="m.data", size_threshold=0
    )
    data = (tmp_path / "m.data").stat().st_size
    assert data >= 64 * 64 * 4
    assert tables.model_size(path, ir.load(path)) == path.stat().st_size + data


@pytest.mark.parametrize(
    ("shape", "text"),
    [(("N", 3, None), "N,3,?"), ((), "scalar"), (None, "?"), ((1, 2), "1,2")],
)
def test_shapes_as_the_command_line_takes_them(shape: tuple[int | str | None, ...] | None, text: str) -> None:
    assert tables.format_shape(shape) == text


def test_status_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((io.StringIO(), False), (_Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        with tables.status("folding [conv]"):
            pass
        assert ("folding [conv]" in stream.getvalue()) is shown


def test_steps_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((io.StringIO(), False), (_Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        with tables.steps("folding [conv] {x}", 2) as advance:
            advance("first")
            advance("second")
        assert ("folding [conv] {x}" in stream.getvalue()) is shown
        assert ("1/2" in stream.getvalue() and "second" in stream.getvalue()) is shown


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (5_000_000_000_000, "5000.0 GB")],
)
def test_sizes_in_readable_units(size: int, text: str) -> None:
    assert tables.format_size(size) == text
