"""Runs one module of a folder of commands by its name, as `python -m bench NAME` and `python -m fuzz NAME` do."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

__all__ = ["commands", "run_command"]


def _source(folder: Path, module: pkgutil.ModuleInfo) -> ast.Module:
    path = folder / module.name / "__init__.py" if module.ispkg else folder / f"{module.name}.py"
    return ast.parse(path.read_text(encoding="utf-8"))


def _has_main(source: ast.Module) -> bool:
    defined = {node.name for node in source.body if isinstance(node, ast.FunctionDef)}
    imported = {alias.name for node in source.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return "main" in defined | imported


def commands(folder: Path) -> dict[str, str]:
    """Map each module of the folder that has a function `main` to the first line of its docstring.

    Nothing is imported: some commands need packages that are not installed everywhere.
    """
    found = {}
    for module in sorted(pkgutil.iter_modules([str(folder)]), key=lambda module: module.name):
        source = _source(folder, module)
        if module.name != "__main__" and _has_main(source):
            found[module.name] = (ast.get_docstring(source) or "").partition("\n")[0]
    return found


def run_command(folder: Path) -> int:
    """Run the command that the process's first argument names, with the rest as its arguments; return its exit code.

    `--list` names all commands, or describes the one named before it. The module is imported under its own name, not
    run as `__main__`, so that what it hands to processes that it spawns is found there.
    """
    package, found = folder.name, commands(folder)
    name, *rest = sys.argv[1:] or [""]
    if name == "--list" or (name in found and rest == ["--list"]):
        for each in found if name == "--list" else [name]:
            print(f"{each:16}{found[each]}")
        return 0
    if name in ("-h", "--help") or name not in found:
        usage = f"usage: python -m {package} NAME [ARGUMENT ...]\n       python -m {package} [NAME] --list"
        asked = name in ("-h", "--help")
        print(f"{usage}\nnames: {', '.join(found)}", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    sys.argv = [f"python -m {package} {name}", *rest]
    return int(importlib.import_module(f"{package}.{name}").main() or 0)
