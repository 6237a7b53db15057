"""Shows records where people look at them: a table of HTML in a notebook, a data frame, types that JSON has."""

from __future__ import annotations

import dataclasses
import enum
import html
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxnorm.errors import OnnxNormError

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]

__all__ = ["data_frame", "html_table", "plain"]

_SHOWN = 20


def plain(value: object) -> Any:
    """Return records, mappings and sequences in the types that JSON has; NaN and infinities become "nan" and "inf"."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(entry) for entry in value]
    return str(value)


def html_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as a table of HTML, with every text escaped; of many rows the first alone, and how many follow."""
    listed = list(rows)
    head = "".join(f"<th style='text-align:left'>{html.escape(heading)}</th>" for heading in headings)
    body = [_row(row) for row in listed[:_SHOWN]]
    if len(listed) > _SHOWN:
        body.append(f"<tr><td colspan='{len(headings)}'>and {len(listed) - _SHOWN} more</td></tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _row(cells: Sequence[object]) -> str:
    texts = "".join(f"<td style='text-align:left'>{html.escape(str(cell))}</td>" for cell in cells)
    return f"<tr>{texts}</tr>"


def data_frame(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """Return rows as a data frame of pandas.

    Raises:
        OnnxNormError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise OnnxNormError("a data frame needs pandas: pip install pandas") from error
    return pd.DataFrame([list(row) for row in rows], columns=list(columns))
