"""Tests that the architecture page names the rooms, the files and the passes that there are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from onnxnorm.passes import DEFAULT, PASSES, Journal, PassSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    start = PAGE.index(f"## {title}")
    return PAGE[start : PAGE.find("\n## ", start)]


def _first_cells(section: str, header: str) -> list[list[str]]:
    """Return the code words in the first cell of each row of the table that has this header."""
    table = section[section.index(f"| {header} |") :].partition("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table]


def test_rooms_are_those_of_the_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert _first_cells(_section("The rooms"), "room") == [layer.split(" | ") for layer in layers]


def test_passes_are_those_of_the_pipeline_in_their_files() -> None:
    section = _section("The way of a model")
    assert [name for (name,) in _first_cells(section, "pass")] == list(DEFAULT)
    for name, file in re.findall(r"^\| `(\w+)` \| `(passes/\w+\.py)` \|", section, re.MULTILINE):
        module = type(PASSES[name](Journal(), PassSettings())).__module__
        assert file == module.removeprefix("onnxnorm.").replace(".", "/") + ".py"


def test_files_and_folders_exist() -> None:
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", PAGE))
    assert len(named) > 50
    assert not [name for name in named if not (ROOT / "onnxnorm" / name).exists() and not (ROOT / name).exists()]


def test_functions_are_in_the_files_before_them() -> None:
    named = re.findall(r"`([\w/]+\.py)`: `(\w+)`", PAGE)
    assert len(named) > 15
    for file, name in named:
        text = (ROOT / "onnxnorm" / file).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(?:def |class )?{name}\b", text, re.MULTILINE), f"{file} has no {name}"
