"""Cuts the smallest pair of models that still differ out of a pair that failed: for a report, or a debugger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.held import materialized
from onnxnorm.model.protobuf import graphs_of_node
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.verification.inside import Inside
from onnxnorm.verification.pairs import reads, region_before
from onnxnorm.verification.place import Place
from onnxnorm.verification.runs import Runs

__all__ = ["ModelPair", "pairs_that_differ", "rename", "write_pair"]


@dataclass(frozen=True)
class ModelPair:
    """Two models with the same inputs and outputs, and the inputs for which they differ."""

    original: onnx.ModelProto
    result: onnx.ModelProto
    feeds: Feeds


def pairs_that_differ(runs: Runs, place: Place | None, output: str, sample: int) -> Iterator[ModelPair]:
    """Yield pairs cut from two models, the smallest first; whether they differ is for the caller to see."""
    feeds = runs.samples[sample]
    if place is not None:
        pair = _around(runs, place, feeds)
        if pair is not None:
            yield pair
    yield ModelPair(_before_output(runs.model, output), _before_output(runs.other, output), feeds)


def write_pair(pair: ModelPair, folder: Path) -> str:
    """Write a pair and its inputs to the folder; return how to compare them.

    Raises:
        OnnxNormError: the folder cannot be written to.
    """
    one, two, arrays = folder / "original.onnx", folder / "result.onnx", folder / "inputs.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(materialized(pair.original), one)
        onnx.save(materialized(pair.result), two)
        np.savez(arrays, allow_pickle=True, **pair.feeds)
    except OSError as error:
        raise OnnxNormError(f"{folder}: cannot be written to: {error.strerror or error}") from error
    return f"onnxnorm verify {one} {two} --inputs {arrays}"


def _around(runs: Runs, place: Place, feeds: Feeds) -> ModelPair | None:
    """Return the piece between what is right and the first value that is off, with what the original hands it."""
    piece = place.piece
    if piece is None:
        return None
    constants = _constants(runs.model) | _constants(runs.other)
    outside = _read_outside(piece.original) | _read_outside(piece.result) - piece.borders.keys()
    outside = outside - constants | set(piece.borders.values())
    level = "off" if "off" in runs.original else "on"
    known: dict[str, Any] = {
        **feeds,
        **Inside(runs.model, feeds, level, runs.options).values([*sorted(outside), place.value]),
    }
    if place.value not in known or not all(name in known for name in outside):
        return None
    made = {name for node in (*piece.original, *piece.result) for name in node.output}
    names = {name: name if name not in made else f"{name} (given)" for name in sorted(outside)}
    given = {names[name]: known[name] for name in names}
    theirs = {result: names[original] for result, original in piece.borders.items()}
    ours = {name: new for name, new in names.items() if name != new}
    outputs = {place.value: known[place.value]}
    return ModelPair(
        _cut(runs.model, piece.original, given, outputs, ours),
        _cut(runs.other, piece.result, given, outputs, {**ours, **theirs, place.result_value: place.value}),
        given,
    )


def _before_output(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """Return the model with one output, and the nodes that it takes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _replace(copy.graph.node, region_before(model, [output], ()))
    _replace(copy.graph.output, [value for value in model.graph.output if value.name == output])
    read = {output}.union(*map(reads, copy.graph.node))
    _replace(copy.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in read])
    return copy


def _cut(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    names: Mapping[str, str],
) -> onnx.ModelProto:
    """Return a model of some nodes, with values renamed."""
    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    copy.functions.extend(model.functions)
    graph = copy.graph
    graph.name = model.graph.name or "piece"
    for node in nodes:
        new = graph.node.add()
        new.CopyFrom(node)
        rename(new, names)
    graph.input.extend(_typed(name, value) for name, value in inputs.items())
    graph.output.extend(_typed(name, value) for name, value in outputs.items())
    read = set().union(*map(reads, graph.node))
    graph.initializer.extend(
        tensor for tensor in model.graph.initializer if tensor.name in read and tensor.name not in inputs
    )
    return copy


def rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename the values that a node reads and makes, in its subgraphs too."""

    def renamed(values: Iterable[str]) -> list[str]:
        return [names.get(name, name) for name in values]

    _replace(node.input, renamed(node.input))
    _replace(node.output, renamed(node.output))
    for graph in graphs_of_node(node):
        for inner in graph.node:
            rename(inner, names)
        for output in graph.output:
            output.name = names.get(output.name, output.name)


def _typed(name: str, value: Any) -> onnx.ValueInfoProto:
    array = np.asarray(value)
    kind = onnx.TensorProto.STRING if array.dtype.kind in "OUS" else helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)


def _read_outside(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    made = {name for node in nodes for name in (*node.output, *_made_inside(node))}
    return set().union(*map(reads, nodes)) - made


def _made_inside(node: onnx.NodeProto) -> Iterator[str]:
    for graph in graphs_of_node(node):
        yield from (value.name for value in (*graph.input, *graph.initializer))
        for inner in graph.node:
            yield from inner.output
            yield from _made_inside(inner)


def _constants(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _replace(field: Any, values: Sequence[Any]) -> None:
    kept = list(values)
    del field[:]
    field.extend(kept)
