"""Attributes of standard operators that are 0 or 1, off or on. What another number means, runtimes do not agree on."""

from __future__ import annotations

__all__ = ["SWITCHES"]

SWITCHES = frozenset({
    "align_corners", "allowzero", "ceil_mode", "count_include_pad", "exclusive", "keepdims", "noop_with_empty_axes",
    "reverse", "spatial", "training_mode", "transA", "transB",
})  # fmt: skip
