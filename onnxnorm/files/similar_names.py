"""Finds what a file that is missing was probably meant to be."""

from __future__ import annotations

from pathlib import Path

__all__ = ["similar_name"]


def similar_name(path: Path) -> str:
    """Return " (did you mean 'x'?)" where the folder holds a file of much the same name; else nothing."""
    # Only a mistake needs it, and every start would pay for it.
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f" (there is no folder {str(path.parent)!r})" if not path.parent.exists() else ""
    found = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f" (did you mean {str(path.with_name(found[0]))!r}?)" if found else ""
