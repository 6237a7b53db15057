"""The part that passes have in common which write down what they do and read what earlier passes handed on."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.transformation import Transformation
from onnxnorm.journal import Journal

__all__ = ["JournaledPass"]


class JournaledPass(ir.passes.InPlacePass):
    """A pass with a journal, within one transformation."""

    def __init__(self, journal: Journal | None = None, *, transformation: Transformation | None = None) -> None:
        """
        Args:
            journal: is told what was changed, and what was left and why; one of its own where None.
            transformation: what earlier passes over the model hand on; None where the pass stands alone.
        """
        super().__init__()
        self._journal = Journal() if journal is None else journal
        self._transformation = transformation

    def _facts(self, model: ir.Model) -> Facts:
        return Facts(model, self._transformation)
