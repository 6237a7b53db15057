"""Where the graph that a runtime makes of a result is worse than the one that it makes of the original."""

from __future__ import annotations

from bench.nodes import Counts

__all__ = ["complaints"]

# Kinds that do the same work count together, so a product that takes up its bias or scale is no new product.
EXPENSIVE: dict[str, frozenset[str]] = {
    "products": frozenset(
        [
            "MatMul",
            "Gemm",
            "FusedMatMul",
            "FusedGemm",
            "MatMulInteger",
            "MatMulIntegerToFloat",
            "DynamicQuantizeMatMul",
            "QLinearMatMul",
            "QGemm",
            "Einsum",
            "FullyConnected",
        ]
    ),
    "convolutions": frozenset(
        [
            "Conv",
            "FusedConv",
            "NhwcFusedConv",
            "ConvTranspose",
            "ConvInteger",
            "QLinearConv",
            "Convolution",
            "Deconvolution",
        ]
    ),
    "recurrences": frozenset(
        ["LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "LSTMSequence", "GRUSequence", "TensorIterator"]
    ),
    "softmaxes": frozenset(["Softmax", "LogSoftmax", "QLinearSoftmax"]),
    "transcendentals": frozenset(["Erf", "Pow", "Exp", "Log", "Sqrt", "Tanh", "Div"]),
    "reductions": frozenset(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceSumSquare", "Reduce"]),
    "normalizations": frozenset(
        [
            "BatchNormalization",
            "InstanceNormalization",
            "GroupNormalization",
            "LayerNormalization",
            "SkipLayerNormalization",
            "SimplifiedLayerNormalization",
            "SkipSimplifiedLayerNormalization",
            "EmbedLayerNormalization",
            "RMSNormalization",
            "LpNormalization",
            "MeanVarianceNormalization",
            "LRN",
            "MVN",
            "RMSNorm",
            "NormalizeL2",
        ]
    ),
}
# The least that a normalization replaces, where other nodes became one: a product and a sum.
STANDS_FOR = 2


def complaints(original: dict[str, Counts | str], result: dict[str, Counts | str]) -> list[str]:
    """Tell where a runtime is left with more nodes, or more of an expensive group, than of the original.

    More normalizations are no harm where each of them stands for two nodes or more that are gone: what was a product
    and a sum, or was written out, is one normalization now.
    """
    found = []
    for name, before in original.items():
        after = result[name]
        if isinstance(before, str):
            continue
        if isinstance(after, str):
            found.append(f"{name}: no longer runs: {after}")
            continue
        if after.total() > before.total():
            new = ", ".join(f"{kind} +{count}" for kind, count in (after - before).most_common(4))
            lost = ", ".join(f"{kind} -{count}" for kind, count in (before - after).most_common(4))
            found.append(f"{name}: {before.total()} -> {after.total()} nodes ({new}; {lost})")
        for group, kinds in EXPENSIVE.items():
            was, now = (sum(counted[kind] for kind in kinds) for counted in (before, after))
            others_gone = (before.total() - was) - (after.total() - now)
            replaced = STANDS_FOR * (now - was) if group == "normalizations" else None
            if now > was and (replaced is None or others_gone < replaced):
                found.append(f"{name}: {group} {was} -> {now}")
    return found
