"""Keeps the journal of what the passes did and what they left, with the stable codes of the reasons (reasons.py)."""

from onnxnorm.journal.journal import Decline, Effect, Journal, Rewrite
from onnxnorm.journal.reasons import Code, Cost, Evidence, Remedy

__all__ = ["Code", "Cost", "Decline", "Effect", "Evidence", "Journal", "Remedy", "Rewrite"]
