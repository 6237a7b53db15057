"""Writes docs/reasons/, a page for each code, and the package's file that has them all: `python -m testing.reasons`.

With `--check` it only compares.
"""

from __future__ import annotations

import sys

from testing.reasons.pages import FOLDER, PACKAGED, packaged, pages


def main() -> int:
    """Write the pages, or tell which are out of date."""
    made = pages()
    wanted = {**{FOLDER / name: text for name, text in made.items()}, PACKAGED: packaged(made)}
    if "--check" in sys.argv[1:]:
        old = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
        print("\n".join(f"{path} is out of date: run python -m testing.reasons" for path in old))
        return 1 if old else 0
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    print(f"{len(made)} pages written to {FOLDER}, and {PACKAGED}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
