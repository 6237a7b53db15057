"""Names the domains of operators: ONNX's own, which has two spellings, and that of this project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

# The fast path comes by here without the package onnx.
if TYPE_CHECKING:
    from onnx import OperatorSetIdProto

__all__ = [
    "ASKED_DOMAIN",
    "CUSTOM_DOMAIN",
    "DISPROVED_DOMAIN",
    "KEPT_PREFIX",
    "STANDARD_DOMAINS",
    "full_name",
    "kept_as",
    "standard_opset",
]

CUSTOM_DOMAIN = "onnxnorm"
DISPROVED_DOMAIN = "onnxnorm.kept"
"""The head of the domains of nodes that no pass may change, since rewriting them failed verification."""
ASKED_DOMAIN = "onnxnorm.asked"
"""The head of the domains of nodes that no pass may change, since the caller asked for that."""
KEPT_PREFIX = "Kept"
"""The head of the operators of both."""
STANDARD_DOMAINS: frozenset[str] = frozenset({"", "ai.onnx"})


def kept_as(domain: str) -> str | None:
    """Return the head of the domain of a node that no pass may change; None for other domains."""
    return next((each for each in (DISPROVED_DOMAIN, ASKED_DOMAIN) if domain.startswith(f"{each}.")), None)


def full_name(op_type: str, domain: str) -> str:
    """Return an operator's name as people write it: with its domain where that is not ONNX's own."""
    return op_type if domain in STANDARD_DOMAINS else f"{domain}::{op_type}"


def standard_opset(imports: Iterable[OperatorSetIdProto], default: int = 0) -> int:
    """Return the version of ONNX's own operators among the imports of a model or a function; else the default."""
    return next((entry.version for entry in imports if entry.domain in STANDARD_DOMAINS), default)
