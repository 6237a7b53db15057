"""The matrix of runtimes in short: what is installed here, on small files, each form right or with a known reason."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

from bench.matrix.columns import COLUMNS, Column, install
from bench.matrix.command import batches, use_library
from bench.matrix.outcomes import Outcome, examine, read_outcomes, write, write_outcomes
from bench.matrix.reasons import why_not, why_other_numbers
from bench.matrix.report import BEGIN, END, document, losses
from bench.matrix.rows import FORMS, Row, operator_rows
from onnxnorm.runtime.library import find_library

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = (
    "intra-channel LRN 3 beta 0.75",
    "inter-channel LRN 4 beta 0.6",
    "inter-channel LRN 3 beta 0.75",
    "GroupNorm",
)
HERE = [column for column in COLUMNS if column.is_here()]


def column_named(name: str) -> Column:
    return next(column for column in COLUMNS if column.name == name)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    use_library()
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
    outcomes = examine(files, column, folder, None)
    assert not losses(outcomes)
    wrong = [outcome for outcome in outcomes if not outcome.is_right]
    if column.name.startswith("onnxruntime") or column.name == "checker":
        assert not wrong
    elif column.name == "OpenVINO":
        assert {outcome.form for outcome in wrong} <= {"exported", "onnxruntime"}
        assert {outcome.reason for outcome in wrong} == {"reads no functions, nor operators of other domains"}
    else:
        assert all("onnx issue 7805" in outcome.reason for outcome in wrong)


def test_equal_files_run_once_and_count_for_each_form(rows: tuple[Path, list[Row]]) -> None:
    folder, files = rows
    assert len({row.file for row in files}) < len(files)
    outcomes = examine(files, column_named("checker"), folder, None)
    assert [(outcome.subject, outcome.form) for outcome in outcomes] == [(row.subject, row.form) for row in files]


def test_wrong_numbers_and_dead_processes_are_found(tmp_path: Path) -> None:
    good = next(row for row in operator_rows((21,), SUBJECTS) if row.form == "portable")
    # The input goes into the name of a file, so that each of these has one of its own.
    wrong = dataclasses.replace(good, subject="wrong", wanted=good.wanted * 1.01)
    unmade = dataclasses.replace(good, subject="unmade", model=None, reason="no form")
    written = write([good, wrong, unmade], tmp_path)
    outcomes = examine(written, column_named("onnxruntime"), tmp_path, None)
    assert [outcome.is_right for outcome in outcomes] == [True, False, False]
    assert outcomes[1].error == pytest.approx(0.01, rel=0.1) and outcomes[1].reason == "other numbers"
    assert outcomes[2].reason == "no form"
    # A file that is none at all is refused, and the next one still runs.
    (bad,) = write([dataclasses.replace(good, x=good.x + 1)], tmp_path)
    (tmp_path / f"{bad.file}.onnx").write_bytes(b"no model")
    outcomes = examine([bad, written[0]], column_named("onnxruntime"), tmp_path, None)
    assert outcomes[0].reason and outcomes[1].is_right


def test_a_process_that_ends_takes_one_file_with_it(tmp_path: Path) -> None:
    chosen = [row for row in operator_rows((21,), SUBJECTS) if row.form == "portable"][:2]
    written = write(chosen, tmp_path)
    script = tmp_path / "dies.py"
    runner = ROOT / "bench" / "matrix" / "runners" / "ort.py"
    text = f"import os, sys\nsys.path.insert(0, {str(runner.parent)!r})\nimport common\n" + runner.read_text().replace(
        "def bind(path, x):\n", f"def bind(path, x):\n    if {written[0].file!r} in path:\n        os._exit(7)\n"
    )
    script.write_text(text)
    column = dataclasses.replace(column_named("onnxruntime"), script=str(script))
    assert [outcome.reason for outcome in examine(written, column, tmp_path, None)] == ["ends the process", ""]


@pytest.mark.parametrize(
    ("name", "message", "reason"),
    [
        ("onnxruntime 1.16.3", "Unsupported model IR version: 10, max supported IR version: 9", "IR versions up to 9"),
        ("tract", 'Translating node #1 "n" Unimplemented(LpNormalization) Typed', "no operator LpNormalization"),
        (
            "onnx2torch",
            "implemented (OperationDescription(domain='', operation_type='LRN', version=13))",
            "no operator LRN",
        ),
    ],
)
def test_a_message_becomes_a_few_words(name: str, message: str, reason: str, rows: tuple[Path, list[Row]]) -> None:
    plain = next(row for row in rows[1] if row.form == "portable")
    assert reason in why_not(column_named(name), plain, message)
    exported = next(row for row in rows[1] if row.form == "exported" and row.subject == SUBJECTS[0])
    reads = column_named(name).reads_functions
    assert ("reads no functions" in why_not(column_named(name), exported, message)) != reads


def test_other_numbers_get_the_reason_that_is_known_of_their_operators(rows: tuple[Path, list[Row]]) -> None:
    of_lrn = next(row for row in rows[1] if row.form == "exported" and row.subject == "inter-channel LRN 3 beta 0.75")
    assert "7805" in why_other_numbers(column_named("reference evaluator"), of_lrn)
    assert why_other_numbers(column_named("tract"), of_lrn) == "other numbers"
    assert (
        why_other_numbers(column_named("reference evaluator"), dataclasses.replace(of_lrn, model=None))
        == "other numbers"
    )


@pytest.mark.parametrize("missing", ["program", "module"])
def test_a_runtime_that_is_not_here_is_left_out_with_a_sentence(missing: str, tmp_path: Path) -> None:
    column = Column("none", "ort.py", programs={"no-such-program": "Some package"})
    if missing == "module":
        column = Column("none", "ort.py", needs="no_such_module")
    with pytest.raises(RuntimeError, match=r"needs (Some package|the package no_such_module)"):
        install(column, tmp_path)


def test_outcomes_are_kept_for_a_run_that_goes_on(tmp_path: Path) -> None:
    outcomes = [Outcome("A runtime", "LRN", 17, "web", False, 0.5, "other numbers")]
    assert read_outcomes(tmp_path / "outcomes.json") == []
    write_outcomes(outcomes, tmp_path / "outcomes.json")
    assert read_outcomes(tmp_path / "outcomes.json") == outcomes


def test_the_page_keeps_what_is_written_by_hand_and_names_what_is_lost() -> None:
    exported = Outcome("A runtime", "LRN", 17, "exported", False, 0.0, "")
    wrong = Outcome("A runtime", "LRN", 17, "web", False, 0.5, "other numbers")
    network = Outcome("A runtime", "unet", 17, "web", True, None, "no operator LRN")
    assert losses([exported, wrong, network]) == [wrong]
    page = document(f"before\n{BEGIN}\nold\n{END}\nafter\n", [exported, wrong, network], {"B": "needs npm"})
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    small, networks = page.split("### Networks")
    assert "| A runtime | web | 1 | other numbers | LRN |" in small and "| B | needs npm |" in networks
    assert "no operator LRN" in networks and "No file for `portable` or `web` is wrong" in networks


def test_the_page_keeps_the_tables_of_what_was_not_run() -> None:
    small = Outcome("A runtime", "LRN", 17, "web", False, 0.5, "other numbers")
    network = Outcome("A runtime", "unet", 17, "web", True, None, "no operator LRN")
    page = document(f"before\n{BEGIN}\n{END}\nafter\n", [small], {})
    both = document(page, [network], {})
    assert both == document(page, [small, network], {}) != page
    assert document(both, [small], {}) == both
    assert document(both, [], {"B": "needs npm"}).count("### ") == 3


def test_networks_run_one_by_one_and_small_files_only_where_they_are_wanted() -> None:
    assert [title for title, _, _ in batches(["unet", "bit"], (17, 21), small_files=True)][:2] == ["small files"] * 2
    batch = list(batches(["unet", "bit"], (17, 21), small_files=False))
    assert batch == [("unet", ("unet",), 17), ("bit", ("bit",), 17), ("unet", ("unet",), 21), ("bit", ("bit",), 21)]


def test_the_table_of_the_docs_is_of_these_columns() -> None:
    page = (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")
    written = page.partition(BEGIN)[2].partition(END)[0]
    named = re.findall(r"^\| ([^|]+) \| \d+ \| \d+", written, re.MULTILINE)
    assert named and set(named) <= {column.name for column in COLUMNS}
