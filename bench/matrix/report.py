"""Writes the tables of docs/runtimes.md between two marks; what stands around them is written by hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.matrix.rows import FORMS
from bench.tables import head, row

if TYPE_CHECKING:
    from bench.matrix.command import Cell

__all__ = ["BEGIN", "END", "document"]

BEGIN = "<!-- Written by `python -m bench matrix --out docs/runtimes.md` from here on. -->"
END = "<!-- To here. -->"


def document(page: str, found: Mapping[str, Sequence[Cell]], absent: Mapping[str, str]) -> str:
    """Return the page with new tables."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    parts = [_counts(found), _reasons(found), *([_absent(absent)] if absent else [])]
    return f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}"


def _counts(found: Mapping[str, Sequence[Cell]]) -> str:
    lines = [head(("runtime", "files", *FORMS))]
    for name, cells in found.items():
        by_form = {form: [cell for cell in cells if cell.row.form == form] for form in FORMS}
        sizes = {len(group) for group in by_form.values()}
        counts = [sum(cell.is_right for cell in by_form[form]) for form in FORMS]
        lines.append(row((name, max(sizes), *counts)))
    return "\n".join(lines)


def _reasons(found: Mapping[str, Sequence[Cell]]) -> str:
    lines = [head(("runtime", "form", "files", "what is wrong", "for example"))]
    for name, cells in found.items():
        for form in FORMS:
            wrong = [cell for cell in cells if cell.row.form == form and not cell.is_right]
            kinds = Counter(_kind(cell) for cell in wrong)
            for kind, count in kinds.most_common(4):
                example = next(cell for cell in wrong if _kind(cell) == kind)
                lines.append(row((name, form, count, kind, f"{example.row.subject}, opset {example.row.opset}")))
    return "\n".join(lines)


def _kind(cell: Cell) -> str:
    if not cell.reason:
        return "other numbers"
    text = " ".join(cell.reason.split())
    for path in (word for word in text.split() if "/" in word and ("onnxnorm-matrix" in word or "build" in word)):
        text = text.replace(path, "...")
    # What matters of onnxruntime's longest message stands at its end.
    told = re.search(r"Unsupported model IR version: \d+, max supported IR version: \d+", text)
    return told[0] if told else text.replace(cell.row.name, "...")[:110]


def _absent(absent: Mapping[str, str]) -> str:
    return "\n".join([head(("not tried", "why")), *(row(each) for each in absent.items())])
