"""Puts model-local functions that normalize, or that normalizations go into, in place of their calls.

Before: a call of a function whose body, or that of a function called there, holds a BatchNormalization or what may be
a written-out normalization; where there is a BatchNormalization, also of one that holds a convolution or a product.
After: the body, with the names, weights and attributes of that call.
A function may be called with other weights each time, and what stands around a call may absorb what is inside: only in
place can each call be folded on its own. Functions of the domain `onnxnorm` stay: they are the portable bodies of our
operators. Functions that normalize nothing stay too, unless the target knows none, and so do those of the domains in
which runtimes have kernels, and those of another opset than the model's.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.inline import inline, that_fit
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.normalizations import kind_of
from onnxnorm.journal import Journal
from onnxnorm.model.domains import CUSTOM_DOMAIN
from onnxnorm.model.walk import changeable_graphs, graphs_of, graphs_within
from onnxnorm.passes.targets import TARGETS
from onnxnorm.recognize.candidates import candidates

__all__ = ["InlineFunctions", "forget_domains", "inline_for_plain_file"]

_NAME = "inline_functions"
_ORIGIN = "onnxnorm.name_in_the_function"
# They absorb a batch normalization beside the call, as where an exporter made a function of each module.
_ABSORBERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_WITH_KERNELS = ("com.microsoft", "ai.onnx")


class InlineFunctions(ir.passes.InPlacePass):
    """Inlines, by onnx-ir's pass, the functions for which it pays."""

    def __init__(self, journal: Journal | None = None, *, target: str | None = None) -> None:
        """
        Args:
            journal: is told which calls went.
            target: what the result is to run on; where that knows no functions, none stays that can go.
        """
        super().__init__()
        self._journal = Journal() if journal is None else journal
        self._is_plain = target is not None and not TARGETS[target].knows_functions

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = self._inline_normalizing(model)
        if self._is_plain:
            # What goes in the end goes first, so that nothing stops at the border of a function until then.
            modified |= inline_for_plain_file(model)
        return ir.passes.PassResult(model, modified)

    def _inline_normalizing(self, model: ir.Model) -> bool:
        normalizing = _normalizing(model) & that_fit(model).keys()
        if not normalizing:
            return False
        for graph in graphs_within(model.graph):
            for node in graph:
                if node.op_identifier() in normalizing:
                    self._journal.rewrite(_NAME, node, node.op_type, "put in place of its call, to fold what it holds")
        bodies = [model.functions[identifier].graph for identifier in normalizing]
        norms = [node for body in bodies for node in body.all_nodes() if kind_of(node) is not None]
        for node in norms:
            node.meta[_ORIGIN] = node.name or ""
        inline(model, lambda function: function.identifier() in normalizing)
        for graph in graphs_within(model.graph):
            for node in graph:
                if (origin := node.meta.pop(_ORIGIN, None)) is not None:
                    self._journal.copied(origin, node.name or "")
        return True


def inline_for_plain_file(model: ir.Model) -> bool:
    """Put the functions that have no kernel anywhere in place of their calls; tell whether there was one."""
    kept = (CUSTOM_DOMAIN, *_WITH_KERNELS)
    chosen = [each for each, function in that_fit(model).items() if not function.domain.startswith(kept)]
    if chosen:
        inline(model, lambda function: function.identifier() in chosen)
        forget_domains(model, {domain for domain, *_ in chosen})
    return bool(chosen)


def forget_domains(model: ir.Model, domains: set[str]) -> None:
    """Import those of the domains no more of which there is no node."""
    for domain in domains - {node.domain for graph in graphs_of(model) for node in graph} - {""}:
        model.graph.opset_imports.pop(domain, None)


def _normalizing(model: ir.Model) -> set[ir.OperatorIdentifier]:
    """Return the functions that normalize or absorb, at first or second hand."""
    found: set[ir.OperatorIdentifier] = set()
    calls: dict[ir.OperatorIdentifier, set[ir.OperatorIdentifier]] = {}
    wanted = {"BatchNormalization"} | (_ABSORBERS if _has_batch_norm(model) else set())
    for identifier, function in model.functions.items():
        if function.domain == CUSTOM_DOMAIN:
            continue
        nodes = list(function.graph.all_nodes())
        calls[identifier] = {node.op_identifier() for node in nodes}
        has_kernel = function.domain.startswith(_WITH_KERNELS)
        holds = {node.op_type for node in nodes if is_standard(node)}
        if "BatchNormalization" in holds or (not has_kernel and (holds & wanted or any(candidates(function.graph)))):
            found.add(identifier)
    while new := {identifier for identifier, called in calls.items() if identifier not in found and called & found}:
        found |= new
    return found


def _has_batch_norm(model: ir.Model) -> bool:
    return any(
        node.op_type == "BatchNormalization" and is_standard(node)
        for graph in changeable_graphs(model)
        for node in graph
    )
