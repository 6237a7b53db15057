"""Writes the tables of docs/runtimes.md between two marks; what stands around them is written by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bench.matrix.outcomes import Outcome
from bench.matrix.rows import FORMS
from bench.tables import head, row

__all__ = ["BEGIN", "END", "document", "losses"]

BEGIN = "<!-- Written by `python -m bench matrix --out docs/runtimes.md` from here on. -->"
END = "<!-- To here. -->"
_EVERYWHERE = ("portable", "web")
_MOST_EXAMPLES = 3


def document(page: str, outcomes: Sequence[Outcome], absent: Mapping[str, str]) -> str:
    """Return the page with new tables; those of small files stay where networks alone were run, and the reverse."""
    before, _, rest = page.partition(BEGIN)
    old, _, after = rest.partition(END)
    parts = []
    for title, is_network in (("### Small files", False), ("### Networks", True)):
        chosen = [outcome for outcome in outcomes if outcome.is_network == is_network]
        if chosen:
            parts += [title, _scope(chosen), _counts(chosen), *_reasons(chosen), *_losses(chosen)]
        elif title in old:
            parts.append(title + old.partition(title)[2].partition("\n### ")[0].rstrip())
    if absent:
        parts += ["### Not run", "\n".join([head(("runtime", "why")), *(row(each) for each in absent.items())])]
    return f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}"


def losses(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return what is wrong for a target that stands for all runtimes, and was right as it was exported."""
    outcomes = list(outcomes)
    right = {_place(outcome) for outcome in outcomes if outcome.form == "exported" and outcome.is_right}
    return [
        outcome
        for outcome in outcomes
        if outcome.form in _EVERYWHERE and not outcome.is_right and _place(outcome) in right
    ]


def _place(outcome: Outcome) -> tuple[str, str, int]:
    return outcome.column, outcome.subject, outcome.opset


def _by_column(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.column].append(outcome)
    return found


def _scope(outcomes: Sequence[Outcome]) -> str:
    subjects = {outcome.subject for outcome in outcomes}
    opsets = sorted({outcome.opset for outcome in outcomes})
    names = f" ({', '.join(sorted(subjects))})" if outcomes[0].is_network else ""
    return (
        f"{len(subjects)} of them{names} at opset {', '.join(map(str, opsets))}: "
        "how many files of each form are right.\n"
        "The largest error is that of the files that are right, without those of half types."
    )


def _counts(outcomes: Sequence[Outcome]) -> str:
    lines = [head(("runtime", "files", *FORMS, "largest error"))]
    for name, cells in _by_column(outcomes).items():
        counts = [sum(cell.is_right for cell in cells if cell.form == form) for form in FORMS]
        files = sum(cell.form == "exported" for cell in cells)
        exact = [cell for cell in cells if cell.is_right and "float16" not in cell.subject]
        worst = max((cell.error for cell in exact if cell.error is not None), default=None)
        lines.append(row((name, files, *counts, "" if worst is None else f"{worst:.0e}")))
    return "\n".join(lines)


def _reasons(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for name, cells in _by_column(outcomes).items():
        by_reason: dict[str, list[Outcome]] = defaultdict(list)
        for cell in cells:
            if not cell.is_right:
                by_reason[cell.reason].append(cell)
        for reason, wrong in sorted(by_reason.items(), key=lambda item: -len(item[1])):
            forms = Counter(cell.form for cell in wrong)
            lines.append(row((name, reason, *(forms[form] or "" for form in FORMS), _examples(wrong))))
    if not lines:
        return ["All files are right."]
    return [
        "What is wrong with the others, and with how many of each form:",
        "\n".join([head(("runtime", "reason", *FORMS, "of")), *lines]),
    ]


def _losses(outcomes: Sequence[Outcome]) -> list[str]:
    lost = losses(outcomes)
    if not lost:
        return [
            "No file for `portable` or `web` is wrong in a runtime that was right with the file as it was exported."
        ]
    lines = [head(("runtime", "form", "files", "reason", "of"))]
    groups: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    for outcome in lost:
        groups[outcome.column, outcome.form, outcome.reason].append(outcome)
    for (column, form, reason), wrong in groups.items():
        lines.append(row((column, form, len(wrong), reason, _examples(wrong))))
    return ["Right as they were exported, and wrong for `portable` or `web`:", "\n".join(lines)]


def _examples(outcomes: Iterable[Outcome]) -> str:
    subjects = list(dict.fromkeys(outcome.subject for outcome in outcomes))
    more = len(subjects) - _MOST_EXAMPLES
    return ", ".join(subjects[:_MOST_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
