"""Tests that the pages name calls, options and commands as they are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import onnxnorm
from onnxnorm.cli import _COMMANDS, _make_parser
from onnxnorm.passes.targets import TARGETS
from testing.commands import commands

ROOT = Path(__file__).resolve().parents[2]
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CALLS = re.findall(r"^\| `(\w+)\((.*)\)` \|", API, re.MULTILINE)


def options() -> set[str]:
    """Return the long options of all commands."""
    (commands,) = (action for action in _make_parser(_COMMANDS)._actions if action.dest == "command")
    parsers = commands.choices or {}
    return {option for parser in parsers.values() for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize(("name", "parameters"), CALLS, ids=[name for name, _ in CALLS])
def test_calls_of_the_api_page_are_those_of_the_package(name: str, parameters: str) -> None:
    if name == "export":
        pytest.importorskip("torch")
    signature = inspect.signature(getattr(onnxnorm, name)).parameters
    (function,) = ast.parse(f"def f({parameters}): ...").body
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    pairs = [*zip(reversed(given.args), reversed(given.defaults), strict=False)]
    pairs += [(arg, default) for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default]
    for argument in (*given.args, *given.kwonlyargs):
        assert argument.arg in signature
    for argument, default in pairs:
        assert signature[argument.arg].default == ast.literal_eval(default), argument.arg
    for argument in given.kwonlyargs:
        assert signature[argument.arg].kind is inspect.Parameter.KEYWORD_ONLY


def test_public_names_are_all_on_the_api_page() -> None:
    table = API[API.index("| call |") : API.index("## Export")]
    assert not [name for name in onnxnorm.__all__ if not re.search(rf"^\|[^|]*`{name}\b", table, re.MULTILINE)]


def test_options_on_the_page_of_the_command_line_exist() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert len(named) > 10
    assert named <= options() | {"--help"}


def test_commands_in_the_pages_exist() -> None:
    pages = [*PAGES, ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"]
    named = {name for page in pages for name in re.findall(r"`onnxnorm ([a-z]+)", page.read_text(encoding="utf-8"))}
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^onnxnorm (\w+)", text, re.MULTILINE))
    assert shown == set(_COMMANDS)
    assert {"doctor", "optimize", "run"} <= named <= shown


def test_benches_and_fuzzers_in_the_pages_exist() -> None:
    """Pages name a bench or a fuzzer as `python -m bench NAME`, which is the one way to run it."""
    pages = [*PAGES, ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", ROOT / "custom_ops" / "README.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"python3? -m (bench|fuzz) (\w+)", text))
    assert len(named) > 15
    found = {(folder, name) for folder in ("bench", "fuzz") for name in commands(ROOT / folder)}
    assert named <= found
    assert not re.findall(r"python3? (?:-m )?(?:bench|fuzz)[./]\w+", text)


def test_targets_are_those_of_the_table() -> None:
    text = (ROOT / "docs" / "recognition.md").read_text(encoding="utf-8")
    sentence = re.search(r"names what the result is to run on: ([^.]*)\.", text)
    assert sentence is not None
    assert re.findall(r"`(\w+)`", sentence[1]) == list(TARGETS)


def test_files_that_the_pages_name_exist() -> None:
    text = "\n".join(
        page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"]
    )
    folders = "onnxnorm|tests|testing|docs|bench|fuzz|custom_ops|models"
    named = set(re.findall(rf"`((?:{folders})/[\w/.]*)`", text))
    assert len(named) > 40
    assert not [name for name in named if not (ROOT / name).exists()]
    held = re.findall(rf"`(\w+)` (?:of|in)\s+`((?:{folders})/[\w/]*\.\w+)`", text)
    assert len(held) > 5
    assert not [each for each in held if each[0] not in (ROOT / each[1]).read_text(encoding="utf-8")]


# Folders and files that a clone has, and a wheel has not.
_OF_A_CLONE = re.compile(
    r"\b(docs|tests|testing|bench|fuzz|release|custom_ops|models|examples)/|dev\.py|python3? -m (bench|fuzz|testing)"
)
# The table of targets names its sources for whoever reads the code; none of them is printed.
_SOURCES = "passes/targets.py"


def _texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the texts of a file that are no docstrings."""
    bare = {statement.value for statement in ast.walk(tree) if isinstance(statement, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in bare:
            yield node


def test_messages_and_public_docstrings_name_no_file_that_a_wheel_lacks() -> None:
    package = Path(onnxnorm.__file__).parent
    found = []
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        texts = [] if name == _SOURCES else [*_texts(ast.parse(path.read_text(encoding="utf-8")))]
        found += [f"{name}:{text.lineno} {text.value}" for text in texts if _OF_A_CLONE.search(text.value)]
    public = [getattr(onnxnorm, name) for name in onnxnorm.__all__ if name != "layers"]
    members = [member for each in public if inspect.isclass(each) for member in vars(each).values()]
    told = {each: inspect.getdoc(each) or "" for each in [*public, *filter(callable, members)] if callable(each)}
    found += [f"{each}: {text}" for each, text in told.items() if _OF_A_CLONE.search(text)]
    assert not found
