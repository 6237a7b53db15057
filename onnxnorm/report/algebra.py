"""The algebra of a normalization in numbers: its constants, the affine that they make, and the weights that took it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.report.texts import number, operator, shown
from onnxnorm.report.weights import Weights, weights_of

__all__ = ["algebra_of", "formula_of"]

# So many channels are shown in numbers.
_CHANNELS = 6

_FORMULAS = {
    "BatchNormalization": "y = (x - mean) / sqrt(variance + epsilon) * gamma + beta",
    "GroupNormalization": "y = (x - mean of its group) / sqrt(variance of its group + epsilon) * scale + bias",
    "InstanceNormalization": "y = (x - mean of its channel) / sqrt(variance of its channel + epsilon) * scale + bias",
    "LRN": "y = x / (bias + alpha / size * sum of x² over the channels around) ^ beta",
    "InterChannelLRN": "y = x / (bias + alpha / size * sum of x² over the channels around) ^ beta",
    "IntraChannelLRN": "y = x / (bias + alpha / window * sum of x² over the window) ^ beta",
    "LayerNormalization": "y = (x - mean) / sqrt(variance + epsilon) * scale + bias, over the last axes",
    "LpNormalization": "y = x / length of x along the axis",
    "MeanVarianceNormalization": "y = (x - mean) / (deviation + 1e-9)",
    "RMSNormalization": "y = x / sqrt(mean of x² + epsilon) * scale, over the last axes",
    "SimplifiedLayerNormalization": "y = x / sqrt(mean of x² + epsilon) * scale, over the last axes",
}


def formula_of(node: ir.Node) -> str:
    """Return the formula of a normalization node with its own numbers; empty where none is known."""
    text = _FORMULAS.get(node.op_type, "")
    values: list[str] = []
    for attribute in node.attributes.values():
        if attribute.type in (ir.AttributeType.FLOAT, ir.AttributeType.INT, ir.AttributeType.INTS):
            if attribute.is_ref() or len(values) > 8:
                continue
            value = list(attribute.as_ints())[:8] if attribute.type is ir.AttributeType.INTS else attribute.value
            values.append(
                f"{shown(attribute.name, 40)} = {value:.6g}"
                if isinstance(value, float)
                else f"{shown(attribute.name, 40)} = {value}"
            )
    return "; ".join([text, *values]) if text else ", ".join(values)


def algebra_of(
    node: ir.Node, facts: Facts, taker: tuple[ir.Node, ir.Node | None] | None, facts_after: Facts, *, upstream: bool
) -> dict[str, Any] | None:
    """Put a BatchNormalization in numbers; None for any other node, and where its constants are not known.

    Args:
        node: of the original.
        facts, facts_after: what is known of the original and of the result.
        taker: the operator that took it up, before and after.
        upstream: whether the taker stands before the normalization, whose channels are its outputs then.
    """
    if node.op_type != "BatchNormalization" or len(node.inputs) != 5:
        return None
    arrays = [facts.constant(value) for value in node.inputs[1:]]
    if any(array is None or array.ndim != 1 for array in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    if not gamma.size == beta.size == mean.size == variance.size:
        return None
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + epsilon)
        shift = beta - mean * scale
    count = min(_CHANNELS, gamma.size)
    columns: dict[str, npt.NDArray[np.float64]] = {
        "gamma": gamma,
        "beta": beta,
        "mean": mean,
        "variance": variance,
        "scale": scale,
        "shift": shift,
    }
    told: dict[str, Any] = {"channels": int(gamma.size), "epsilon": number(epsilon)}
    if taker is not None:
        columns |= _taken(taker, facts, facts_after, gamma.size, upstream)
        told["taker"] = [shown(taker[0].name), operator(taker[0].op_type, taker[0].domain), upstream]
    told["columns"] = {name: [number(each) for each in array[:count]] for name, array in columns.items()}
    return told


def _taken(
    taker: tuple[ir.Node, ir.Node | None], facts: Facts, facts_after: Facts, channels: int, upstream: bool
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the first weight of each channel and its bias, before and after."""
    columns = {}
    for when, node, known in (("before", taker[0], facts), ("after", taker[1], facts_after)):
        weights = None if node is None else weights_of(node, known)
        rows = None if weights is None else _channels(weights, upstream)
        if weights is None or rows is None or len(rows) != channels:
            continue
        columns[f"weight {when}"] = rows
        if upstream and weights.bias is not None and weights.bias.size == channels:
            columns[f"bias {when}"] = weights.bias
    return columns


def _channels(weights: Weights, upstream: bool) -> npt.NDArray[np.float64] | None:
    return weights.by_channel if upstream else weights.by_input
