"""Tests that links between the pages lead somewhere: to a file that exists, and to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "custom_ops/*.md", "models/*.md", "bench/*.md", "fuzz/*.md")
    for path in ROOT.glob(pattern)
)
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(\s*([^)\s]+)\s*\)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Return the targets of all links outside of code."""
    return _LINK.findall(_INLINE_CODE.sub("code", _CODE.sub("", text)))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found: dict[str, int] = {}
    for heading in _HEADING.findall(_CODE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
    return {f"{anchor}-{number}" if number else anchor for anchor, most in found.items() for number in range(most + 1)}


def anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text(encoding="utf-8")) if page.suffix == ".md" else set()


def dead_links(page: Path) -> list[str]:
    """Return the links of a page to other pages, or within it, that lead nowhere."""
    dead = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT) or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    return dead


def test_every_link_leads_somewhere() -> None:
    assert len(PAGES) > 50
    assert {page.relative_to(ROOT).as_posix(): dead for page in PAGES if (dead := dead_links(page))} == {}


def test_a_dead_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# One `two`: three\n\n## Again\n\n## Again\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md) [b](other.md#one-two-three) [c](other.md#again-1) [d](#here) [e](https://example.org/x)\n"
        "`[f](in-code.md)`\n```\n[g](in-a-block.md)\n```\n"
        "[h](missing.md) [i](other.md#two) [j](#there) [k](../outside.md) [l](other.md#again-2)\n"
    )
    assert dead_links(page) == ["missing.md", "other.md#two", "#there", "../outside.md", "other.md#again-2"]


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    reached, new = set(), {ROOT / "README.md"}
    while new:
        page = new.pop()
        reached.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page.read_text(encoding="utf-8"))}
        new |= {target for target in targets if target.suffix == ".md" and target.exists()} - reached
    assert not set((ROOT / "docs").rglob("*.md")) - reached


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
