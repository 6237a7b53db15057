"""Keeps the journal of what the passes did and what they left.

reasons.py has the stable codes of the reasons and the evidence for them, words.py the sentences that tell of them.
"""

from onnxnorm.journal.journal import Decline, Effect, Journal, Rewrite
from onnxnorm.journal.reasons import Code, Cost, Evidence, Remedy

__all__ = ["Code", "Cost", "Decline", "Effect", "Evidence", "Journal", "Remedy", "Rewrite"]
