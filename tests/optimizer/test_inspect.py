"""Tests of onnxnorm/optimizer/inspect.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.graph.normalizations import KINDS, kind_of
from onnxnorm.optimizer.inspect import Fate, NormRecord, inspect


def _parsed(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    """A model in ONNX's text syntax, with named constants as initializers."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()
    )
    return model


def _batch_norm(channels: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        "s": rng.normal(size=channels),
        "b": rng.normal(size=channels),
        "m": rng.normal(size=channels),
        "v": rng.uniform(0.5, 2, channels),
    }


def _one(records: tuple[NormRecord, ...]) -> NormRecord:
    (record,) = records
    return record


def test_batch_normalization_after_a_convolution_is_absorbed() -> None:
    model = _parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 3, 5, 5] x) => (float[N, 2, 3, 3] y) {
            [conv] c = Conv (x, w)
            [bn] y = BatchNormalization (c, s, b, m, v)
        }""",
        w=np.ones((2, 3, 3, 3)),
        **_batch_norm(),
    )
    record = _one(inspect(model))
    assert (record.kind, record.node, record.op_type, record.domain, record.path) == (
        "BatchNormalization",
        "bn",
        "BatchNormalization",
        "",
        "",
    )
    assert record.shape == ("N", 2, 3, 3)
    assert record.fate is Fate.ABSORBED
    assert "conv" in record.reason


def test_batch_normalization_of_an_input_that_is_an_output_is_left_with_a_reason() -> None:
    model = _parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 2, 3, 3] x) => (float[N, 2, 3, 3] y) { [bn] y = BatchNormalization (x, s, b, m, v) }""",
        **_batch_norm(),
    )
    record = _one(inspect(model))
    assert record.fate is Fate.LEFT
    assert record.reason


def test_lrn_is_written_out_for_a_portable_result() -> None:
    model = _parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[1, 4, 3, 3] x) => (float[1, 4, 3, 3] y) { [norm] y = LRN <size = 3> (x) }"""
    )
    record = _one(inspect(model))
    assert (record.kind, record.node, record.shape, record.fate) == (
        "LRN (inter-channel)",
        "norm",
        (1, 4, 3, 3),
        Fate.WRITTEN_OUT,
    )
    assert record.reason


def test_model_without_normalization_has_no_records() -> None:
    model = _parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[1, 4] x) => (float[1, 4] y) { y = Relu (x) }"""
    )
    assert inspect(model) == ()


def test_kinds_of_other_normalizations() -> None:
    model = _parsed(
        """<ir_version: 10, opset_import: ["": 23, "onnxnorm": 1, "elsewhere": 1]>
        g (float[1, 4, 3, 3] x) => (float[1, 4, 3, 3] y) {
            a = LayerNormalization <axis = 3> (x, scale3)
            b = GroupNormalization <num_groups = 2> (a, scale4, bias4)
            c = InstanceNormalization (b, scale4, bias4)
            d = LpNormalization <axis = 1> (c)
            e = MeanVarianceNormalization (d)
            f = RMSNormalization (e, scale3)
            h = onnxnorm.IntraChannelLRN <kernel_shape = [3, 3]> (f)
            i = onnxnorm.InterChannelLRN <size = 2> (h)
            y = elsewhere.LRN (i)
        }""",
        scale3=np.ones(3),
        scale4=np.ones(4),
        bias4=np.ones(4),
    )
    assert [record.kind for record in inspect(model)] == [
        "LayerNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LpNormalization",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "LRN (intra-channel)",
        "LRN (inter-channel)",
    ]


