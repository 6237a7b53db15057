"""Tests of `onnxnorm reasons`, which explains codes without the documentation at hand."""

from __future__ import annotations

import json

import pytest

from onnxnorm import cli
from onnxnorm.journal import Code

Captured = pytest.CaptureFixture[str]


def test_without_a_code_each_has_a_line(capsys: Captured) -> None:
    assert cli.main(["reasons"]) == 0
    heading, *lines, last = capsys.readouterr().out.splitlines()
    assert heading.split() == ["code", "meaning"] and "onnxnorm reasons CODE" in last
    assert [line.split()[0] for line in lines] == [code.value for code in Code]
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize("code", Code, ids=str)
def test_a_code_has_a_page_without_signs_of_markdown(code: Code, capsys: Captured) -> None:
    assert cli.main(["reasons", code.value]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == code.value
    assert {"Example", "The same with the remedy"} <= set(lines)
    assert any(line.startswith("    inputs: ") for line in lines)
    assert not [line for line in lines if line.startswith(("#", "```", ">"))]


def test_codes_and_pages_are_documents_for_machines(capsys: Captured) -> None:
    assert cli.main(["reasons", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["reasons"]
    assert list(told) == [code.value for code in Code]
    assert cli.main(["reasons", "mask", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["code"] == "mask" and document["meaning"] == told["mask"] and "Example" in document["page"]


@pytest.mark.parametrize("word", ["GRAPH_OUTPUT", "Graph-Output", " graph-output"])
def test_a_code_may_be_spelled_as_python_does(word: str, capsys: Captured) -> None:
    assert cli.main(["reasons", word]) == 0
    assert capsys.readouterr().out.startswith("graph-output\n")


@pytest.mark.parametrize(("word", "meant"), [("graf-output", "did you mean 'graph-output'?"), ("zzz", "lists them")])
def test_an_unknown_code_is_refused(word: str, meant: str, capsys: Captured) -> None:
    assert cli.main(["reasons", word]) == 2
    told = capsys.readouterr()
    assert word in told.err and meant in told.err and not told.out
