"""Takes a model to another opset, node by node: what means the same stays, what is only spelled otherwise is rewritten.

All graphs are gone through, those that the nodes of other domains hold and the bodies of functions among them. A node
that has no form at the goal is named; nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.convert.changes import crosses, is_rewritten
from onnxnorm.convert.function_bodies import lower_by_bodies
from onnxnorm.convert.same_form import fits, says_more, schema_of, version_at, versions_between
from onnxnorm.convert.step import Step
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.edit import settle_casts
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.inline import inline
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.model.walk import graphs_of, graphs_within
from onnxnorm.ops.attach import attach_bodies_in
from onnxnorm.ops.schema import DOMAIN
from onnxnorm.write_out.normalizations import write_out

__all__ = ["BODIES_SINCE", "convert_nodes"]

BODIES_SINCE = 15
_SINCE = {"LayerNormalization": 17, "GroupNormalization": 21, "RMSNormalization": 23}
# Written by onnxruntime's tools before ONNX had it, with the same meaning.
_EARLY = frozenset({"LayerNormalization"})
_DEPRECATED = frozenset({"GroupNormalization", "Scatter", "Upsample"})


def convert_nodes(model: ir.Model, opset: int, name: str) -> None:
    """Convert the model in place.

    Raises:
        OnnxNormError: nodes have no form at `opset` that is known, all of which it names; `model` is then of no use.
    """
    present = model.graph.opset_imports.get("", 0)
    infer_shapes(model)
    origins = _prepare(model, present, opset, name)
    infer_shapes(model)
    facts, refused = Facts(model), []
    for root in (model.graph, *(function.graph for function in model.functions.values())):
        own = root.opset_imports.get("", present)
        for graph in graphs_within(root):
            settle_casts(graph)
            for node in list(graph):
                if not is_standard(node) or (why := _convert(node, own, opset, facts)) is None:
                    continue
                title = origins.get(node.name or "", f"{node.op_type} {node.name!r}")
                if (text := f"{title} {why}") not in refused:
                    refused.append(text)
    if refused:
        more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise OnnxNormError(
            f"{name} cannot be converted from opset {present} to {opset}: {'; '.join(refused[:5])}{more}"
        )
    for root in (model.graph, *(function.graph for function in model.functions.values())):
        if "" in root.opset_imports:
            root.opset_imports[""] = opset
    attach_bodies_in(model)
    infer_shapes(model)


def _prepare(model: ir.Model, present: int, opset: int, name: str) -> Mapping[str, str]:
    """Write out what the goal lacks, and put functions in place of their calls that cannot be converted as they are."""
    if opset >= BODIES_SINCE:
        for key in [key for key in model.functions if key[0] == DOMAIN]:
            # They come again at the new opset.
            del model.functions[key]
    if opset < BODIES_SINCE or any(
        _reads_attributes(function, present, opset) for function in model.functions.values()
    ):
        inline(model)
        model.graph.opset_imports.pop(DOMAIN, None)
        if opset < BODIES_SINCE and (left := next(iter(model.functions.values()), None)) is not None:
            raise OnnxNormError(
                f"{name}: the function {left.name!r} is of another opset than the model, so it cannot be put in "
                "place of its calls; export the model again"
            )
    if opset > present:
        return {}
    facts = Facts(model)
    newer = {op for op, since in _SINCE.items() if since > opset}
    for graph in graphs_of(model):
        for node in list(graph):
            if node.op_type in newer and is_standard(node):
                write_out(node, graph, facts)

    def is_missing(node: ir.Node) -> bool:
        known = schema_of(node.op_type, present) is not None or (node.op_type == "GroupNormalization" and present >= 18)
        if not known:
            return False
        if schema_of(node.op_type, opset) is None:
            return True
        # What a later definition brought is in its body.
        return not is_rewritten(node.op_type) and says_more(node, present, opset)

    return lower_by_bodies(model, present, is_missing)


def _reads_attributes(function: ir.Function, present: int, opset: int) -> bool:
    """Whether a node that changes gets an attribute from the call of the function."""
    own = function.opset_imports.get("", present)
    low, high = sorted((own, opset))
    return any(
        is_standard(node)
        and any(attribute.is_ref() for attribute in node.attributes.values())
        and bool(versions_between(node.op_type, low, high))
        for graph in graphs_within(function.graph)
        for node in graph
    )


def _convert(node: ir.Node, own: int, opset: int, facts: Facts) -> str | None:
    """Convert one node; return why not."""
    own, none = node.version or own, f"has no form at opset {opset} that is known"
    node.version = None
    version = version_at(node.op_type, own)
    if own == opset or (version is not None and version == version_at(node.op_type, opset)):
        return None
    if schema_of(node.op_type, own) is None and node.op_type not in _DEPRECATED:
        then = schema_of(node.op_type, opset)
        if then is None or (node.op_type in _EARLY and fits(node, own, opset)):
            # An operator of the runtime's own in ONNX's domain means the same at every opset.
            return None
        return none
    step = Step(node, facts, opset > own, opset)
    low, high = sorted((own, opset))
    versions = range(low + 1, high + 1)
    for version in versions if step.up else reversed(versions):
        same = crosses(step, version)
        if same is not True:
            return same or none
    if node.op_type == "Identity":
        # A Dropout was one.
        own = min(own, opset) if schema_of("Identity", own) is None else own
    return None if fits(node, own, opset) else none
