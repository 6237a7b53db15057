"""The kinds of normalization that a node can be."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

__all__ = ["KINDS", "kind_of", "with_article"]


KINDS: Mapping[tuple[str, str], str] = {
    ("", "BatchNormalization"): "BatchNormalization",
    ("", "GroupNormalization"): "GroupNormalization",
    ("", "InstanceNormalization"): "InstanceNormalization",
    ("", "LRN"): "LRN (inter-channel)",
    ("", "LayerNormalization"): "LayerNormalization",
    ("", "LpNormalization"): "LpNormalization",
    ("", "MeanVarianceNormalization"): "MeanVarianceNormalization",
    ("", "RMSNormalization"): "RMSNormalization",
    ("", "SimplifiedLayerNormalization"): "RMSNormalization",
    ("com.microsoft", "GroupNorm"): "GroupNormalization",
    ("com.microsoft", "SkipGroupNorm"): "GroupNormalization",
    ("com.microsoft", "SkipLayerNormalization"): "LayerNormalization",
    ("com.microsoft", "EmbedLayerNormalization"): "LayerNormalization",
    ("com.microsoft", "SimplifiedLayerNormalization"): "RMSNormalization",
    ("com.microsoft", "SkipSimplifiedLayerNormalization"): "RMSNormalization",
    ("onnxnorm", "ChannelAffine"): "channel affine",
    ("onnxnorm", "ChannelLayerNorm"): "LayerNormalization",
    ("onnxnorm", "ChannelLpNorm"): "LpNormalization",
    ("onnxnorm", "ChannelRMSNorm"): "RMSNormalization",
    ("onnxnorm", "GlobalResponseNorm"): "global response normalization",
    ("onnxnorm", "GroupNorm"): "GroupNormalization",
    ("onnxnorm", "MeanVarianceNorm"): "MeanVarianceNormalization",
    ("onnxnorm", "InterChannelLRN"): "LRN (inter-channel)",
    ("onnxnorm", "IntraChannelLRN"): "LRN (intra-channel)",
}
"""Names in the field by domain and operator, for everything that this project calls a normalization."""


def kind_of(node: ir.Node, opset: int | None = None) -> str | None:
    """Return the name in the field of the normalization that a node is; None where it is none.

    Args:
        node: the node.
        opset: the version of ONNX's operators that it is of; None where that is later than 6, or does not matter.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    kind = KINDS.get((domain, node.op_type))
    if kind == "BatchNormalization":
        # `spatial` went with opset 9; `training_mode` came with opset 14.
        if node.attributes.get_int("spatial", 1) == 0:
            return "BatchNormalization (per-activation)"
        silent = opset is not None and opset < 7 and node.attributes.get_int("is_test", 0) == 0
        if silent or node.attributes.get_int("training_mode", 0) == 1:
            return "BatchNormalization (training mode)"
    return kind


def with_article(name: str) -> str:
    """Return a name in the field with its article: "an LRN", "a GroupNormalization"."""
    return f"{'an' if name.startswith(_SPOKEN_WITH_A_VOWEL) else 'a'} {name}"


_SPOKEN_WITH_A_VOWEL = (*"AEIOaeio", "LRN", "Lp", "RMS")
