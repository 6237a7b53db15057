"""Reads conditions such as `left>0`, by which pipelines fail."""

from __future__ import annotations

import argparse
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnorm.validate.choices import closest

if TYPE_CHECKING:
    from onnxnorm.optimizer.records import NormRecord

__all__ = ["Condition"]

_COMPARED = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM = re.compile(r"\s*([\w-]+)\s*(>=|<=|==|!=|>|<)\s*(\d+)\s*")
_COUNTS = ("before", "after", "nodes_before", "nodes_after")


@dataclass(frozen=True)
class Condition:
    """A condition on one count of an account."""

    count: str
    sign: str
    number: int

    @classmethod
    def read(cls, text: str) -> Condition:
        """Read the condition as it is typed.

        Raises:
            argparse.ArgumentTypeError: it is none, or its count is not known.
        """
        from onnxnorm.journal import Code
        from onnxnorm.optimizer.records import Fate

        form = _FORM.fullmatch(text)
        if form is None:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no condition: write a count, a comparison and a number, left>0"
            )
        name, sign, number = form.groups()
        known = [*_COUNTS, *(fate.value.replace(" ", "_") for fate in Fate), *(code.value for code in Code)]
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no count {name!r}{closest(name, known)}")
        return cls(name, sign, int(number))

    def holds(self, records: Sequence[NormRecord]) -> str | None:
        """Return what is so, as a sentence, where the condition holds; else None."""
        from onnxnorm.optimizer.records import Account

        account = Account.of(records)
        if self.count in _COUNTS:
            found: int = getattr(account, self.count)
        else:
            fates = sum(record.fate.value.replace(" ", "_") == self.count for record in records)
            found = fates or sum(record.code is not None and record.code.value == self.count for record in records)
        if not _COMPARED[self.sign](found, self.number):
            return None
        return f"{self.count} is {found}, and {self.count}{self.sign}{self.number} was to fail"
