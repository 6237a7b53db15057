"""Tests of what a terminal of 80 and of 120 columns shows, and of what goes into a pipe, for every command."""

from __future__ import annotations

import io
import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxnorm import cli
from onnxnorm.cli.terminal import paragraphs, wrapped
from tests.cli.samples import conv_bn_lrn

WIDTHS = (80, 120)
COMMANDS = {
    "optimize": ["optimize", "in.onnx", "out.onnx"],
    "optimize for a target": ["optimize", "in.onnx", "out.onnx", "--target", "openvino"],
    "optimize many": ["optimize", "many", "results", "--no-verify"],
    "fold": ["fold", "in.onnx", "out.onnx", "--no-verify", "--external-data"],
    "inspect": ["inspect", "in.onnx"],
    "inspect many": ["inspect", "many"],
    "verify": ["verify", "in.onnx", "in.onnx"],
    "run": ["run", "in.onnx", "--repeat", "1"],
    "doctor": ["doctor"],
    "passes": ["optimize", "--list-passes"],
}
MESSAGES = {
    "run --inputs x.npy": (["run", "in.onnx", "--inputs", "x.npy"], "give it with --input name:x.npy"),
    "run --input x:picture.png": (["run", "in.onnx", "--input", "x:cat.png"], "a PNG picture"),
    "optimize small.pt": (["optimize", "small.pt", "out.onnx"], "onnxnorm export path/to/script.py:factory"),
    "opset 40": (["optimize", "opset40.onnx", "out.onnx"], "knows opsets up to"),
    "output folder /proc": (["optimize", "many", "/proc/results"], "/proc/results"),
    "no such option": (["optimize", "in.onnx", "out.onnx", "--verfy"], "did you mean '--verify'"),
    "no such target": (["optimize", "in.onnx", "out.onnx", "--target", "openvina"], "did you mean 'openvino'"),
}
# The heading of a column whose cells stand on lines of their own.
FIRST_HEADINGS = {"before", "check", "component", "model", "name", "node", "output", "pass", "part"}
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]\d+)?")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    model = conv_bn_lrn()
    model.graph.node[3].name = "/features/stage_1/block_0/a_normalization_with_a_rather_long_name/LRN"
    onnx.save(model, tmp_path / "in.onnx")
    (tmp_path / "many").mkdir()
    onnx.save(model, tmp_path / "many" / "in.onnx")
    model.opset_import[0].version = 40
    onnx.save(model, tmp_path / "opset40.onnx")
    np.save(tmp_path / "x.npy", np.zeros(3, np.float32))
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "small.pt").write_bytes(b"PK\x03\x04" + bytes(60))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONNXNORM_DEBUG", "0")
    return tmp_path


def _shown(words: list[str], width: int | None, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """The exit code and what stands on stdout and stderr: on a terminal of this width, or in a pipe."""
    out, err = (io.StringIO(), io.StringIO()) if width is None else (_Terminal(), _Terminal())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err if width is None else io.StringIO())
        if width is not None:
            patch.setenv("COLUMNS", str(width))
        try:
            code = cli.main(words)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()), err.getvalue()


def _words(text: str) -> Counter[str]:
    return Counter(NUMBER.sub("#", word).strip(":;") for word in re.sub(r"[─│┃━]", " ", text).split())


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_broken_at_any_width(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, piped, _ = _shown(COMMANDS[name], None, monkeypatch)
    assert code == 0
    assert "\x1b" not in piped
    whole = set(_words(piped))
    for width in WIDTHS:
        (folder / "results" / "in.onnx").unlink(missing_ok=True)
        again, shown, _ = _shown(COMMANDS[name], width, monkeypatch)
        assert again == 0
        # A line is longer than the terminal where one word is.
        assert not [line for line in shown.splitlines() if len(line) > width and len(line.split()) > 1]
        assert whole - set(_words(shown)) <= FIRST_HEADINGS
        assert set(_words(shown)) - whole <= {"done", "before"}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_help_and_are_documents_for_machines(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, told = MESSAGES[name]
    code, out, err = _shown(words, None, monkeypatch)
    assert code in (1, 2)
    assert out == ""
    assert err.count("\n") == 1
    assert told in err
    assert "Traceback" not in err and "allow_pickle" not in err and "wire format" not in err and ".cc:" not in err
    again, document, _ = _shown([*words, "--json"], None, monkeypatch)
    assert again == code
    assert json.loads(document) == {"error": err.strip().removeprefix("onnxnorm: error: "), "exit_code": code}


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
