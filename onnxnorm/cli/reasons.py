"""Runs `onnxnorm reasons`, which explains the codes of the reasons why normalizations are left.

The pages are those of docs/reasons/ in one file, which `python -m testing.reasons` writes: an installed package has no
other documentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import resources

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.validate.choices import closest

__all__ = ["DESCRIPTIONS", "PAGES", "add_arguments", "run"]

DESCRIPTIONS = {
    "reasons": """why normalizations are left: each code explained, with an example and its remedy

Without a code, a line for each.""",
}

PAGES = "reasons.md"
"""The name of the file beside this module that has the pages."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("code", metavar="CODE", nargs="?", help="a code as optimize and inspect tell it")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from onnxnorm.cli.tables import Table, print_json, print_table

    pages = _pages()
    meanings = {code: page.partition("\n")[0] for code, page in pages.items()}
    if arguments.code is None:
        if arguments.json:
            print_json({"reasons": meanings})
            return 0
        print_table(Table.of("code meaning", meanings.items()))
        print("`onnxnorm reasons CODE` shows an example of one, and what helps.")
        return 0
    code = arguments.code.strip().lower().replace("_", "-")
    if code not in pages:
        meant = closest(code, pages)
        raise UsageError(f"no reason has the code {arguments.code!r}{meant}; `onnxnorm reasons` lists them")
    lines = _plain(f"{code}\n\n{pages[code]}")
    if arguments.json:
        print_json({"code": code, "meaning": meanings[code], "page": "\n".join(lines)})
    else:
        print("\n".join(lines))
    return 0


def _pages() -> dict[str, str]:
    """Return the pages by their codes, without their headings."""
    text = (resources.files(__package__) / PAGES).read_text(encoding="utf-8")
    found = (page.partition("\n") for page in f"\n{text}".split("\n# ")[1:])
    return {code.strip(): page.strip("\n") + "\n" for code, _, page in found}


def _plain(page: str) -> Iterator[str]:
    """Yield the lines of a page without the signs of Markdown; blocks and quotations are indented."""
    is_block = False
    for line in page.rstrip().splitlines():
        if line.startswith("```"):
            is_block = not is_block
        elif is_block:
            yield f"    {line}"
        else:
            yield f"    {line[2:]}" if line.startswith("> ") else line.removeprefix("## ")
