"""Keeps nodes out of what the passes do, all passes, by a disguise: an operator of a domain that nobody knows.

Where one rewrite of a model failed its proof, the nodes that it changed are left as they were, and the rest of the
model is rewritten as before. A caller may ask to keep normalizations by their names too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.normalizations import kind_of
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.journal import Code, Evidence, Journal, Remedy
from onnxnorm.model.domains import ASKED_DOMAIN, DISPROVED_DOMAIN, KEPT_PREFIX, kept_as
from onnxnorm.model.walk import changeable_graphs, changeable_roots, graphs_within, nodes_with_paths
from onnxnorm.validate.arguments import names_in
from onnxnorm.validate.choices import nearest, similar

__all__ = ["Kept"]

_REASON = "left as it was: rewriting it failed verification"


class Kept:
    """The nodes of one model that no pass may change.

    Args:
        model: the model, changed in place.
        outputs: names of values; the nodes of the main graph that make them are kept.
        patterns: names of nodes that the caller asks to keep, or patterns with `*`, `?` and `[...]` as in file names,
            which mean normalizations, and other nodes where no normalization matches.
        name: what errors call the model.

    Raises:
        OnnxNormError: a pattern matches nothing.
    """

    def __init__(
        self, model: ir.Model, outputs: Iterable[str], *, patterns: Sequence[str] = (), name: str = "the model"
    ) -> None:
        wanted = frozenset(outputs)
        self._functions = dict(model.functions)
        self._opsets = dict(model.graph.opset_imports)
        nodes = [node for node in model.graph if wanted & {value.name for value in node.outputs}]
        asked = _asked(model, patterns, name)
        if nodes or asked:
            # Nobody can infer what the disguised nodes give.
            infer_shapes(model)
        for node in dict.fromkeys((*nodes, *asked)):
            prefix = ASKED_DOMAIN if node in asked else DISPROVED_DOMAIN
            node.domain, node.op_type = f"{prefix}.{node.domain}", f"{KEPT_PREFIX}{node.op_type}"
            # They say of which versions the operators are.
            for graph in changeable_roots(model):
                graph.opset_imports[node.domain] = 1

    def reveal(self, model: ir.Model, journal: Journal) -> None:
        """Give the nodes back what they are, in this model or a copy of it; normalizations get a reason to be left."""
        for node in _nodes(model):
            prefix = kept_as(node.domain)
            if prefix is None:
                continue
            node.domain = node.domain.removeprefix(f"{prefix}.")
            node.op_type = node.op_type.removeprefix(KEPT_PREFIX)
            # Nothing else may have needed the domain.
            if node.domain in self._opsets:
                model.graph.opset_imports.setdefault(node.domain, self._opsets[node.domain])
            if kind_of(node) is None:
                continue
            if prefix == DISPROVED_DOMAIN:
                journal.decline(node, _REASON, Code.FAILED_VERIFICATION)
            else:
                advice = Remedy(f"leave out that {node.name!r} is kept (--keep, keep=)")
                journal.decline(node, "is kept, as was asked", Code.KEPT, evidence=Evidence(remedy=advice))
        for graph in changeable_roots(model):
            for domain in [each for each in graph.opset_imports if kept_as(each)]:
                del graph.opset_imports[domain]
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


def _asked(model: ir.Model, patterns: Sequence[str], name: str) -> dict[ir.Node, None]:
    """Return the nodes that the patterns name: all of a full name; else normalizations, and others where none match."""
    patterns = names_in("keep", patterns)
    found: dict[ir.Node, None] = {}
    names = _names(model) if patterns else {}
    for pattern in patterns:
        nodes = [node for node, own in names.items() if pattern in own]
        nodes = nodes or [node for node, own in names.items() if any(fnmatchcase(each, pattern) for each in own)]
        nodes = [node for node in nodes if pattern in names[node] or kind_of(node) is not None] or nodes
        if not nodes:
            raise OnnxNormError(f"{name}: {_unknown(pattern, names)} (`onnxnorm inspect --all` lists normalizations)")
        found.update(dict.fromkeys(nodes))
    return found


def _names(model: ir.Model) -> dict[ir.Node, tuple[str, ...]]:
    """Return the names of each node: its own, and in a subgraph or a function also that with the path to it."""
    return {
        node: (node.name or "", *((f"{path}/{node.name}",) if path else ())) for node, path in nodes_with_paths(model)
    }


def _unknown(pattern: str, names: Mapping[ir.Node, tuple[str, ...]]) -> str:
    """Say that no node is called so, and what may have been meant."""
    maker = next((node for node in names if pattern in {value.name for value in node.outputs}), None)
    if maker is not None:
        return f"no node is called {pattern!r}; the node that makes that value is {maker.name!r}"
    verb = "matches" if any(each in pattern for each in "*?[") else "is called"
    own = [name for node, (name, *_) in names.items() if kind_of(node) is not None]
    others = [name for node, (name, *_) in names.items() if kind_of(node) is None]
    is_other = not similar(pattern, own) and similar(pattern, others)
    return f"no node {verb} {pattern!r}{nearest(pattern, others if is_other else own)}"


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    for graph in changeable_graphs(model):
        yield from graph
