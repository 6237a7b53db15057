"""Finds what a file that is missing was probably meant to be."""

from __future__ import annotations

from pathlib import Path

__all__ = ["similar_name"]


def similar_name(path: Path) -> str:
    """Return " (did you mean 'x'?)" where the folder holds a file of much the same name; else nothing.

    A link that leads nowhere is told as such, and that `-` means a file here.
    """
    if str(path) == "-":
        return " ('-' means a file of that name: what a pipe brings has to be written to a file first)"
    if path.is_symlink():
        return f" (it is a link to {str(path.readlink())!r}, which is not there)"
    # Only a mistake needs it, and every start would pay for it.
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f" (there is no folder {str(path.parent)!r})" if not path.parent.exists() else ""
    found = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f" (did you mean {str(path.with_name(found[0]))!r}?)" if found else ""
