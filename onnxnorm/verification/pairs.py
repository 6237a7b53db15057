"""Pairs the values inside a result with those of the original that they should equal.

An optimizer changes values inside although the outputs stay: a convolution that took up its normalization gives what
the normalization gave before. So a value of the result is paired with the value of the original that it equals, under
the same name or another; where it equals none, with the one of its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnxnorm.verification.inside import Sketch

__all__ = ["Pair", "pairs_of", "reads", "region_before"]

_NEAR = 0.05
"""Proportion of its size by which a value may differ from another and is still taken for it, with errors."""
_EQUAL = 1e-6
"""Proportion up to which no value of another name is looked for."""
_NEARER = 8.0
"""Factor by which a value of another name must be nearer than the one of the same name to be taken instead."""
_TRIED = 64


@dataclass(frozen=True)
class Pair:
    """A value of the result and the value of the original that it should equal.

    Attributes:
        original, result: their names.
        is_near: whether the two are alike; otherwise they have only their name in common: one is wrong, or it means
            something else in the result.
    """

    original: str
    result: str
    is_near: bool


def pairs_of(original: Mapping[str, Sketch], result: Mapping[str, Sketch]) -> dict[str, Pair]:
    """Pair the values of the result, by their names."""
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name in sorted(original, key=lambda each: original[each].size):
        shapes.setdefault(original[name].shape, []).append(name)
    sizes = {shape: np.array([original[name].size for name in names]) for shape, names in shapes.items()}
    pairs = {}
    for name, sketch in result.items():
        same = original[name].distance(sketch) if name in original else np.inf
        if same <= _EQUAL:
            pairs[name] = Pair(name, name, True)
            continue
        if sketch.shape in sizes and sketch.size > 0:
            place = int(np.searchsorted(sizes[sketch.shape], sketch.size))
            around = shapes[sketch.shape][max(place - _TRIED // 2, 0) : place + _TRIED // 2]
            away, nearest = min((original[each].distance(sketch), each) for each in around)
            if away <= _NEAR and away * _NEARER <= same:
                pairs[name] = Pair(nearest, name, True)
                continue
        if name in original:
            pairs[name] = Pair(name, name, same <= _NEAR)
    return pairs


def region_before(model: onnx.ModelProto, starts: Iterable[str], right: Iterable[str]) -> list[onnx.NodeProto]:
    """Return the nodes of the main graph on which the starting values depend, back to values that are right.

    They come in the order of the graph.
    """
    known, wanted, found = set(right), set(starts), []
    for node in reversed(model.graph.node):
        if wanted.isdisjoint(node.output):
            continue
        found.append(node)
        wanted.update(name for name in reads(node) if name not in known)
    return found[::-1]


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the names of the values that a node reads, in its subgraphs too."""
    names = set(filter(None, node.input))
    stack = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    while stack:
        graph = stack.pop()
        names.update(output.name for output in graph.output)
        for inner in graph.node:
            names.update(filter(None, inner.input))
            stack += [each for attribute in inner.attribute for each in (attribute.g, *attribute.graphs)]
    return names
