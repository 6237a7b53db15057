"""Tests that docstrings name their subject: no fragments that only the code around them explains."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import onnxnorm

PACKAGE = Path(onnxnorm.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# A docstring that begins so leaves out what it is about.
FRAGMENTS = frozenset(["As", "By", "From", "How", "In", "Its", "Of", "That", "Their", "Those", "To", "What", "With"])
PUBLIC_MODULES = ("layers", "lrn", "reference", "testing")
NEEDS_TORCH = {"layers"}


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every docstring of a file with its line: of the module, and of classes, functions and attributes."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for statement in node.body:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, inspect.cleandoc(text)


def fault_of(text: str) -> str | None:
    """What is wrong with the first sentence of a docstring, or None."""
    if text.startswith("Args:"):
        # The docstring of a constructor: the class says what it makes.
        return None
    first = text.split("\n\n")[0]
    word = first.split(maxsplit=1)[0] if first.strip() else ""
    if not word:
        return "is empty"
    if word in FRAGMENTS:
        return f"begins with {word!r}"
    return None if first.endswith(".") else "has a first sentence that does not end with a period"


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of each file of the package."""
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_every_docstring_names_its_subject(trees: dict[str, ast.Module]) -> None:
    found = [(file, line, text) for file, tree in trees.items() for line, text in docstrings(tree)]
    faults = [
        f"{file}:{line} {fault}: {text.splitlines()[0] if text else ''}"
        for file, line, text in found
        if (fault := fault_of(text)) is not None
    ]
    assert not faults
    assert len(found) > 1000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Return the shape.", None),
        ("Whether the node is a sum.", None),
        ("Args:\n    facts: what is known of the model.", None),
        ("Open a model.\n\nRaises:\n    OnnxNormError: it cannot be read", None),
        ("Of the last Reshape.", "begins with 'Of'"),
        ("To the rules, as long as the model stays as it is.", "begins with 'To'"),
        ("How nearly every search ends, without the search.", "begins with 'How'"),
        ("Return the shape", "has a first sentence that does not end with a period"),
        ("Return the shape\n\nIt has a rank.", "has a first sentence that does not end with a period"),
        ("", "is empty"),
    ],
)
def test_a_fragment_is_told_from_a_sentence(text: str, fault: str | None) -> None:
    assert fault_of(text) == fault


def test_docstrings_of_every_kind_are_found() -> None:
    source = '"""M."""\nX = 1\n"""X."""\nclass C:\n    """C."""\n    y: int\n    """Y."""\n    def f(): """F."""\n'
    assert sorted(text for _, text in docstrings(ast.parse(source))) == ["C.", "F.", "M.", "X.", "Y."]


def members_of(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The public classes and functions that a module defines, and the public methods and properties of the classes."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__ or not callable(value):
            continue
        yield name, value
        for own, member in vars(value).items() if inspect.isclass(value) else ():
            function = getattr(member, "__func__", member)
            if not own.startswith("_") and (inspect.isfunction(function) or isinstance(member, property)):
                yield f"{name}.{own}", function


def _is_overload(node: ast.AST) -> bool:
    """Whether the function is a signature for type checkers; the function itself has the docstring."""
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in decorators)


def undocumented(tree: ast.Module) -> list[str]:
    """Return the classes and functions of a module, and the module, that have no docstring and no underscore."""
    defined = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))]
    own = [
        node.name
        for node in defined
        if not node.name.startswith("_") and ast.get_docstring(node) is None and not _is_overload(node)
    ]
    return ([] if ast.get_docstring(tree) else ["the module"]) + own


def test_every_function_and_class_that_a_module_gives_has_a_docstring(trees: dict[str, ast.Module]) -> None:
    assert {file: names for file, tree in trees.items() if (names := undocumented(tree))} == {}


def test_what_has_no_docstring_is_found() -> None:
    source = "class C: ...\nclass _D: ...\ndef f(): ...\n@overload\ndef g(): ...\ndef g():\n    'G.'\n"
    assert undocumented(ast.parse(source)) == ["the module", "C", "f"]


@pytest.mark.parametrize("name", onnxnorm.__all__)
def test_every_public_function_class_and_method_has_a_docstring(name: str) -> None:
    if name in NEEDS_TORCH:
        pytest.importorskip("torch")
    found = getattr(onnxnorm, name)
    members = list(members_of(importlib.import_module(f"onnxnorm.{name}"))) if name in PUBLIC_MODULES else []
    assert [each for each, member in [(name, found), *members] if not getattr(member, "__doc__", None)] == []
