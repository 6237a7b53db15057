"""Writes docs/reasons/, a page for each code: `python -m testing.reasons`; with `--check` it only compares."""

from __future__ import annotations

import sys

from testing.reasons.pages import FOLDER, pages


def main() -> int:
    """Write the pages, or tell which are out of date."""
    wanted = pages()
    if "--check" in sys.argv[1:]:
        old = [
            name for name, text in wanted.items() if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text
        ]
        print("\n".join(f"{name} is out of date: run python -m testing.reasons" for name in old))
        return 1 if old else 0
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{len(wanted)} pages written to {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
