"""Describes a piece of both models that was run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from onnxnorm.verification.report import VerifyReport
from onnxnorm.verification.runs import Outputs, Runs

__all__ = ["Walked"]


@dataclass(frozen=True)
class Walked:
    """A piece that was run.

    Attributes:
        original, result: the piece of each model.
        read: what that of the result reads from before it.
        handed: what the original hands on.
        report, runs: of the comparison, where there was one.
    """

    original: onnx.ModelProto
    result: onnx.ModelProto
    read: frozenset[str]
    handed: list[Outputs]
    report: VerifyReport | None
    runs: Runs | None

    @property
    def is_right(self) -> bool:
        """Whether nothing speaks against it, and all that it hands on are arrays."""
        return (self.report is None or self.report.passed) and all(
            isinstance(value, np.ndarray) for values in self.handed for value in values.values()
        )
