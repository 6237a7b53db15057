"""The matrix of runtimes in short: what is installed here, on small files, each form right or with a known reason."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from bench.matrix.columns import COLUMNS, Column
from bench.matrix.command import Cell, examine, write
from bench.matrix.report import BEGIN, END, document
from bench.matrix.rows import FORMS, Row, operator_rows
from onnxnorm.runtime.library import find_library

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = (
    "intra-channel LRN 3 beta 0.75",
    "inter-channel LRN 4 beta 0.6",
    "inter-channel LRN 3 beta 0.75",
    "GroupNorm",
)
HERE = [column for column in COLUMNS if not column.packages and not column.node_packages]


def column_named(name: str) -> Column:
    return next(column for column in COLUMNS if column.name == name)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    folder = tmp_path_factory.mktemp("matrix")
    chosen = [row for row in operator_rows((21,), SUBJECTS) if row.subject in SUBJECTS]
    assert {row.form for row in chosen} == set(FORMS)
    return folder, write(chosen, folder)


@pytest.mark.parametrize("column", HERE, ids=lambda column: column.name)
def test_each_form_is_right_in_what_is_installed(column: Column, rows: tuple[Path, list[Row]]) -> None:
    if importlib.util.find_spec(column.needs) is None:
        pytest.skip(f"needs {column.needs}")
    if "library" in column.arguments and find_library() is None:
        pytest.skip("needs the native library")
    folder, files = rows
    wrong = {cell.row.name: cell for cell in examine(files, column, folder, None) if not cell.is_right}
    plain = {name for name, cell in wrong.items() if cell.row.form not in ("exported", "onnxruntime")}
    if column.name.startswith("onnxruntime") or column.name == "checker":
        assert not wrong
    elif column.name == "OpenVINO":
        assert not plain
        assert all(cell.reason for cell in wrong.values())
    else:
        # Its LRN walks the batch axis.
        assert all("LRN" in files.op_type for cell in wrong.values() for files in cell.row.model.graph.node[:1])


def test_wrong_numbers_and_dead_processes_are_found(tmp_path: Path, rows: tuple[Path, list[Row]]) -> None:
    _, files = rows
    good = next(row for row in files if row.form == "portable")
    wrong = dataclasses.replace(good, subject="wrong", wanted=good.wanted * 1.01)
    unmade = dataclasses.replace(good, subject="unmade", model=None, reason="no form")
    cells = examine(write([good, wrong, unmade], tmp_path), column_named("onnxruntime"), tmp_path, None)
    assert [cell.is_right for cell in cells] == [True, False, False]
    assert cells[1].error == pytest.approx(0.01, rel=0.1)
    assert cells[2].reason == "no form"
    # A file that is none at all is refused, and the next one still runs.
    (tmp_path / f"{wrong.name}.onnx").write_bytes(b"no model")
    after = dataclasses.replace(good, subject="z after")
    write([after], tmp_path)
    cells = examine([wrong, after], column_named("onnxruntime"), tmp_path, None)
    assert cells[0].reason and cells[1].is_right


def test_a_process_that_ends_takes_one_file_with_it(tmp_path: Path, rows: tuple[Path, list[Row]]) -> None:
    _, files = rows
    written = write([row for row in files if row.form == "portable"][:2], tmp_path)
    script = tmp_path / "dies.py"
    runner = ROOT / "bench" / "matrix" / "runners" / "ort.py"
    text = f"import os, sys\nsys.path.insert(0, {str(runner.parent)!r})\nimport common\n" + runner.read_text().replace(
        "def bind(path, x):\n", f"def bind(path, x):\n    if {written[0].name!r} in path:\n        os._exit(7)\n"
    )
    script.write_text(text)
    column = dataclasses.replace(column_named("onnxruntime"), script=str(script))
    cells = examine(written, column, tmp_path, None)
    assert [cell.reason for cell in cells] == ["ends the process", ""]
    assert cells[1].is_right


def test_the_page_keeps_what_is_written_by_hand(rows: tuple[Path, list[Row]]) -> None:
    row = rows[1][0]
    page = document(f"before\n{BEGIN}\nold\n{END}\nafter\n", {"A runtime": [Cell(row, 0.5, "")]}, {"B": "not here"})
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    assert "| A runtime |" in page and "other numbers" in page and "| B | not here |" in page


def test_the_table_of_the_docs_is_of_these_columns() -> None:
    page = (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")
    table = page.partition(BEGIN)[2].partition("\n\n|")[0].strip().splitlines()[2:]
    assert {line.split("|")[1].strip() for line in table} <= {column.name for column in COLUMNS}
    assert page.index(BEGIN) < page.index(END)
