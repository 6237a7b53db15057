"""Keeps nodes out of what the passes do, all passes, by a disguise: an operator of a domain that nobody knows.

Where one rewrite of a model failed its proof, the nodes that it changed are left as they were, and the rest of the
model is rewritten as before.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from onnxnorm.graph.normalizations import kind_of
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.journal import Code, Journal
from onnxnorm.model.walk import graphs_within

__all__ = ["Kept"]

_DOMAIN = "onnxnorm.kept"
_PREFIX = "Kept"
_REASON = "left as it was: rewriting it failed verification"


class Kept:
    """The nodes of one model that no pass may change.

    Args:
        model: the model, changed in place.
        outputs: names of values; the nodes of the main graph that make them are kept.
    """

    def __init__(self, model: ir.Model, outputs: Iterable[str]) -> None:
        wanted = frozenset(outputs)
        self._functions = dict(model.functions)
        nodes = [node for node in model.graph if wanted & {value.name for value in node.outputs}]
        if nodes:
            # Nobody can infer what the disguised nodes give.
            infer_shapes(model)
        for node in nodes:
            node.domain, node.op_type = f"{_DOMAIN}.{node.domain}", f"{_PREFIX}{node.op_type}"
            model.graph.opset_imports[node.domain] = 1

    def reveal(self, model: ir.Model, journal: Journal) -> None:
        """Give the nodes back what they are, in this model or a copy of it; normalizations get a reason to be left."""
        for graph in graphs_within(model.graph):
            for node in graph:
                if node.domain.startswith(_DOMAIN):
                    node.domain = node.domain.removeprefix(f"{_DOMAIN}.")
                    node.op_type = node.op_type.removeprefix(_PREFIX)
                    if kind_of(node) is not None:
                        journal.decline(node, _REASON, Code.FAILED_VERIFICATION)
        for domain in [each for each in model.graph.opset_imports if each.startswith(_DOMAIN)]:
            del model.graph.opset_imports[domain]
        self._give_back_functions(model)

    def _give_back_functions(self, model: ir.Model) -> None:
        """Add the functions that the nodes call and the passes took for unused."""
        graphs = list(graphs_within(model.graph))
        while graphs:
            for node in graphs.pop():
                identifier = node.op_identifier()
                function = self._functions.get(identifier)
                if function is not None and identifier not in model.functions:
                    model.functions[identifier] = function
                    graphs.extend(graphs_within(function.graph))
                    for domain, version in function.opset_imports.items():
                        model.graph.opset_imports.setdefault(domain, version)
