"""Keeps nodes out of what the passes do, all passes, by a disguise: an operator of a domain that nobody knows.

Where one rewrite of a model failed its proof, the nodes that it changed are left as they were, and the rest of the
model is rewritten as before. A caller may ask to keep normalizations by their names too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.normalizations import kind_of
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.journal import Code, Evidence, Journal, Remedy
from onnxnorm.model.walk import changeable_graphs, changeable_roots, graphs_within
from onnxnorm.validate.choices import closest

__all__ = ["Kept"]

_DOMAIN = "onnxnorm.kept"
_ASKED = "onnxnorm.asked"
_PREFIX = "Kept"
_REASON = "left as it was: rewriting it failed verification"


class Kept:
    """The nodes of one model that no pass may change.

    Args:
        model: the model, changed in place.
        outputs: names of values; the nodes of the main graph that make them are kept.
        patterns: names of normalizations that the caller asks to keep, with `*`, `?` and `[...]` as in file names; a
            full name may be that of any node.
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
            prefix = _ASKED if node in asked else _DOMAIN
            node.domain, node.op_type = f"{prefix}.{node.domain}", f"{_PREFIX}{node.op_type}"
            # They say of which versions the operators are.
            for graph in changeable_roots(model):
                graph.opset_imports[node.domain] = 1

    def reveal(self, model: ir.Model, journal: Journal) -> None:
        """Give the nodes back what they are, in this model or a copy of it; normalizations get a reason to be left."""
        for node in _nodes(model):
            prefix = next((each for each in (_DOMAIN, _ASKED) if node.domain.startswith(f"{each}.")), None)
            if prefix is None:
                continue
            node.domain = node.domain.removeprefix(f"{prefix}.")
            node.op_type = node.op_type.removeprefix(_PREFIX)
            # Nothing else may have needed the domain.
            if node.domain in self._opsets:
                model.graph.opset_imports.setdefault(node.domain, self._opsets[node.domain])
            if kind_of(node) is None:
                continue
            if prefix == _DOMAIN:
                journal.decline(node, _REASON, Code.FAILED_VERIFICATION)
            else:
                advice = Remedy(f"leave out that {node.name!r} is kept (--keep, keep=)")
                journal.decline(node, "is kept, as was asked", Code.KEPT, evidence=Evidence(remedy=advice))
        for graph in changeable_roots(model):
            for domain in [each for each in graph.opset_imports if each.startswith((_DOMAIN, _ASKED))]:
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
    """Return the nodes that the patterns name."""
    found: dict[ir.Node, None] = {}
    for pattern in patterns:
        nodes = [node for node in _nodes(model) if _matches(node, pattern)]
        if not nodes:
            known = [node.name or "" for node in _nodes(model) if kind_of(node) is not None]
            raise OnnxNormError(
                f"{name}: no normalization is called {pattern!r}{closest(pattern, known)} (`onnxnorm inspect --all` "
                "lists them)"
            )
        found.update(dict.fromkeys(nodes))
    return found


def _matches(node: ir.Node, pattern: str) -> bool:
    return node.name == pattern or (kind_of(node) is not None and fnmatchcase(node.name or "", pattern))


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    for graph in changeable_graphs(model):
        yield from graph
