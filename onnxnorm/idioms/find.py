"""Finds all idioms of a model, and the units that a target makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from onnxnorm.affine.units import Units
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.normalizations import with_article
from onnxnorm.idioms.activations import activations
from onnxnorm.idioms.attention import attentions
from onnxnorm.idioms.biases import biases
from onnxnorm.idioms.elementwise import run_with_neighbours
from onnxnorm.idioms.fusions import fused_for
from onnxnorm.idioms.idiom import Idiom, Kind
from onnxnorm.idioms.normalizations import written_out_normalizations
from onnxnorm.idioms.quantization import dynamic_quantizations, quantized_arithmetic
from onnxnorm.idioms.rotary import rotary_embeddings
from onnxnorm.model.walk import changeable_graphs

__all__ = ["idioms_in", "units_in"]

_FINDERS: tuple[Callable[[ir.Graph, Facts], Iterator[Idiom]], ...] = (
    activations,
    written_out_normalizations,
    attentions,
    rotary_embeddings,
    dynamic_quantizations,
    quantized_arithmetic,
    biases,
    run_with_neighbours,
)


def idioms_in(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find the idioms of one graph."""
    for finder in _FINDERS:
        yield from finder(graph, facts)


def units_in(model: ir.Model, facts: Facts, target: str) -> Units:
    """Find the units: the nodes that run as one node when the target runs the model."""
    kinds = fused_for(target)
    inner: dict[ir.Node, str] = {}
    outer: dict[ir.Node, str] = {}
    own: set[ir.Node] = set()
    products: set[ir.Node] = set()
    companions: set[ir.Node] = set()
    for graph in changeable_graphs(model):
        for idiom in idioms_in(graph, facts):
            if idiom.kind not in kinds:
                continue
            if idiom.kind is Kind.BIAS:
                own |= idiom.nodes
                continue
            if idiom.kind is Kind.ELEMENTWISE:
                companions |= idiom.nodes
                continue
            name = with_article(idiom.kind.value)
            inner.update(dict.fromkeys(idiom.nodes, name))
            outer.update(dict.fromkeys(idiom.outer, name))
            products |= idiom.products
    outer = {node: name for node, name in outer.items() if node not in inner}
    return Units(inner, outer, frozenset(own), frozenset(products), frozenset(companions))
