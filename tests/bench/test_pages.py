"""Tests that tables of the documentation are what commands write, numbers aside, and that the README agrees."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from bench.machine import CAPTION, caption
from bench.pages import COUNT, END, FIGURE, MARKER, Section, rows_of
from bench.tables import Table, head, row
from testing.commands import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for pattern in ("*.md", "docs/**/*.md", "custom_ops/*.md") for path in sorted(ROOT.glob(pattern))]
MARKERS = [(page, found) for page in PAGES for found in MARKER.finditer(page.read_text(encoding="utf-8"))]
# These have a writer of their own, with tests beside it.
OWN_WRITERS = {"matrix", "quantize"}


def source_of(name: str) -> str:
    module, package = ROOT / "bench" / f"{name}.py", ROOT / "bench" / name / "__init__.py"
    return (module if module.exists() else package).read_text(encoding="utf-8")


WRITERS = [name for name in sorted(commands(ROOT / "bench")) if "SECTIONS" in source_of(name)]


def sections(name: str) -> tuple[Section, ...]:
    """Return what a bench says that it writes; a bench that needs a package that is not here is skipped."""
    try:
        module = importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as error:
        pytest.skip(f"{name}: {error}")
    return getattr(module, "SECTIONS", ())


@pytest.mark.parametrize(("page", "found"), MARKERS, ids=[found["command"] for _, found in MARKERS])
def test_what_stands_between_markers_is_what_a_command_prints(page: Path, found: re.Match[str]) -> None:
    name = found["command"].split()[0]
    assert name in commands(ROOT / "bench")
    assert ROOT / found["page"] == page
    if name in OWN_WRITERS:
        return
    (section,) = (each for each in sections(name) if each.begin == found[0])
    assert section.problems(section.split(page.read_text(encoding="utf-8"))[1]) == []


@pytest.mark.parametrize("name", WRITERS)
def test_every_declared_section_has_its_place(name: str) -> None:
    for section in sections(name):
        assert (ROOT / section.page).read_text(encoding="utf-8").count(section.begin) == 1


def test_the_readme_has_the_figures_of_the_pages() -> None:
    from bench.readme import SECTIONS, measured

    _, inside, _ = SECTIONS[0].split((ROOT / "README.md").read_text(encoding="utf-8"))
    shown = [tuple(cells.values()) for cells in rows_of(inside, "what", "result")]
    assert shown == [(what, result, f"`python -m {command}`") for what, result, command in measured()]


ONE = Section("one --fast", "docs/one.md", ({"net": r"\w+", "nodes": COUNT, "time": rf"{FIGURE} ms|-"},))
LINES = [("a", 12, "0.25 ms"), ("b", 3, "-")]


def page(tmp_path: Path) -> Path:
    path = tmp_path / "one.md"
    path.write_text(f"Before.\n\n{ONE.begin}\n\nOld.\n\n{END}\n\nAfter.\n")
    return path


def table(*lines: tuple[object, ...], titles: tuple[str, ...] = ("net", "nodes", "time")) -> Table:
    made = Table(*titles)
    for cells in lines:
        made.add(*cells)
    return made


def test_writing_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    path = page(tmp_path)
    for lines in (LINES[:1], LINES):
        ONE.write(path, [table(*lines)])
    text = path.read_text()
    assert text.startswith(f"Before.\n\n{ONE.begin}\n\nMeasured on ") and text.endswith(f"\n\n{END}\n\nAfter.\n")
    assert text.count("| a | 12 | 0.25 ms |") == 1 and "Old." not in text
    assert ONE.problems(ONE.split(text)[1]) == []
    assert rows_of(text, "nodes", "net")[1] == {"net": "b", "nodes": "3", "time": "-"}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([], "0 tables instead of 1"),
        ([table(*LINES), table(*LINES)], "2 tables instead of 1"),
        ([table(*LINES, titles=("net", "count", "time"))], "the columns are net, count, time, not net, nodes, time"),
        ([table()], "a table without rows"),
        ([table(("a", 12))], "2 cells"),
        ([table(("a", "many", "-"))], "nodes: 'many'"),
    ],
)
def test_a_table_of_another_form_is_not_written(tables: list[Table], told: str, tmp_path: Path) -> None:
    path = page(tmp_path)
    with pytest.raises(ValueError, match=re.escape(told)):
        ONE.write(path, tables)
    assert "Old." in path.read_text()


@pytest.mark.parametrize("text", ["Nothing.", ONE.begin, END, f"{END}{ONE.begin}"])
def test_a_page_without_both_markers_is_left(text: str, tmp_path: Path) -> None:
    path = tmp_path / "one.md"
    path.write_text(text)
    with pytest.raises(ValueError, match="no place"):
        ONE.write(path, [table(*LINES)])
    assert path.read_text() == text


def test_a_text_without_a_caption_is_told() -> None:
    lines = "\n".join([head(("net", "nodes", "time")), *map(row, LINES)])
    assert ONE.problems(f"On some machine.\n\n{lines}") == ["no caption that names the machine"]


def test_the_caption_names_machine_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    here = caption(["onnx", "no-such-package"])
    assert CAPTION.fullmatch(here) and ", onnx 1" in here and "no-such-package" not in here
    cpu = "model name\t: Some CPU\ncpu family\t: 25\nmodel\t\t: 1\nflags\t\t: fpu avx2 sse\n\nprocessor\t: 1\n"
    monkeypatch.setattr("bench.machine.Path.read_text", lambda *_, **__: cpu)
    assert caption([]).startswith("Measured on a Some CPU, family 25, model 1 (AVX2, ")

    def absent(*_: object, **__: object) -> str:
        raise OSError

    monkeypatch.setattr("bench.machine.Path.read_text", absent)
    assert CAPTION.fullmatch(caption([]))
