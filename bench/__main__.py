"""Run one measurement: `python -m bench NAME [ARGUMENT ...]`; `python -m bench --list` names them all."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]) if module.name != "__main__")


def summary(name: str) -> str:
    """Read the first line of a measurement's docstring without importing it."""
    spec = importlib.util.find_spec(f"bench.{name}")
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return text.splitlines()[0] if text else ""


def main() -> None:
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        for name in names():
            print(f"{name:16}{summary(name)}")
        return
    if not arguments or arguments[0] not in names():
        print(f"usage: python -m bench NAME [ARGUMENT ...]\nnames: {', '.join(names())}", file=sys.stderr)
        raise SystemExit(2)
    name, sys.argv = arguments[0], [f"bench {arguments[0]}", *arguments[1:]]
    runpy.run_module(f"bench.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
