"""Each change of an operator's definition, crossed up and down: the same results, or a refusal that names the node."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnxruntime
import pytest
from forms import FORMS, Form
from onnx.reference import ReferenceEvaluator

import onnxnorm
from onnxnorm import OnnxNormError

NEWEST = onnx.defs.onnx_opset_version()
LOWEST = 7
# ONNX's checker refuses version 18, which exporters write and runtimes take.
DEPRECATED = {"GroupNormalization"}
# Attributes whose change makes no difference that could be crossed, or that nothing at hand computes.
LEFT_OUT = {
    # Results of the whole sequence are given where they are named.
    *((op, 7, "output_sequence") for op in ("GRU", "LSTM", "RNN")),
    # Taken by the nodes of onnx's own converter alone.
    ("Upsample", 7, "height_scale"),
    ("Upsample", 7, "width_scale"),
    # Over a batch, of which there is no newer form.
    *(("Scan", 9, name) for name in ("directions", "scan_input_axes", "scan_input_directions", "scan_output_axes")),
    ("Scan", 9, "scan_output_directions"),
    ("Scan", 9, ""),
    # A constant of few elements: there is no older form, and no evaluator here.
    ("Constant", 11, "sparse_value"),
}


@cache
def _schemas() -> dict[str, list[onnx.defs.OpSchema]]:
    found: dict[str, list[onnx.defs.OpSchema]] = defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name].append(schema)
    return {name: sorted(ones, key=lambda one: one.since_version) for name, ones in found.items()}


def _boundaries(form: Form) -> list[int]:
    versions = [schema.since_version for schema in _schemas()[form.operator]]
    goals = {goal for version in versions for goal in (version - 1, version)} | {NEWEST, LOWEST, form.lowest}
    return sorted(goal for goal in goals if LOWEST <= goal <= NEWEST and goal != form.opset)


def _attributes(schema: onnx.defs.OpSchema) -> dict[str, Any]:
    return {name: one.default_value.SerializeToString() for name, one in schema.attributes.items()}


def _changes() -> list[tuple[str, int, str]]:
    """The attributes that came, went or got another default, and operands that came: (operator, version, name)."""
    found = []
    for name, ones in _schemas().items():
        for before, after in pairwise(ones):
            if after.since_version < LOWEST:
                continue
            old, new = _attributes(before), _attributes(after)
            found += [
                (name, after.since_version, key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)
            ]
            if [one.option for one in before.inputs] != [one.option for one in after.inputs]:
                found.append((name, after.since_version, ""))
    return sorted(found)


def _shows(form: Form, operator: str, version: int, name: str) -> bool:
    """Whether the form crosses the version, or stands before it, with that attribute."""
    if form.operator != operator or (form.opset >= version and f"{name} =" not in form.node):
        return False
    is_new = name in _attributes(onnx.defs.get_schema(operator, version, ""))
    return form.opset >= version if is_new and f"{name} =" in form.node else form.opset < version


@pytest.mark.parametrize(("operator", "version", "name"), _changes())
def test_every_change_of_a_definition_has_a_form(operator: str, version: int, name: str) -> None:
    if (operator, version, name) in LEFT_OUT:
        pytest.skip("there is nothing to cross")
    if not name:
        assert any(form.operator == operator for form in FORMS)
    else:
        assert any(_shows(form, operator, version, name) for form in FORMS)


_FIXED = {"scales": [1, 1, 2, 3], "shape": [8, 30], "v": [0.5, 1, 1.5, 2], "start": 1, "limit": 5, "delta": 1.5}


def _feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        if value.type.HasField("optional_type"):
            feeds[value.name] = np.array([1.5, 2], np.float32)
            continue
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [
            dim.dim_value if dim.HasField("dim_value") else {"W": 5}.get(dim.dim_param, 6) for dim in tensor.shape.dim
        ]
        made = random.uniform(-1, 2, shape) if dtype.kind == "f" else random.integers(0, 2, shape)
        if value.name in _FIXED:
            made = np.array(_FIXED[value.name])
        feeds[value.name] = made.astype(dtype)
    return feeds


def _run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    """Results of onnxruntime, its optimizations off, or of ONNX's reference evaluator where it lacks the operator."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, feeds))
    except Exception as error:
        if "INVALID" in str(error) or "is not a registered function/op" in str(error):
            raise
        return list(ReferenceEvaluator(model).run(None, feeds))


def _is_valid(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError:
        return False
    return True


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.title)
def test_a_form_keeps_its_results_at_every_opset_that_has_one(form: Form) -> None:
    model = form.model()
    feeds, valid = _feeds(model), _is_valid(model)
    assert valid or form.operator in DEPRECATED
    want: list[Any] | None = None if form.want is None else [form.want(feeds)]
    for opset in _boundaries(form):
        if not form.lowest <= opset <= form.highest:
            with pytest.raises(OnnxNormError, match="the_node"):
                onnxnorm.optimize(model, passes=(), opset=opset)
            continue
        result = onnxnorm.optimize(model, passes=(), opset=opset).model
        assert [entry.version for entry in result.opset_import if not entry.domain] == [opset]
        if valid:
            onnx.checker.check_model(result, full_check=True)
        if want is None:
            want = _run(model, feeds)
        for got, expected in zip(_run(result, feeds), want, strict=True):
            assert np.shape(got) == np.shape(expected), opset
            if np.asarray(expected).dtype.kind in "OUS":
                assert np.array_equal(got, expected), opset
            else:
                np.testing.assert_allclose(
                    np.asarray(got, np.float64), np.asarray(expected, np.float64), 1e-5, 1e-6, err_msg=str(opset)
                )
