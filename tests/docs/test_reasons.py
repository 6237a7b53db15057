"""Tests of docs/reasons/: each code has a page that is up to date, and an example whose remedy works."""

from __future__ import annotations

import pytest

from onnxnorm.journal import Code
from onnxnorm.optimizer.records import Fate
from testing.reasons.examples import EXAMPLES, WITHOUT_EXAMPLE
from testing.reasons.pages import FOLDER, pages, record_of


def test_every_code_has_an_example_or_says_why_not() -> None:
    assert not EXAMPLES.keys() & WITHOUT_EXAMPLE.keys()
    assert EXAMPLES.keys() | WITHOUT_EXAMPLE.keys() == set(Code)
    assert len(WITHOUT_EXAMPLE) <= 2


@pytest.mark.parametrize("code", EXAMPLES, ids=str)
def test_the_remedy_of_a_reason_works(code: Code) -> None:
    example = EXAMPLES[code]
    before, after = record_of(example, done=False), record_of(example, done=True)
    assert before is not None and after is not None
    assert before.fate in (Fate.LEFT, Fate.PARTLY) and before.code is code
    assert before.remedy is not None and before.remedy.text
    if example.becomes is None:
        assert after.fate not in (Fate.LEFT, Fate.PARTLY), after.reason
    else:
        assert after.code is example.becomes


def test_pages_are_those_that_the_command_writes() -> None:
    wanted = pages()
    assert {path.name for path in FOLDER.glob("*.md")} == set(wanted)
    old = [name for name, text in wanted.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert not old, "run python -m testing.reasons"
