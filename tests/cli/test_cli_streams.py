"""Tests of the program with streams that are closed, or whose encoding lacks characters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.cli.samples import conv_bn_lrn

PROGRAM = [sys.executable, "-m", "onnxnorm"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = conv_bn_lrn()
    next(node for node in model.graph.node if node.op_type == "BatchNormalization").name = "Größe_☃"
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_an_encoding_without_the_characters_of_a_name(path: Path) -> None:
    words = [*PROGRAM, "inspect", str(path)]
    done = subprocess.run(words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    assert "Gr\\xf6\\xdfe_\\u2603" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as shells of POSIX do")
@pytest.mark.parametrize("closing", ["<&- >&-", ">&- 2>&-"])
def test_closed_streams_cost_nothing_but_what_they_would_show(closing: str, path: Path) -> None:
    """The result is whole: no library printed into it by the number of a stream."""
    out = path.with_name("out.onnx")
    program = " ".join(map(repr, PROGRAM))
    script = f"{program} optimize {str(path)!r} {str(out)!r} --no-verify {closing}"
    assert subprocess.run(["sh", "-c", script]).returncode == 0
    onnx.checker.check_model(onnx.load(out))
