"""What a model says of the shapes of inner values and results may be out of date: then it is not gone by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxnorm
from fuzz.altered import difference
from fuzz.sources.seeds import FINDINGS

DIMS = tuple[int | str | None, ...]

# A BatchNormalization that stays, one that goes, and a Reshape by numbers in between.
BODY = """
    h = Relu (x)
    n = BatchNormalization (h, s, b, b, s)
    r = Reshape (n, to)
    a = Abs (r)
    y = MatMul (a, w)
"""


def parsed(x: str, said: str, y: str = "float[1, 3] y", body: str = BODY) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "own": 1]>
        g (float[{x}] x, float[8, 3] w) => ({y})
        <float[2] s = {{1, 2}}, float[2] b = {{3, 4}}, int64[2] to = {{0, -1}}, {said}> {{ {body} }}"""
    )


def shapes_of(model: onnx.ModelProto) -> dict[str, DIMS | None]:
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
            for dim in value.type.tensor_type.shape.dim
        )
        if value.type.tensor_type.HasField("shape")
        else None
        for value in (*model.graph.value_info, *model.graph.output)
    }


def inferred(model: onnx.ModelProto) -> dict[str, DIMS | None]:
    return shapes_of(onnxnorm.optimize(model, passes=("infer_shapes",), verify=False).model)


SAID = "float[1, 2, 4] h, float[1, 2, 4] n, float[1, 8] r, float[1, 8] a"


def test_what_agrees_with_the_inputs_stays() -> None:
    model = parsed("1, 2, 4", SAID)
    assert inferred(model) == shapes_of(model) == {
        "h": (1, 2, 4), "n": (1, 2, 4), "r": (1, 8), "a": (1, 8), "y": (1, 3)
    }  # fmt: skip


def test_an_extent_that_became_free_is_free_everywhere() -> None:
    found = inferred(parsed("N, 2, 4", SAID))
    assert found == {"h": ("N", 2, 4), "n": ("N", 2, 4), "r": ("N", 8), "a": ("N", 8), "y": ("N", 3)}


def test_an_extent_that_is_told_in_two_ways_is_not_known() -> None:
    found = inferred(parsed("5, 2, 4", SAID))
    assert found == {"h": (None, 2, 4), "n": (None, 2, 4), "r": (None, 8), "a": (None, 8), "y": (None, 3)}


def test_a_negative_extent_is_an_unknown_one() -> None:
    model = parsed("1, 2, 4", SAID)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    next(value for value in model.graph.value_info if value.name == "a").type.tensor_type.shape.dim[0].dim_value = -7
    before = model.SerializeToString()
    result = onnxnorm.optimize(model, verify=True)
    found = {name: tuple(dim for dim in dims or () if isinstance(dim, int)) for name, dims in inferred(model).items()}
    assert found == {"h": (2, 4), "n": (2, 4), "r": (8,), "a": (8,), "y": (3,)}
    assert not result.model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")
    assert model.SerializeToString() == before


def test_an_input_that_is_an_output_stays_as_free_as_it_was() -> None:
    model = parsed("N, 2, 4", SAID)
    model.graph.output.append(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3, 2, 4]))
    before = model.SerializeToString()
    result = onnxnorm.optimize(model, verify=True).model
    assert model.SerializeToString() == before
    for value in (result.graph.input[0], result.graph.output[1]):
        assert onnx.helper.printable_value_info(value) == "%x[FLOAT, Nx2x4]"


def test_a_constant_has_the_shape_of_its_elements() -> None:
    model = parsed("N, 2, 4", "float[7] s, " + SAID)
    model.graph.output.append(onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [5]))
    model.graph.node[0].op_type, shape = "Identity", [2, 2, 1]
    model.graph.node[0].CopyFrom(onnx.helper.make_node("Conv", ["x", "k"], ["h"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), "k"))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("k", onnx.TensorProto.FLOAT, [3, 2, 1]))
    result = onnxnorm.optimize(model, verify=True).model
    assert "BatchNormalization" not in [node.op_type for node in result.graph.node]


