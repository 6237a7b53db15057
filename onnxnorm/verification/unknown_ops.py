"""Cuts models around nodes that onnxruntime does not know, so that the rest of them can be proved.

What such a node gives becomes an input of both models, made up by its type and shape and the same for both; what it is
given becomes an output of both, and is compared. Nodes of the result are those of the original if their output has the
same name.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.runtime.inputs import Feeds, InputSpec
from onnxnorm.runtime.random_samples import Draw, random_samples
from onnxnorm.runtime.unoptimized import LEVELS, open_session
from onnxnorm.verification.pairs import reads, region_before

__all__ = ["CutModels", "completed", "cut_around_unknown"]

_WITHOUT_SCHEMAS = ("com.microsoft", "com.ms", "onnxnorm")
_STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})


@dataclass(frozen=True)
class CutModels:
    """A pair of models without the nodes that onnxruntime does not know.

    Attributes:
        original, result: the models, as they were where they have no such node.
        made_up: the inputs that take the place of what such nodes give.
        notes: what was cut, a sentence for each operator.
    """

    original: onnx.ModelProto
    result: onnx.ModelProto
    made_up: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def cut_around_unknown(original: onnx.ModelProto, result: onnx.ModelProto, options: Any = None) -> CutModels:
    """Cut both models around the nodes of their main graphs that onnxruntime does not know.

    Raises:
        OnnxNormError: what such a node gives has no type or no rank in the original, or the nodes of the two models
            are not the same.
    """
    theirs = _unknown(original)
    if not theirs or (options is not None and _opens(original, options)):
        return CutModels(original, result)
    ours = _unknown(result)
    used = _used(original)
    told = {value.name: value for value in (*original.graph.value_info, *original.graph.output)}
    for key, node in theirs.items():
        other = ours.get(key)
        if other is None or _settings(other) != _settings(node) or len(other.input) != len(node.input):
            raise OnnxNormError(
                f"node {_name(node)!r} ({_operator(node)}) is unknown to onnxruntime, and the result has no such node "
                f"that gives {key!r}; {_ADVICE}"
            )
        for output in node.output:
            kind = told.get(output)
            if output in used and (kind is None or not _is_typed(kind)):
                raise OnnxNormError(
                    f"node {_name(node)!r} ({_operator(node)}) is unknown to onnxruntime, and the model does not say "
                    f"the type and the rank of {output!r}, which it gives; {_ADVICE}"
                )
    if ours.keys() - theirs.keys():
        node = ours[min(ours.keys() - theirs.keys())]
        raise OnnxNormError(
            f"node {_name(node)!r} ({_operator(node)}) of the result is unknown to onnxruntime; {_ADVICE}"
        )
    made_up = [output for node in theirs.values() for output in node.output if output in used]
    kinds = [told[output] for output in made_up]
    counts: dict[str, list[str]] = {}
    for node in theirs.values():
        counts.setdefault(_operator(node), []).append(_name(node))
    notes = [
        f"onnxruntime does not know {operator}: what {_these(names)} gives was made up by its shape, the same for both "
        f"models, and what it is given was compared; {_ADVICE}"
        for operator, names in counts.items()
    ]
    cut = _cut(original, theirs, kinds)
    if not cut.graph.output:
        operator = next(iter(counts))
        raise OnnxNormError(f"onnxruntime has no operator {operator}, and the model is nothing besides; {_ADVICE}")
    return CutModels(cut, _cut(result, ours, kinds), tuple(made_up), tuple(notes))


_ADVICE = "--custom-ops-library FILE (session_options=) runs it"


def completed(specs: Sequence[InputSpec], feeds: Feeds, seed: int) -> Iterator[Draw]:
    """Yield what was given, with inputs made up that stand for what unknown operators give."""
    if all(spec.name in feeds for spec in specs):
        yield Draw(feeds)
        return
    made_of = [spec for spec in specs if spec.name not in feeds or spec.dtype.kind not in "OUS"]
    shapes = {spec.name: feeds[spec.name].shape for spec in made_of if spec.name in feeds}
    for draw in random_samples(made_of, shapes, seed=seed, index=0):
        yield Draw({**draw.feeds, **feeds}, draw.is_guess)


def _these(names: Sequence[str]) -> str:
    return f"node {names[0]!r}" if len(names) == 1 else f"each of {len(names)} nodes such as {names[0]!r}"


def _unknown(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the nodes that onnxruntime does not know and the model does not define, by their first output.

    Nodes of which no output of the graph depends are left out.
    """
    if all(node.domain in _STANDARD for node in model.graph.node):
        return {}
    defined = {(function.domain, function.name) for function in model.functions}
    return {
        next(filter(None, node.output)): node
        for node in region_before(model, [value.name for value in model.graph.output], ())
        if node.domain not in _STANDARD
        and (node.domain, node.op_type) not in defined
        and not _is_known(node.domain, node.op_type)
        and any(node.output)
    }


def _is_known(domain: str, op_type: str) -> bool:
    schemas = _schemas()
    return (domain, op_type) in schemas or domain == "onnxnorm" or (not schemas and domain.startswith(_WITHOUT_SCHEMAS))


@functools.cache
def _schemas() -> frozenset[tuple[str, str]]:
    """Return the operators of onnxruntime; nothing where it does not tell them."""
    try:
        from onnxruntime.capi.onnxruntime_pybind11_state import (  # type: ignore[import-untyped]
            get_all_operator_schema,
        )
    except ImportError:
        return frozenset()
    return frozenset((schema.domain, schema.name) for schema in get_all_operator_schema())


def _opens(model: onnx.ModelProto, options: Any) -> bool:
    for level in LEVELS:
        try:
            open_session(model, level, options)
            return True
        except OnnxNormError:
            continue
    return False


def _used(model: onnx.ModelProto) -> set[str]:
    return {value.name for value in model.graph.output}.union(*map(reads, model.graph.node))


def _settings(node: onnx.NodeProto) -> tuple[str, str, dict[str, bytes]]:
    given = {each.name: each.SerializeToString(deterministic=True) for each in node.attribute}
    return node.domain, node.op_type, given


def _is_typed(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type) and value.type.tensor_type.HasField("shape")


def _name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}::{node.op_type}"


def _cut(
    model: onnx.ModelProto, unknown: dict[str, onnx.NodeProto], kinds: Sequence[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    nodes, shown = [], []
    made = {name for node in model.graph.node for name in node.output} - {value.name for value in kinds}
    for node in model.graph.node:
        if node.output and next(filter(None, node.output), "") in unknown:
            key = next(filter(None, node.output))
            for place, name in enumerate(node.input):
                if name in made:
                    shown.append(f"{key} (input {place})")
                    nodes.append(helper.make_node("Identity", [name], [shown[-1]]))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.extend(kinds)
    inputs = {value.name for value in kinds}
    for field in (graph.output, graph.value_info):
        kept = [value for value in field if value.name not in inputs]
        del field[:]
        field.extend(kept)
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in sorted(shown))
    return copy