def test_variants_of_batch_normalization_have_names_of_their_own() -> None:
    per_activation = _parsed(
        """<ir_version: 3, opset_import: ["": 8]>
        g (float[N, 2, 3] x) => (float[N, 2, 3] y) { y = BatchNormalization <spatial = 0> (x, s, b, m, v) }""",
        **{name: np.ones((2, 3)) for name in "sbmv"},
    )
    for constant in per_activation.graph.initializer:
        per_activation.graph.input.append(helper.make_tensor_value_info(constant.name, TensorProto.FLOAT, [2, 3]))
    training = _parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 2, 3] x) => (float[N, 2, 3] y) {
            y, mean, var = BatchNormalization <training_mode = 1> (x, s, b, m, v)
        }""",
        **_batch_norm(),
    )
    assert _one(inspect(per_activation)).kind == "BatchNormalization (per-activation)"
    record = _one(inspect(training))
    assert record.kind == "BatchNormalization (training mode)"
    assert record.fate is Fate.LEFT


def test_nodes_without_names_and_with_the_same_name_are_told_apart() -> None:
    model = _parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3, 5, 5] x) => (float[1, 2, 3, 3] y) {
            a = LRN <size = 3> (x)
            [twin] c = Conv (a, w)
            [twin] d = BatchNormalization (c, s, b, m, v)
            [twin] e = LRN <size = 3> (d)
            y = LRN <size = 5> (e)
        }""",
        w=np.ones((2, 3, 3, 3)),
        **_batch_norm(),
    )
    records = inspect(model)
    assert [(record.op_type, record.fate) for record in records] == [
        ("LRN", Fate.WRITTEN_OUT),
        ("BatchNormalization", Fate.ABSORBED),
        ("LRN", Fate.WRITTEN_OUT),
        ("LRN", Fate.WRITTEN_OUT),
    ]
    names = [record.node for record in records]
    assert all(names)
    assert len(set(names)) == 4
    assert names[1].startswith("twin#") and names[2].startswith("twin#")


def test_subgraphs_and_functions_are_walked_and_portable_bodies_are_not() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 17, "onnxnorm": 1, "local": 1]>
        g (bool cond, float[1, 4, 3, 3] x) => (float[1, 4, 3, 3] y) {
            p = local.Normalize (x)
            [q] q = onnxnorm.IntraChannelLRN <kernel_shape = [3, 3]> (p)
            [choice] y = If (cond) <
                then_branch = yes () => (float[1, 4, 3, 3] t) { [inner] t = LRN <size = 3> (q) },
                else_branch = no () => (float[1, 4, 3, 3] u) { u = Relu (q) }
            >
        }
        <domain: "local", opset_import: ["": 17]>
        Normalize (x) => (y) { [body] y = LpNormalization <axis = 1> (x) }
        <domain: "onnxnorm", opset_import: ["": 17]>
        IntraChannelLRN <kernel_shape: ints> (x) => (y) { y = MeanVarianceNormalization (x) }
        """
    )
    places = {record.node: (record.path, record.kind) for record in inspect(model)}
    assert places == {
        "q": ("", "LRN (intra-channel)"),
        "inner": ("choice/then_branch", "LRN (inter-channel)"),
        "body": ("local::Normalize", "LpNormalization"),
    }


def test_the_model_given_is_not_changed(tmp_path: Path) -> None:
    model = _parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 2, 3, 3] x) => (float[N, 2, 3, 3] y) { y = BatchNormalization (x, s, b, m, v) }""",
        **_batch_norm(),
    )
    before = model.SerializeToString(deterministic=True)
    path = tmp_path / "m.onnx"
    path.write_bytes(before)
    assert onnxnorm.inspect(path) == onnxnorm.inspect(model)
    assert model.SerializeToString(deterministic=True) == before
    assert path.read_bytes() == before


def test_every_operator_that_the_passes_account_for_has_a_kind() -> None:
    for domain, op_type in KINDS:
        assert kind_of(ir.node(op_type, [], domain=domain)), (domain, op_type)
    assert kind_of(ir.node("LRN", [], domain="elsewhere")) is None


def test_records_are_frozen() -> None:
    record = NormRecord("LRN (inter-channel)", "n", (1, "C", None), Fate.LEFT, "stays", "LRN", "", "")
    with pytest.raises(AttributeError):
        record.fate = Fate.ABSORBED  # type: ignore[misc]
