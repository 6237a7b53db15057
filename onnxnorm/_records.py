"""What was done to a model and what was left, as records."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decline", "Rewrite"]


@dataclass(frozen=True)
class Rewrite:
    """One thing done: `node` (of type `op_type`) was changed by the pass `pass_name`; `detail` says how, in words."""

    pass_name: str
    node: str
    op_type: str
    detail: str


@dataclass(frozen=True)
class Decline:
    """One normalization left where it is, with the reason that a person can act on.

    Where it is written out in other operators, `node` is the last of them, `kind` names the normalization and `shape`
    is that of the tensor it normalizes (None where the rank is not known).
    """

    node: str
    op_type: str
    reason: str
    kind: str | None = None
    shape: tuple[int | str | None, ...] | None = None
