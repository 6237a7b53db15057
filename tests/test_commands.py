"""Benches and fuzzers are run by their names: `python -m bench NAME`, `python -m fuzz NAME`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testing.commands import commands

ROOT = Path(__file__).resolve().parent.parent
# timm and atheris are no part of the environment of the tests.
ELSEWHERE = {("bench", "architectures"), ("fuzz", "coverage")}
ALL = [(folder, name) for folder in ("bench", "fuzz") for name in commands(ROOT / folder)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_a_command_is_a_module_with_a_main(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    for name, text in {
        "one.py": '"""First.\n\nMore."""\ndef main(): ...',
        "helper.py": "main = 1\ndef other(): ...",
        "__main__.py": "def main(): ...",
        "package/__init__.py": "from package.one import main",
    }.items():
        (tmp_path / name).write_text(text)
    assert commands(tmp_path) == {"one": "First.", "package": ""}


@pytest.mark.parametrize("folder", ["bench", "fuzz"])
def test_list_names_all_commands(folder: str) -> None:
    process = run(folder, "--list")
    assert process.returncode == 0 and not process.stderr
    found = commands(ROOT / folder)
    assert [line.split()[0] for line in process.stdout.splitlines()] == list(found)
    assert all(found.values())
    name = next(iter(found))
    assert run(folder, name, "--list").stdout == process.stdout.splitlines(keepends=True)[0]


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("nothing", "--list")])
def test_a_name_that_is_none_is_refused(arguments: tuple[str, ...]) -> None:
    process = run("fuzz", *arguments)
    assert process.returncode == 2 and not process.stdout
    assert process.stderr.startswith("usage: python -m fuzz NAME") and "structural" in process.stderr


def test_every_command_begins_and_explains_itself() -> None:
    """Each is imported as the runner does it, in one process, and prints its help under its name."""
    script = f"""
import importlib, sys
for folder, name in {sorted(set(ALL) - ELSEWHERE)}:
    sys.argv = [f"python -m {{folder}} {{name}}", "--help"]
    try:
        importlib.import_module(f"{{folder}}.{{name}}").main()
    except SystemExit as stop:
        assert not stop.code
    else:
        raise AssertionError(name)
"""
    process = run_script(script)
    assert process.returncode == 0, process.stderr
    for folder, name in set(ALL) - ELSEWHERE:
        assert f"usage: python -m {folder} {name} " in process.stdout


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
