"""The short way of onnxnorm/plain against the passes: whatever it takes on, it does as they would."""

from __future__ import annotations

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from onnxnorm._model_io import load, to_proto
from onnxnorm._optimize import transform
from onnxnorm.plain import folding_of
from tests.plain_networks import TRAPS, plain_network


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _parts(model: onnx.ModelProto) -> dict[str, object]:
    """All but what is said of shapes, which the passes infer."""
    graph = model.graph
    return {
        "nodes": [
            (node.op_type, node.name, list(node.input), list(node.output),
             sorted(attribute.SerializeToString() for attribute in node.attribute))
            for node in graph.node
        ],
        "constants": {
            tensor.name: (list(tensor.dims), tensor.data_type, numpy_helper.to_array(tensor).tobytes())
            for tensor in graph.initializer
        },
        "inputs": [value.name for value in graph.input],
        "outputs": [value.name for value in graph.output],
        "opset": [entry.version for entry in model.opset_import if not entry.domain],
        "ir_version": model.ir_version,
    }  # fmt: skip


def taken(model: onnx.ModelProto) -> bool:
    """Whether the short way takes the model on; then what it does must be what the passes do, to the bit."""
    before = model.SerializeToString()
    folding = folding_of(model)
    assert model.SerializeToString() == before
    if folding is None:
        return False
    plain = _copy(model)
    rewrites = folding.apply_to(plain)
    result = transform(load(model))
    assert _parts(plain) == _parts(to_proto(result.graph))
    assert rewrites == result.rewrites
    assert not result.declined
    onnx.checker.check_model(plain)
    return True


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), trap=st.sampled_from([None, *TRAPS]))
def test_what_is_taken_on_comes_out_as_the_passes_make_it(seed: int, trap: str | None) -> None:
    taken(plain_network(seed, trap))


def test_plain_networks_are_taken_on() -> None:
    networks = [plain_network(seed) for seed in range(60)]
    assert sum(map(taken, networks)) >= 30
