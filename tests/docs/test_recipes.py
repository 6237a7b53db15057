"""Tests of the recipes of CONTRIBUTING.md: their Python runs as it stands there, and their patches apply."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given

import onnxnorm.affine.rules as rules
import onnxnorm.passes as passes
import onnxnorm.recognize.acceptance as acceptance
from testing.builder import QUICK, Builder, affines, folded
from tests.affine import pairs
from tests.affine.around import Surroundings, check_around
from tests.docs.test_docstrings import docstrings, fault_of, undocumented

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python\n# ([\w./]+)[^\n]*\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
SKELETONS = ("docs/skeletons/rule.py", "docs/skeletons/transformation.py")
PATCHES = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def module_of(path: str, monkeypatch: pytest.MonkeyPatch, **given: Any) -> ModuleType:
    """Execute a block of the page as the module that it would be; `given` is what the file that it adds to has."""
    name = path.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    module.__dict__.update(given)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(BLOCKS[path], path, "exec", dont_inherit=True), module.__dict__)
    return module


def run_tests_of(module: ModuleType) -> int:
    """Run the parametrized tests of a module and return how many cases they were."""
    count = 0
    for name, test in vars(module).items():
        if name.startswith("test_"):
            (mark,) = test.pytestmark
            names, cases = mark.args
            for case in cases:
                test(**dict(zip(names, case, strict=True)))
                count += 1
    return count


@pytest.fixture
def compress(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert rules.rule_for(ir.Node("", "Compress", [])) is None, "the recipe needs an operator that has no rule"
    module = module_of("onnxnorm/affine/rules/compress.py", monkeypatch)
    monkeypatch.setitem(rules._TABLE, "Compress", module.compress)  # type: ignore[index]
    yield


def test_recipe_of_a_rule(compress: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_CASES", [])
    names = ("MIXED", "SHIFT", "folds", "linear", "stays")
    module_of(
        "tests/affine/pairs_layout.py", monkeypatch, np=np, Builder=Builder, **{n: getattr(pairs, n) for n in names}
    )
    assert [pair.folds for pair in pairs._CASES] == [True, False]
    for pair in pairs._CASES:
        b = Builder(**pair.options)
        model = b.model(pair.build(b))
        assert affines(model) == 1
        assert affines(folded(model).model) == (0 if pair.folds else 1)


def test_without_the_rule_its_first_graph_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's rule is what makes the difference."""
    b = Builder()
    x = b.node("Compress", b.affine(b.input((2, 4, 5)), pairs.MIXED), b.constant(np.array([True, True])), axis=2)
    assert affines(folded(b.model(pairs.linear(b, x, 4, 3))).model) == 1


@QUICK
@given(data=st.data())
def test_recipe_of_random_graphs(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        module = module_of("onnxnorm/affine/rules/compress.py", monkeypatch)
        monkeypatch.setitem(rules._TABLE, "Compress", module.compress)  # type: ignore[index]
        around = module_of("tests/affine/test_rules_layout.py", monkeypatch, np=np, st=st, Surroundings=Surroundings)
        check_around(data.draw, around._compress, ranks=(2, 3, 4))


def test_recipe_of_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    family = module_of("onnxnorm/recognize/families/mean_abs_norm.py", monkeypatch).mean_abs_norm
    monkeypatch.setattr(acceptance, "FAMILIES", (*acceptance.FAMILIES, family))
    assert run_tests_of(module_of("tests/recognize/test_mean_abs_norm.py", monkeypatch)) == 2


def test_recipe_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module_of("onnxnorm/passes/drop_second_abs.py", monkeypatch).DropSecondAbs
    monkeypatch.setitem(passes.PASSES, "drop_second_abs", lambda journal, settings: made(journal))  # type: ignore[index]
    assert run_tests_of(module_of("tests/passes/test_drop_second_abs.py", monkeypatch)) == 2


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git to read the patches")
@pytest.mark.parametrize("number", range(2))
def test_patches_of_the_kernel_apply(number: int) -> None:
    checked = subprocess.run(
        ["git", "apply", "--check", "-"], input=PATCHES[number], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("path", [*(path for path in BLOCKS if path.startswith("onnxnorm/")), *SKELETONS])
def test_what_is_copied_into_the_package_has_the_docstrings_that_it_asks_for(path: str) -> None:
    tree = ast.parse(BLOCKS.get(path) or (ROOT / path).read_text(encoding="utf-8"))
    assert undocumented(tree) == []
    assert [text for _, text in docstrings(tree) if fault_of(text)] == []


def test_every_block_is_checked_and_short() -> None:
    assert len(PATCHES) == 2
    assert len(BLOCKS) == PAGE.count("```python") == 8
    for path, code in BLOCKS.items():
        functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
        lines = {line for node in functions for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
        assert 0 < len([n for n in lines if code.splitlines()[n - 1].strip()]) < 20, path
    for patch in PATCHES:
        assert len(re.findall(r"^\+(?!\+\+ )", patch, re.MULTILINE)) < 20
