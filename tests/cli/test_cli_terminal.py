"""Tests of what a terminal of 80 and of 120 columns shows, and of what goes into a pipe, for every command and message.

`tests/cli/snapshots/` has what each case shows; `UPDATE_SNAPSHOTS=1 pytest tests/cli/test_cli_terminal.py` writes it
anew, for somebody to look through.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxnorm import cli
from onnxnorm.cli.terminal import paragraphs, wrapped
from tests.cli.samples import conv_bn_lrn
from tests.cli.shown import CASES, Shown, normalized, show, write_files

SNAPSHOTS = Path(__file__).parent / "snapshots"
# The heading of a column whose cells stand on lines of their own.
FIRST_HEADINGS = {
    "before",
    "check",
    "code",
    "component",
    "model",
    "name",
    "node",
    "operator",
    "what",
    "output",
    "pass",
    "part",
    "value",
}
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]\d+)?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all that the cases read, to stand in."""
    before, place, found = Path.cwd(), tmp_path_factory.mktemp("shown"), list(sys.path)
    write_files(place, conv_bn_lrn)
    yield place
    os.chdir(before)
    sys.path[:] = found


def _document(sides: list[Shown], words: str) -> str:
    parts = [f"$ onnxnorm {words}", f"exit code {sides[0].code}"]
    for each in sides:
        parts.append(f"\n=== {'a pipe' if each.width is None else f'a terminal of {each.width} columns'} ===")
        parts += [text.rstrip("\n") for text in (normalized(each.out), normalized(each.err)) if text.strip()]
    return "\n".join(parts) + "\n"


def _words(text: str) -> Counter[str]:
    return Counter(NUMBER.sub("#", word).strip(":;") for word in re.sub(r"[─│┃━]", " ", text).split())


@pytest.mark.parametrize("name", CASES)
def test_every_width_shows_what_the_snapshot_says(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    if case.words.startswith("export"):
        pytest.importorskip("torch")
    sides = []
    for width in case.widths:
        for result in ("results/in.onnx", "results/.onnxnorm/in.onnx.json"):
            (folder / result).unlink(missing_ok=True)
        sides.append(show(case, name, width, monkeypatch))
    assert {each.code for each in sides} == {case.code}, sides[0].err
    _nothing_is_broken(sides)
    if name.startswith("message") and case.code:
        # Failures are one line, and a document where one is asked for.
        (line,) = sides[0].err.splitlines()
        assert not sides[0].out and line.startswith("onnxnorm: error: ")
        assert not re.search(r"Traceback|allow_pickle|wire format|\.cc:|onnxruntime_src", line)
    path = SNAPSHOTS / f"{name}.txt"
    shown = _document(sides, case.words)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == shown, "see the head of this file"


def _nothing_is_broken(sides: list[Shown]) -> None:
    piped, *shown = sides
    whole = set(_words(piped.out + piped.err))
    for each in shown:
        text = each.out + each.err
        # A line is longer than the terminal where one word is.
        assert not [line for line in text.splitlines() if len(line) > (each.width or 0) and len(line.split()) > 1]
        assert whole - set(_words(text)) <= FIRST_HEADINGS
        assert set(_words(text)) - whole <= {"done", "before"}


def test_every_command_has_a_snapshot_and_none_is_left_over() -> None:
    assert set(cli._COMMANDS) <= {case.words.split()[0] for case in CASES.values()}
    assert {path.stem for path in SNAPSHOTS.glob("*")} == set(CASES)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.code == 2 and "export" not in name])
def test_failures_are_documents_for_machines(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = show(CASES[name], name, None, monkeypatch)
    assert cli.main([*CASES[name].words.split(), "--json"]) == 2
    told = plain.err.strip().removeprefix("onnxnorm: error: ")
    assert json.loads(capsys.readouterr().out) == {"error": told, "exit_code": 2}


def test_names_stand_on_a_line_of_their_own_where_it_is_narrow() -> None:
    name = "/features/block_0/norm"
    rows = [(name, "BatchNormalization", "N,64,?,?", "left", "a reason in so many words that no line of 80 takes it")]
    headings = ("node", "kind", "shape", "fate", "reason")
    lines = paragraphs(headings, rows, 80)
    assert lines is not None
    assert lines[0] == name
    assert lines[1] == "  kind: BatchNormalization; shape: N,64,?,?; fate: left"
    assert " ".join(line.strip() for line in lines[2:]) == f"reason: {rows[0][-1]}"
    assert paragraphs(headings, rows, 300) is None
    assert paragraphs(headings, [("a", "b", "c", "d", "e")], 80) is None


@pytest.mark.parametrize("width", [20, 80])
def test_lines_break_between_words_alone(width: int) -> None:
    line = "  note: " + "word " * 30 + "x" * 100
    broken = wrapped(line, width)
    assert broken.split() == line.split()
    assert all(len(each) <= width or len(each.split()) == 1 for each in broken.splitlines())
    assert wrapped("short", width) == "short"
