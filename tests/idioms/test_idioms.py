"""Idioms are found in every spelling, and what nearly looks like one is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxnorm
from onnxnorm.graph.facts import Facts
from onnxnorm.idioms import FUSIONS, Kind, fused_for, idioms_in
from testing.builder import Builder
from testing.idioms import ACTIVATIONS, NEAR_MISSES, attention, layer_norm, rms_norm


def _kinds(model: onnx.ModelProto) -> Counter[Kind]:
    loaded = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    return Counter(idiom.kind for idiom in idioms_in(loaded.graph, Facts(loaded)))


def _of(write: Callable[[Builder, str], str]) -> onnx.ModelProto:
    b = Builder(opset=17)
    return b.model(b.node("Relu", write(b, b.node("Relu", b.input((2, 5, 8))))))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_spelling_of_an_activation_is_found(name: str) -> None:
    kind, write = ACTIVATIONS[name]
    assert _kinds(_of(write)) == {kind: 1}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_are_none(name: str) -> None:
    assert not _kinds(_of(NEAR_MISSES[name]))


def test_an_activation_that_is_read_inside_is_none() -> None:
    b = Builder(opset=17)
    x = b.node("Relu", b.input((2, 5, 8)))
    inner = b.node("Erf", b.node("Div", x, b.constant(np.sqrt(2.0))))
    y = b.node("Mul", b.node("Mul", x, b.node("Add", inner, b.constant(1.0))), b.constant(0.5))
    assert not _kinds(b.model(y, inner))


@pytest.mark.parametrize(("write", "kind"), [(layer_norm, Kind.LAYER_NORM), (rms_norm, Kind.RMS_NORM)])
def test_normalizations_written_out_are_found(write: Callable[[Builder, str, int], str], kind: Kind) -> None:
    b = Builder(opset=14)
    assert _kinds(b.model(b.node("Relu", write(b, b.node("Relu", b.input((2, 5, 8))), 8)))) == {kind: 1}


@pytest.mark.parametrize(("write", "kind"), [(layer_norm, Kind.LAYER_NORM), (rms_norm, Kind.RMS_NORM)])
@pytest.mark.parametrize("count", [2, 5])
def test_normalizations_of_one_tensor_are_all_found(
    write: Callable[[Builder, str, int], str], kind: Kind, count: int
) -> None:
    """Parallel residual blocks, as in GPT-NeoX."""
    b = Builder(opset=14)
    x = b.node("Relu", b.input((2, 5, 8)))
    branches = [b.node("MatMul", write(b, x, 8), b.constant(b.normal(8, 8))) for _ in range(count)]
    model = b.model(b.node("Sum", *branches))
    assert _kinds(model) == {kind: count}
    kept = [node.op_type for node in onnxnorm.optimize(model).model.graph.node]
    assert Counter(kept) == Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("scaled", ["queries", "keys", "scores"])
def test_attention_is_found(scaled: str) -> None:
    b = Builder(opset=14)
    x, mask = b.input((2, 5, 8)), b.input((2, 1, 1, 5), "mask")
    kinds = _kinds(b.model(attention(b, x, 8, 2, mask, scaled=scaled)))
    assert kinds == {Kind.ATTENTION: 1, Kind.BIAS: 4}


def test_a_classifier_is_no_attention() -> None:
    b = Builder(opset=14)
    h = b.node("MatMul", b.input((2, 5, 8)), b.constant(b.normal(8, 8)))
    y = b.node("Softmax", b.node("Div", h, b.constant(2.0)), axis=-1)
    assert not _kinds(b.model(b.node("MatMul", y, b.constant(b.normal(8, 3)))))


def _rotary(b: Builder, *, negated: bool = True, same: bool = True) -> onnx.ModelProto:
    x, other = b.input((2, 5, 8)), b.input((2, 5, 8), "other")
    ends = [b.constant(np.array([n])) for n in (0, 4, 8)]
    axis = b.constant(np.array([2]))
    first = b.node("Slice", x, ends[0], ends[1], axis)
    second = b.node("Slice", x if same else other, ends[1], ends[2], axis)
    turned = b.node("Concat", b.node("Neg" if negated else "Relu", second), first, axis=2)
    cos, sin = (b.constant(b.normal(5, 8)) for _ in range(2))
    return b.model(b.node("Erf", b.node("Add", b.node("Mul", x, cos), b.node("Mul", turned, sin))))


def test_a_rotary_embedding_is_found_and_stays_whole() -> None:
    model = _rotary(Builder(opset=17))
    assert _kinds(model) == {Kind.ROTARY: 1}
    assert sorted(n.op_type for n in onnxnorm.optimize(model, verify=False).model.graph.node) == sorted(
        n.op_type for n in model.graph.node
    )


@pytest.mark.parametrize("options", [{"negated": False}, {"same": False}])
def test_halves_that_do_not_turn_one_value_are_no_rotary_embedding(options: dict[str, bool]) -> None:
    assert not _kinds(_rotary(Builder(opset=17), **options))


def test_each_fusion_has_its_source() -> None:
    assert all(fusion.source and fusion.becomes for own in FUSIONS.values() for fusion in own)
    assert Kind.HARD_SWISH in fused_for("openvino")
    assert Kind.HARD_SWISH not in fused_for("onnxruntime") | fused_for("portable")
