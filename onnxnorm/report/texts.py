"""Names and texts of a model as a page may show them: short, and without characters that play tricks on readers."""

from __future__ import annotations

import unicodedata

import numpy as np

from onnxnorm.model.domains import full_name

__all__ = ["number", "operator", "shown"]

_LONGEST = 160
# Control characters, marks that turn the direction of writing, halves of surrogate pairs, separators of lines.
_INVISIBLE = frozenset(["Cc", "Cf", "Cs", "Co", "Zl", "Zp"])


def shown(text: str | None, longest: int = _LONGEST) -> str:
    """Return the text with invisible characters written out and its end cut off where it is too long."""
    if not text:
        return ""
    head = text[:longest]
    if not head.isascii() or not head.isprintable():
        head = "".join(_escaped(each) if unicodedata.category(each) in _INVISIBLE else each for each in head)
    return head if len(text) <= longest else f"{head}… ({len(text):,} characters)"


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def operator(op_type: str, domain: str) -> str:
    """Return an operator's name as people write it: with its domain where that is not ONNX's own."""
    return shown(full_name(op_type, domain), 60)


def number(value: float) -> float | str:
    """Return a number with six digits, as JSON has it; NaN and the infinities are texts."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(f"{value:.6g}")
