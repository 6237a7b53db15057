"""Tests that the notebooks of examples/ run from the top down, and that what they show can be shown."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__main__"}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [] and cell["execution_count"] is None, "outputs are not kept in the repository"
        tree = ast.parse("".join(cell["source"]), cell["id"])
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
            html = getattr(value, "_repr_html_", None)
            if value is not None:
                shown.append(repr(value) if html is None else html())
    assert len(shown) >= 3 and all(shown)


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"fold_and_look", "two_kinds_of_lrn"}
