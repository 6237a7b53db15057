"""What the cost model of `optimize` says of a model, to be held against the graph and the time of a runtime."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxnorm.affine import AffineNode, affine_of, is_affine
from onnxnorm.affine.cost import constant_cost, node_cost
from onnxnorm.affine.rules.affine_nodes import elements_of
from onnxnorm.graph.facts import Facts

__all__ = ["Agreement", "Fit", "agreement", "fit", "work_of"]

_START = node_cost("BatchNormalization", 0)


def work_of(model: onnx.ModelProto) -> int:
    """Return the cost of the main graph in units of `onnxnorm.affine.cost`: of affines in full, of others the start.

    What depends on no input costs nothing: a runtime computes it when it loads the model.
    """
    loaded = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    facts = Facts(loaded)
    total = 0
    for node in loaded.graph:
        if node.op_type == "Constant" or all(map(facts.is_constant, node.outputs)):
            continue
        found = affine_of(node, facts) if is_affine(node) else None
        if isinstance(found, AffineNode):
            constants = [facts.constant(value) for value in node.inputs if value is not None]
            size = max((each.size for each in constants if each is not None), default=0)
            total += node_cost(node.op_type, elements_of(node, found.data, facts)) + constant_cost(size)
        else:
            total += _START
    return total


@dataclass(frozen=True)
class Fit:
    """How predicted savings compare with measured ones.

    Attributes:
        results: how many results the prediction calls cheaper.
        faster: how many of these take less time than their originals, by the median.
        nanoseconds: what a thousand units take, by least squares.
        correlation: of predicted and measured savings, from -1 to 1.
    """

    results: int
    faster: int
    nanoseconds: float
    correlation: float


def fit(savings: Iterable[tuple[float, float]]) -> Fit:
    """Fit measured savings in seconds to predicted ones in units, each pair of one result."""
    pairs = [(predicted, measured) for predicted, measured in savings if predicted > 0]
    if not pairs:
        return Fit(0, 0, 0.0, 0.0)
    units, seconds = np.array(pairs, float).T
    slope = float(units @ seconds / (units @ units))
    constant = len(pairs) < 2 or min(np.ptp(units), np.ptp(seconds)) == 0
    correlation = 0.0 if constant else statistics.correlation(units.tolist(), seconds.tolist())
    return Fit(len(pairs), int(np.sum(seconds > 0)), slope * 1e12, correlation)


@dataclass(frozen=True)
class Agreement:
    """How predicted savings compare with the nodes that a runtime saves, in numbers of results.

    Attributes:
        right: called cheaper, and run with fewer nodes.
        idle: called cheaper, and run with as many nodes.
        wrong: called cheaper, and run with more nodes.
        unforeseen: not called cheaper, and run with fewer nodes.
        alike: not called cheaper, and run with as many nodes.
        dearer: not called cheaper, and run with more nodes.
    """

    right: int
    idle: int
    wrong: int
    unforeseen: int
    alike: int
    dearer: int


def agreement(savings: Iterable[tuple[float, int]]) -> Agreement:
    """Count by predicted savings in units and by saved nodes, each pair of one result."""
    found = Counter((units > 0, (nodes > 0) - (nodes < 0)) for units, nodes in savings)
    return Agreement(*(found[cheaper, sign] for cheaper in (True, False) for sign in (1, 0, -1)))
