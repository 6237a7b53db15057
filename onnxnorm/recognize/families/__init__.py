"""The normalizations, one family a file: each asks whether a formula is its own, and says where it nearly is."""

from __future__ import annotations

from collections.abc import Callable

from onnxnorm.recognize.families.answers import Answer, Found, Named, Near, Proposal
from onnxnorm.recognize.families.grn import global_response_norm
from onnxnorm.recognize.families.instance_norm import instance_norm
from onnxnorm.recognize.families.layer_norm import layer_norm
from onnxnorm.recognize.families.lp_norm import lp_norm
from onnxnorm.recognize.families.lrn import lrn
from onnxnorm.recognize.families.mean_variance import mean_variance_norm
from onnxnorm.recognize.families.rms_norm import rms_norm

__all__ = ["FAMILIES", "Answer", "Found", "Named", "Near", "Proposal"]

FAMILIES: tuple[Callable[[Found], Answer], ...] = (
    lrn,
    lp_norm,
    layer_norm,
    instance_norm,
    rms_norm,
    mean_variance_norm,
    global_response_norm,
)
"""The families in the order in which they are asked; the first that proposes a node has it."""
