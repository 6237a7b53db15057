"""Right results that are broken on purpose: `verify` tells each from what it was made of, on several networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnorm.optimizer.optimize import optimize
from onnxnorm.verification.pairs import reads
from onnxnorm.verification.verify import verify

Arrays: TypeAlias = dict[str, np.ndarray]

TEXTS = {
    "convolutions": (
        "(float[n, 3, 12, 12] x) => (float[n, 8, p, q] y)",
        "c = Conv <pads = [1, 1, 1, 1]> (x, w1, b1) n = BatchNormalization <epsilon = 0.01> (c, s, t, m, v) "
        "r = Relu (n) k = Conv <pads = [1, 1, 1, 1]> (r, w2, b2) y = Add (k, r)",
        {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3)},
        8,
    ),
    "a transformer's block": (
        "(float[n, 8, 8] x, int64[n, 8] mask) => (float[n, 8, 8] y)",
        "l = LayerNormalization <epsilon = 0.01> (x, s, t) a = MatMul (l, w1) d = MatMul (l, w2) "
        "e = Transpose <perm = [0, 2, 1]> (d) f = MatMul (a, e) g = Cast <to = 1> (mask) o = Sub (one, g) "
        "h = Mul (o, big) i = Unsqueeze (h, axis) j = Add (f, i) p = Softmax <axis = -1> (j) u = MatMul (p, l) "
        "z = Add (u, b1) q = Mul (z, v) y = Add (q, x)",
        {"w1": (8, 8), "w2": (8, 8)},
        8,
    ),
    "a branch": (
        "(float[n, 8] x, int64 k) => (float[n, 8] y)",
        "h = Add (x, b1) c = Equal (k, number) y = If (c) <then_branch = t () => (float[n, 8] d) "
        "{ d = MatMul (h, w1) }, else_branch = e () => (float[n, 8] f) { f = MatMul (h, w2) }>",
        {"w1": (8, 8), "w2": (8, 8)},
        8,
    ),
}


def _network(name: str) -> onnx.ModelProto:
    head, body, shapes, size = TEXTS[name]
    rng = np.random.default_rng(len(name))
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {head} {{ {body} }}')
    constants: Arrays = {
        key: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype("f") for key, shape in shapes.items()
    }
    constants |= {key: rng.standard_normal(size).astype("f") for key in ("b1", "b2", "t", "m")}
    constants |= {key: rng.uniform(0.5, 2, size).astype("f") for key in ("s", "v")}
    constants |= {"one": np.array(1, "f"), "big": np.array(-1e4, "f")}
    constants |= {"axis": np.array([1]), "number": np.array(16000)}
    read = {key for node in model.graph.node for key in node.input}
    inner = {key for node in model.graph.node for a in node.attribute for each in a.g.node for key in each.input}
    chosen = {key: value for key, value in constants.items() if key in read | inner}
    model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in chosen.items())
    return model


def _on(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def mutate(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == key)
        changed = np.array(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(changed), dtype=changed.dtype), key))

    return mutate


def _element(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        place = np.unravel_index(int(np.argmax(np.abs(values))), values.shape)
        values[place] *= factor
        return values

    return change


def _attribute(op_type: str, name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def mutate(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == op_type)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return mutate


def _without_mask(model: onnx.ModelProto) -> None:
    """The mask's constant is added to all: 1 - mask becomes 1."""
    node = next(node for node in model.graph.node if node.op_type == "Sub")
    node.op_type = "Max"


WEIGHTS = {
    "one weight off by 1e-3": _on("w1", _element(1.001)),
    "one weight's sign swapped": _on("w1", _element(-1.0)),
    "one bias dropped": _on("b1", _element(0.0)),
    "all weights doubled": _on("w2", lambda values: values * 2),
    "another branch's weights doubled": _on("w1", lambda values: values * 2),
}
MUTATIONS = [
    *((name, kind, change) for name in TEXTS for kind, change in WEIGHTS.items()),
    ("convolutions", "another epsilon", _attribute("BatchNormalization", "epsilon", 0.011)),
    ("convolutions", "one scale's sign swapped", _on("s", _element(-1.0))),
    ("convolutions", "a kernel mirrored", _on("w2", lambda values: values[..., ::-1])),
    ("a transformer's block", "another epsilon", _attribute("LayerNormalization", "epsilon", 0.011)),
    ("a transformer's block", "another axis of the same extent", _attribute("Softmax", "axis", 1)),
    ("a transformer's block", "a square weight transposed", _on("w2", np.transpose)),
    ("a transformer's block", "the mask everywhere", _without_mask),
    ("a branch", "a square weight transposed", _on("w1", np.transpose)),
]


@pytest.mark.parametrize("name", TEXTS)
def test_right_results_pass(name: str) -> None:
    original = _network(name)
    assert verify(original, original, strict=True)
    result = optimize(original, passes=["fold_affines"] if name == "convolutions" else [], verify=False).model
    report = verify(original, result)
    assert report, report


@pytest.mark.parametrize(("name", "kind", "mutate"), MUTATIONS, ids=[f"{name}: {kind}" for name, kind, _ in MUTATIONS])
def test_a_broken_result_fails(name: str, kind: str, mutate: Callable[[onnx.ModelProto], None]) -> None:
    original = _network(name)
    broken = onnx.ModelProto.FromString(original.SerializeToString())
    mutate(broken)
    onnx.checker.check_model(broken)
    assert broken != original
    report = verify(original, broken)
    assert not report
    assert report.place is not None
    assert report.place.node in _changed(original, broken)
    assert f"made by node {report.place.node!r}" in str(report)


def _changed(original: onnx.ModelProto, broken: onnx.ModelProto) -> set[str]:
    """The nodes that are not as they were, or read a weight that is not."""
    before = {tensor.name: tensor for tensor in original.graph.initializer}
    weights = {tensor.name for tensor in broken.graph.initializer if tensor != before[tensor.name]}
    return {
        new.name or new.output[0]
        for old, new in zip(original.graph.node, broken.graph.node, strict=True)
        if old != new or weights & reads(new)
    }
