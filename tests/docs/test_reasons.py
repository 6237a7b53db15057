"""Tests of docs/reasons/: each code has a page that is up to date, and an example whose remedy works."""

from __future__ import annotations

import pytest

from onnxnorm.journal import Code
from onnxnorm.optimizer.records import Fate
from testing.reasons.examples import EXAMPLES
from testing.reasons.pages import FOLDER, PACKAGED, index, packaged, page_of, records_of


def test_every_code_has_an_example() -> None:
    assert EXAMPLES.keys() == set(Code)


@pytest.mark.parametrize("code", Code, ids=str)
def test_the_remedy_of_a_reason_works_and_the_page_shows_it(code: Code) -> None:
    before, after = records_of(code)
    assert before.fate in (Fate.LEFT, Fate.PARTLY) and before.code is code
    assert before.remedy is not None and before.remedy.text
    becomes = EXAMPLES[code].becomes
    if becomes is None:
        assert after.fate not in (Fate.LEFT, Fate.PARTLY), after.reason
    else:
        assert after.code is becomes
    page = (FOLDER / f"{code.value}.md").read_text(encoding="utf-8")
    assert page == page_of(code, (before, after)), "run python -m testing.reasons"


def test_the_index_lists_the_pages() -> None:
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == index(), "run python -m testing.reasons"
    assert {path.name for path in FOLDER.glob("*.md")} == {"README.md", *(f"{code.value}.md" for code in Code)}


def test_the_package_has_the_same_pages() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert PACKAGED.read_text(encoding="utf-8") == packaged(pages), "run python -m testing.reasons"