def test_what_the_body_of_a_loop_says_has_to_fit_its_first_round() -> None:
    """Said of a batch of 3, which the caller may choose; runtimes plan by what follows from it."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 2] x) => (float[K, M, 2] y) <int64 rounds = {2}, bool yes = {1}, float[3, 1] c = {1, 2, 3}> {
            last, all = Loop (rounds, yes, x) <body = b (int64 i, bool go, float[3, 2] a)
                => (bool on, float[3, 2] n, float[3, 2] t) { on = Identity (go) n = Neg (a) t = Tanh (n) }>
            e = Exp (all)
            m = Mul (e, c)
            y = Reciprocal (m)
        }"""
    )
    found = inferred(model)
    assert all(found[name] is None or found[name][1] != 3 for name in ("all", "e", "last"))
    result = onnxnorm.optimize(model, verify=False).model
    for batch in (1, 3):
        feeds = {"x": np.ones((batch, 2), np.float32)}
        (own,), (other,) = (ort.InferenceSession(each.SerializeToString()).run(None, feeds) for each in (model, result))
        np.testing.assert_allclose(own, other, rtol=1e-6)


OPAQUE = """
    h = Relu (x)
    n = own.Unheard (h)
    r = Neg (n)
    y = Identity (r)
"""


def test_what_only_the_model_says_is_taken_if_nothing_speaks_against_it() -> None:
    found = inferred(parsed("1, 2, 4", "float[1, 2, 4] h, float[1, 2, 4] n", "float[a, b, c] y", OPAQUE))
    assert found == {"h": (1, 2, 4), "n": (1, 2, 4), "r": (1, 2, 4), "y": (1, 2, 4)}


def test_what_only_the_model_says_is_forgotten_if_another_shape_is_out_of_date() -> None:
    found = inferred(parsed("5, 2, 4", "float[1, 2, 4] h, float[1, 2, 4] n", "float[1, 2, 4] y", OPAQUE))
    assert found == {"h": (None, 2, 4), "n": None, "y": (None, None, None)}


def test_what_a_convolution_makes_of_a_free_extent_is_free() -> None:
    # ONNX infers nothing of it, so that the old extent would do.
    body = "h = Conv (x, k) y = Relu (h)"
    said = "float[2, 2, 1] k = {1, 2, 3, 4}, float[1, 2, 4] h"
    found = inferred(parsed("1, 2, N", said, "float[1, 2, 4] y", body))
    assert all(dims is not None and dims[:2] == (1, 2) and not isinstance(dims[2], int) for dims in found.values())
    assert inferred(parsed("N, 2, 4", said, "float[N, 2, 4] y", body.replace("h = ", "g = Abs (x) h = "))) == {
        "g": ("N", 2, 4), "h": ("N", 2, 4), "y": ("N", 2, 4)
    }  # fmt: skip


def test_names_that_the_caller_cannot_choose_are_no_contradiction() -> None:
    # ONNX makes up a name for how many there are; the model knows better.
    body = "h = NonZero (x) y = Identity (h)"
    assert inferred(parsed("1, 2, 4", "int64[3, 8] h", "int64[3, 8] y", body)) == {"h": (3, 8), "y": (3, 8)}


def test_a_norm_behind_a_reshape_for_another_batch_is_not_folded_wrongly() -> None:
    # By the old shapes the Reshape keeps the channels; with a batch of two it does not.
    body = "n = BatchNormalization (x, s, b, b, s) r = Reshape (n, fixed) y = MatMul (r, w)"
    said = "int64[2] fixed = {1, 8}, float[1, 2, 4] n, float[1, 8] r"
    model = parsed("N, 2, 4", said, "float[1, 3] y", body)
    del model.graph.input[1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((8, 3), np.float32), "w"))
    result = onnxnorm.optimize(model, verify=False).model
    x = np.random.default_rng(0).normal(size=(1, 2, 4)).astype(np.float32)
    want, got = (
        ort.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for each in (model, result)
    )
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("altered-*.onnx")), ids=lambda path: path.stem)
def test_networks_that_once_came_out_otherwise_compute_the_same(path: Path) -> None:
    assert difference(onnx.load(path)) == ""
