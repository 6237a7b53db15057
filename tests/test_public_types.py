"""Tests that a type checker sees the public names: which are there, and which type comes out for which went in."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import onnxnorm
from onnxnorm.optimizer import optimize

pytest.importorskip("mypy")

ROOT = Path(__file__).resolve().parent.parent

RIGHT = """
import onnx
import onnx_ir as ir
import onnxnorm
from typing_extensions import assert_type

proto = onnx.ModelProto()
graph = ir.serde.deserialize_model(proto)

assert_type(onnxnorm.optimize("a.onnx").model, onnx.ModelProto)
assert_type(onnxnorm.optimize(proto, target="web", verify=False).model, onnx.ModelProto)
assert_type(onnxnorm.optimize(graph, passes=["clean"]).model, ir.Model)
assert_type(onnxnorm.optimize(onnxnorm.optimize(graph)).model, ir.Model)
assert_type(onnxnorm.optimize(onnxnorm.optimize("a.onnx")).model, onnx.ModelProto)
assert_type(onnxnorm.fold(graph).model, ir.Model)
assert_type(onnxnorm.fold("a.onnx", freeze_inputs=True).model, onnx.ModelProto)


def read(result: onnxnorm.OptimizeResult, report: onnxnorm.VerifyReport, record: onnxnorm.NormRecord) -> None:
    rewrites: tuple[onnxnorm.Rewrite, ...] = result.rewrites
    declined: tuple[onnxnorm.Decline, ...] = result.declined
    fate: onnxnorm.Fate = record.fate
    passed: bool = report.passed
    names: tuple[str, ...] = onnxnorm.TARGETS
    version: str = onnxnorm.__version__
    onnxnorm.verify("a.onnx", result)
    onnxnorm.session(result)
    onnxnorm.inspect(result)


def caught(error: onnxnorm.OnnxNormError, warning: onnxnorm.OnnxNormWarning) -> None: ...
"""

WRONG = [
    ("onnxnorm.optimise", "attr-defined"),
    ("onnxnorm.OptimiseResult", "attr-defined"),
    ("onnxnorm.optimize('a.onnx').rewritten", "attr-defined"),
    ("onnxnorm.optimize('a.onnx').rewrites[0].passname", "attr-defined"),
    ("onnxnorm.optimize(graph).model.functionz", "attr-defined"),
    ("onnxnorm.optimize('a.onnx', taget='web')", "call-overload"),
    ("onnxnorm.optimize('a.onnx', opset='17')", "call-overload"),
    ("onnxnorm.optimize(3)", "call-overload"),
    ("onnxnorm.fold('a.onnx', opset=17)", "call-overload"),
    ("onnxnorm.verify('a.onnx', 'b.onnx').pased", "attr-defined"),
    ("onnxnorm.inspect('a.onnx')[0].fait", "attr-defined"),
    ("onnxnorm.Fate.LOST", "attr-defined"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What mypy says to each line of a program: the right ones first, then the wrong ones."""
    path = tmp_path_factory.mktemp("types") / "program_of_a_user.py"
    path.write_text(RIGHT + "\n" + "\n".join(expression for expression, _ in WRONG) + "\n")
    # With the settings of the project mypy finds in its cache what it knows of the package already.
    finished = subprocess.run([sys.executable, "-m", "mypy", str(path)], capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    found: dict[int, str] = {}
    for line, message in re.findall(r"program_of_a_user\.py:(\d+): error: (.*)$", finished.stdout, re.MULTILINE):
        found[int(line)] = message
    return found


def test_what_is_right_is_right_for_a_type_checker(answers: dict[int, str]) -> None:
    first_wrong = RIGHT.count("\n") + 2
    assert not {line: message for line, message in answers.items() if line < first_wrong}


@pytest.mark.parametrize(("number", "expression", "code"), [(n, *each) for n, each in enumerate(WRONG)])
def test_what_is_wrong_is_wrong_for_a_type_checker(
    number: int, expression: str, code: str, answers: dict[int, str]
) -> None:
    line = RIGHT.count("\n") + 2 + number
    assert f"[{code}]" in answers.get(line, "no error"), expression


@pytest.mark.parametrize(
    ("function", "options"),
    [(onnxnorm.optimize, optimize.OptimizeOptions), (onnxnorm.fold, optimize.FoldOptions)],
    ids=["optimize", "fold"],
)
def test_the_options_for_type_checkers_are_those_of_the_function(function: typing.Any, options: type) -> None:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    assert {parameter.name: parameter.annotation for parameter in parameters} == {
        name: str(note.__forward_arg__) for name, note in options.__annotations__.items()
    }
