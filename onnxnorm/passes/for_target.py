"""The base of the passes whose work depends on what the model is to run on."""

from __future__ import annotations

from onnxnorm.graph.transformation import Transformation
from onnxnorm.journal import Journal
from onnxnorm.passes.journaled import JournaledPass
from onnxnorm.passes.targets import TARGETS, Target

__all__ = ["TargetPass"]


class TargetPass(JournaledPass):
    """A pass with a journal, for one target."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        target: str | Target = "portable",
        transformation: Transformation | None = None,
    ) -> None:
        """
        Args:
            journal: is told what changed, and what is left and why.
            target: what the model is to run on, by its name or its entry in the table of targets.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._target = TARGETS[target] if isinstance(target, str) else target
